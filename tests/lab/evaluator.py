# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Our packet evaluator, and random configurations and packets that it and the kernel are asked about."""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import typing

from lab import facts, layout
from lab.broker_wire import intent as intent_of
from lab.broker_wire import message

SSH_PORT = 2222  # sshd's, by its configuration; nobody listens there, so that it can be a client's port
PORTS = (22, 53, 80, 443, 3306, 5432, 8080, 8081, 9100, 15001, 15006, 15008, 15009, 15020, 15021, 15053, 15090, 20000)
USUAL_PORTS = (80, 443, 8080, 8081)
OWNERS = ((0, 0), (facts.UID_AGENT, facts.GID_AGENT), (facts.UID_PROXY, facts.GID_PROXY), (1000, 1000), (1001, 1001))
ORDINARY = ((1000, 1000), (facts.UID_APP, facts.GID_APP), (0, 0))
OWNERS += ((1002, facts.GID_PROXY), (1000, 2000), (1003, 2001), (facts.UID_APP, facts.GID_APP))

# The host's two interfaces, and behind each a network whose every address is the peer's.
VM = {"eth0": (facts.VM_IP, facts.VM_IP6), "eth1": ("10.78.0.20", "fd78::20")}
PEER = {"eth0": (facts.OUTSIDE_IP, facts.OUTSIDE_IP6), "eth1": ("10.78.0.30", "fd78::30")}
BEYOND = {"eth0": ("10.90.0.0/16", "fd90::/16"), "eth1": ("10.91.0.0/16", "fd91::/16")}
METADATA = ("169.254.169.254", "fd00:ec2::254")


@dataclasses.dataclass
class Packet:
    id: str
    out: bool
    transport: str
    dst: str
    dport: int
    local: bool
    interface: str
    uid: int
    gid: int
    src: str | None = None
    sport: int | None = None
    mark: int = 0

    def for_sender(self) -> dict[str, typing.Any]:
        return dataclasses.asdict(self)

    def for_evaluator(self) -> dict[str, typing.Any]:
        fields = dataclasses.asdict(self)
        if not self.out:  # the other host's owners and marks don't travel
            fields.update(uid=None, gid=None, mark=0)
        return fields


