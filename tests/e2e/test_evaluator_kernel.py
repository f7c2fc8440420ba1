# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The packet evaluator against the kernel: random packets, sent for real, land where it said.

HAWSER_SEED=N repeats a run; each run prints its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess

import pytest

from lab import evaluator, facts, hawser, poll, services
from lab.broker_wire import call, message
from lab.evaluator import BEYOND, METADATA, PEER, PORTS, VM, Dice, Packet
from lab.network import Lab

PLANS, PACKETS = 8, 60  # of each plan, and of each backend
BACKENDS = ("nftables", "xtables")
SEED = int(os.environ.get("HAWSER_SEED") or random.SystemRandom().randrange(1 << 32))


class Range:
    """A host with a broker, and a peer that has every address beyond its two interfaces."""

    def __init__(self, lab: Lab, backend: str) -> None:
        self.vm = lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
        self.peer = lab.add_host("peer", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
        lab.wire(self.vm, self.peer, "eth1")
        for host, addresses in ((self.vm, VM), (self.peer, PEER)):
            lines = ["link set eth1 up", f"address add {addresses['eth1'][0]}/24 dev eth1"]
            lines.append(f"address add {addresses['eth1'][1]}/64 dev eth1 nodad")
            host.run(["ip", "-batch", "-"], input="\n".join(lines))
        there, here = [], []
        for interface, networks in BEYOND.items():
            for network, gateway in zip(networks, PEER[interface]):
                there.append(f"route add local {network} dev lo")
                here.append(f"route add {network} via {gateway}")
        for address, gateway in zip(METADATA, PEER["eth0"]):
            there.append(f"address add {address} dev lo")
            here.append(f"route add {address} via {gateway}")
        self.peer.run(["ip", "-batch", "-"], input="\n".join(there))
        self.vm.run(["ip", "-batch", "-"], input="\n".join(here))
        self.vm.run(["rm", "-rf", "/etc/ssh"])  # a link to the machine's, if it has one
        self.vm.write("/etc/ssh/sshd_config", f"Port {evaluator.SSH_PORT}\n")
        # no server on loopback, whose owner would be left alone as the host's own resolver
        self.vm.write("/etc/resolv.conf", f"nameserver {facts.OUTSIDE_IP}\n")
        self.servers = {}
        for host in (self.vm, self.peer):
            program = services.program("land_server", host.name, *map(str, PORTS))
            self.servers[host] = host.popen(program, log=f"landed-{host.name}.log")
            poll.until(f"{host.name} listens", lambda h=host: self.landed(h)[:1] == ["up"])
        self.hawser = hawser.HawserHost(self.vm)
        self.hawser.start_broker("--backend", backend)

    def landed(self, host) -> list[str]:
        return (host.log_dir / f"landed-{host.name}.log").read_text().splitlines()

    def datagrams(self) -> dict[str, str]:
        lines = [line.split() for host in self.servers for line in self.landed(host)]
        return {words[0]: words[1] for words in lines if len(words) == 2}

    def send(self, packets: list[Packet]) -> dict[str, str]:
        """Where each landed: HOST:PORT, "refused", or "none"."""
        out: dict[str, str] = {}
        for host, going_out in ((self.vm, True), (self.peer, False)):
            question = json.dumps([p.for_sender() for p in packets if p.out == going_out])
            out |= json.loads(host.run(services.program("packet_sender"), input=question, timeout=60).stdout)
        sent = {id for id, where in out.items() if where == "sent"}
        try:
            poll.until("datagrams landed", lambda: sent <= self.datagrams().keys(), timeout=5)
        except AssertionError:
            pass  # each one that is missing is told
        return out | {id: self.datagrams().get(id, "none") for id in sent}


@pytest.fixture(scope="module", params=BACKENDS)
def place(request):
    with Lab() as lab:
        yield Range(lab, request.param)


def apply(place: Range, intent) -> str:
    """The digest of what is in force."""
    closed = message("FailurePolicy", inbound_closed=True, outbound_closed=True)
    fields = {"without_proxy": True, "on_failure": closed} if intent.refuse else {}
    return call(place.vm, "plan", intent=intent, confirm_seconds=0, **fields).plan.digest


def expected(packet: Packet, outcome: dict) -> str:
    if outcome["kind"] in ("redirected", "proxied transparently"):
        return f"vm:{outcome['port']}"
    if outcome["kind"] == "left alone":
        return f"{'vm' if packet.local else 'peer'}:{packet.dport}"
    return {"refused": "refused", "dropped": "none"}[outcome["kind"]]


def differences(place: Range, intent, packets: list[Packet]) -> list[str]:
    """Applies, sends, and says what landed elsewhere."""
    said = evaluator.ask(intent, packets)
    assert said["digest"] == apply(place, intent), "the broker has compiled another plan"
    landed = place.send(packets)
    out = []
    for packet, outcome in zip(packets, said["outcomes"]):
        there = landed[packet.id]
        if not there.startswith(expected(packet, outcome)):
            out.append(f"{packet}\n  landed at {there}, but the evaluator says {outcome['text']}")
    return out


@pytest.mark.parametrize("number", range(PLANS))
def test_random_packets_land_where_the_evaluator_says(place, number):
    dice = Dice(SEED + number)
    packets = [dice.packet(f"{number}-{i}") for i in range(PACKETS)]
    intent = dice.intent()
    print(f"HAWSER_SEED={SEED}\n{intent}")
    wrong = differences(place, intent, packets)
    assert not wrong, f"{len(wrong)} of {len(packets)}, HAWSER_SEED={SEED}:\n" + "\n".join(wrong[:5])


def test_a_wrong_evaluation_would_be_noticed(place):
    """The same packets, said of another plan than the one in force: else this module couldn't fail."""
    dice = Dice(SEED)
    packets = [dice.packet(f"x-{i}") for i in range(PACKETS)]
    apply(place, dice.intent())
    other = evaluator.intent_of(exempt_uids=[facts.UID_AGENT, facts.UID_PROXY, 0, 1000, 1001, 1002, 1003])
    said = evaluator.ask(other, packets)["outcomes"]
    landed = place.send(packets)
    assert any(not landed[p.id].startswith(expected(p, o)) for p, o in zip(packets, said))


def test_nothing_is_left(place):
    call(place.vm, "remove")
    assert place.vm.run(["nft", "list", "ruleset"]).stdout == ""
    for program in ("iptables-legacy-save", "ip6tables-legacy-save"):
        assert "HAWSER" not in place.vm.run([program]).stdout
    for family in ("-4", "-6"):
        assert "fwmark" not in place.vm.run(["ip", family, "rule"]).stdout
    assert isinstance(place.hawser.broker, subprocess.Popen) and place.hawser.broker.poll() is None