def ask(intent: typing.Any, packets: list[Packet]) -> dict[str, typing.Any]:
    """The digest of the plan, and an outcome for each packet."""
    question = {
        "intent": intent.SerializeToString().hex(),
        "ssh_ports": [SSH_PORT],
        "packets": [packet.for_evaluator() for packet in packets],
    }
    argv = [layout.bin_dir() / "hawser_evaluate"]
    done = subprocess.run(argv, input=json.dumps(question), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Dice:
    """Configurations and packets, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def coin(self, chance: float = 0.5) -> bool:
        return self.random.random() < chance

    def some(self, values: typing.Sequence, most: int = 4) -> list:
        return self.random.sample(values, self.random.randint(0, most))

    # -- configurations ----------------------------------------------------------------------------------------

    def intent(self) -> typing.Any:
        """Compiles; the same that the broker makes of it, which adds who is exempt."""
        outbound = self.coin(0.9)
        own = (facts.UID_AGENT, facts.UID_PROXY)
        never = PEER["eth0"][self.random.randint(0, 1)]
        intent = intent_of(
            capture_outbound=outbound,
            capture_inbound=not outbound or self.coin(0.8),
            ipv6=self.coin(0.8),
            refuse=self.coin(0.12),
            exempt_uids=[*own, *self.some([1001, 1003], 2)],
            exempt_uid_ranges=[message("UidRange", first=1001, last=1002)] if self.coin(0.2) else [],
            exempt_gids=[*own, *self.some([2000, 2001], 1)],
            exempt_marks=[message("Mark", value=0x100, mask=0xF00)] if self.coin(0.3) else [],
            never=[message("Endpoint", address=never, port=self.random.choice((0, 443)))],
            own_probes=[message("Endpoint", address=facts.VM_IP, port=8080)],
            probe_uid=facts.UID_AGENT,
            self_call=self.coin(0.8),
            proxy=message("Owner", uids=[facts.UID_PROXY], gids=self.some([facts.GID_PROXY], 1)),
            exclude_interfaces=self.random.choice(([], [], ["eth1"], ["eth1*", "docker*"])),
        )
        self._inbound(intent)
        self._outbound(intent)
        if self.coin():
            intent.dns.CopyFrom(self.dns())
        return intent

    def _inbound(self, intent: typing.Any) -> None:
        intent.inbound_mode = 1 if self.coin(0.35) else 0  # TPROXY
        intent.inbound_ports.extend(self.ranges(0.4))
        if self.coin(0.25):
            intent.services.append(message("Service", ports=[message("PortRange", first=8080, last=8081)]))
        intent.inbound_exclude.extend(self.ranges(0.4))
        intent.hbone_port = 15008 if self.coin() else 0
        intent.drop_invalid = self.coin(0.3)

    def _outbound(self, intent: typing.Any) -> None:
        intent.outbound_ports.extend(self.ranges(0.25))
        if self.coin(0.25):
            intent.outbound_cidrs.extend({self.network() for _ in range(4)})
        intent.outbound_exclude.extend(self.ranges(0.5))
        # now and then more than a rule takes inline
        count = self.random.choice((0, 3, 6, 40))
        intent.outbound_exclude_cidrs.extend(sorted({self.network() for _ in range(count)}))
        if self.coin(0.2):
            intent.groups_include.extend([0, 1000, 1001, facts.GID_APP])
        if self.coin(0.2):
            intent.groups_exclude.append(2000)
        if self.coin(0.3):
            protocol = self.random.randint(0, 2)
            intent.user_ports.append(message("UserPorts", ports=self.ranges(0.8), protocol=protocol))
            if self.coin():
                intent.user_ports[0].uids.append(1000)
            else:
                intent.user_ports[0].uid_ranges.append(message("UidRange", first=999, last=1001))

    def dns(self) -> typing.Any:
        resolvers = [PEER["eth0"][0], PEER["eth0"][1], "127.0.0.6", METADATA[0]]
        return message(
            "Dns",
            capture=self.random.randint(1, 2),  # the resolvers', or all
            port=15053,
            ipv4=True,
            ipv6=self.coin(0.8),
            agent=message("Owner", uids=[facts.UID_AGENT]),
            resolvers=self.random.sample(resolvers, self.random.randint(1, 4)),
            host_resolver=message("Owner", uids=self.some([1001], 1)),
        )

    def ranges(self, chance: float) -> list:
        if not self.coin(chance):
            return []
        lengths = (0, 0, 1, 700)
        return [message("PortRange", first=p, last=p + self.random.choice(lengths)) for p in self.some(PORTS, 4)]

    def network(self) -> str:
        if self.coin():
            third = self.random.choice((0, 64, 128, 200))
            return f"10.{self.random.choice((90, 91, 0))}.{third}.0/{self.random.randint(16, 24)}"
        first = self.random.choice(("90", "91", "00"))
        return f"fd{first}:{self.random.choice('0123')}::/{self.random.randint(16, 40)}"

    # -- packets -----------------------------------------------------------------------------------------------

    def packet(self, id: str) -> Packet:
        uid, gid = self.random.choice(ORDINARY if self.coin(0.7) else OWNERS)
        family = self.random.randint(0, 1)
        packet = self._out(id, family) if self.coin(0.7) else self._in(id, family)
        if packet.interface == "lo" and self.coin(0.3):  # the proxy's calls to itself
            uid, gid = facts.UID_PROXY, facts.GID_PROXY
        packet.uid, packet.gid = uid, gid
        packet.mark = 0x177 if self.coin(0.1) else 0
        if packet.transport == "tcp" and packet.sport is None and self.coin(0.05):
            packet.sport = SSH_PORT
        return packet

    def _ends(self) -> dict[str, typing.Any]:
        transport = "udp" if self.coin(0.25) else "tcp"
        dport = 53 if self.coin(0.15) else self.random.choice(USUAL_PORTS if self.coin() else PORTS)
        return {"transport": transport, "dport": dport, "uid": 0, "gid": 0}

    def _out(self, id: str, family: int) -> Packet:
        interface = self.random.choice(("eth0", "eth0", "eth1", "lo", "lo"))
        if interface == "lo":
            own = [addresses[family] for addresses in VM.values()]
            dst = self.random.choice([*own, *(("127.0.0.1", "127.0.0.6") if family == 0 else ("::1", "::1"))])
            src = "127.0.0.6" if family == 0 and self.coin(0.15) else None
            return Packet(id, True, dst=dst, local=True, interface="lo", src=src, **self._ends())
        special = [PEER["eth0"][family], METADATA[family]] if interface == "eth0" else [PEER["eth1"][family]]
        dst = self.random.choice([self.beyond(interface, family)] * 4 + special)
        return Packet(id, True, dst=dst, local=False, interface=interface, **self._ends())

    def _in(self, id: str, family: int) -> Packet:
        interface = self.random.choice(("eth0", "eth1"))
        src = self.random.choice((PEER[interface][family], self.beyond(interface, family)))
        return Packet(id, False, dst=VM[interface][family], local=True, interface=interface, src=src, **self._ends())

    def beyond(self, interface: str, family: int) -> str:
        network = BEYOND[interface][family].partition("/")[0]
        if family == 0:
            a, b, _, _ = network.split(".")
            return f"{a}.{b}.{self.random.choice((0, 64, 128, 200))}.{self.random.randint(1, 9)}"
        return f"{network[:4]}:{self.random.choice('0123')}::{self.random.randint(1, 9)}"
