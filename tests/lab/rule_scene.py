# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What connections do under rules, made by either backend: a host with hawser-broker, and one next to it.

Import `scene` and `nothing_left` into a module: each test then runs once a backend. `15001` and `15006` stand in for
the proxy; every server says where the connection landed: a test asserts who accepted it and what the kernel told there.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import typing

import pytest

from lab import facts, services
from lab.broker_scene import Scene
from lab.broker_wire import message
from lab.network import Lab

BACKENDS = ("nftables", "xtables")
PEER, PEER6 = facts.OUTSIDE_IP, facts.OUTSIDE_IP6
VM, VM6 = facts.VM_IP, facts.VM_IP6
OUTBOUND, INBOUND = 15001, 15006
SERVERS = ("22", "80", "8080", "8443", "9000", "15001", "15006", "15008", "15020", "15101", "15106", "2200")
UID_APP = facts.UID_APP
# Tables of legacy xtables can't be made to vanish again, so they are there from the start.
_TABLES = ("raw", "mangle", "nat", "filter")


class RuleScene(Scene):
    def __init__(self, lab: Lab, backend: str) -> None:
        self.backend, self.lab = backend, lab
        super().__init__(lab, "--backend", backend)
        for program in ("iptables-legacy", "ip6tables-legacy"):
            for table in _TABLES:
                self.vm.run([program, "-t", table, "-S"])
        self.before = self.state()

    def start_servers(self, host, without: tuple[str, ...] = (), transparent: tuple[str, ...] = ()) -> None:
        if host in self._servers:
            host.stop(self._servers[host], sig=signal.SIGKILL)
        plain = [port for port in SERVERS if port not in without and port not in transparent]
        options = [word for port in transparent for word in ("--transparent", port)]
        program = services.program("landing_server", *options, *plain)
        self._servers[host] = host.popen(program, stdout=subprocess.PIPE, text=True)
        assert self._servers[host].stdout.readline() == "up\n"

    def land(
        self, *targets: tuple[str, int] | dict, host=None, uid: int | None = UID_APP, gid: int | None = None, **how
    ) -> list[dict]:
        """Where each connection landed: what landing_client.py tells. `uid=None` is root with all it may do."""
        wanted = [one if isinstance(one, dict) else {"address": one[0], "port": one[1]} for one in targets]
        group = gid if gid is not None else uid
        program = services.program("landing_client", json.dumps(wanted))
        done = (host or self.vm).run([*how.pop("before", ()), *program], uid=uid, gid=group, timeout=40, **how)
        return json.loads(done.stdout)

    def ports(self, *targets, **how) -> list[int | str]:
        return [landed["port"] for landed in self.land(*targets, **how)]

    def counters(self) -> dict[str, int]:
        return {counter.purpose: counter.packets for counter in self.observe().counters}

    def state(self) -> dict[str, list[str]]:
        """All that interception may touch, as the host's own tools show it, without what counts."""
        commands = (
            "nft list ruleset",
            "iptables-legacy-save",
            "ip6tables-legacy-save",
            "ip rule",
            "ip -6 rule",
            "ip route show table all",
            "ip -6 route show table all",
            "ip address",
            "ip link",
        )
        shown = {command: self.vm.run(command.split()).stdout for command in commands}
        return {command: _lines(text) for command, text in shown.items()}


def _lines(text: str) -> list[str]:
    counted = re.compile(r"\[\d+:\d+\]|packets \d+ bytes \d+")
    lines = (counted.sub("", line) for line in text.splitlines() if not line.startswith("#"))
    return [line for line in lines if "valid_lft" not in line]


def difference(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    out = []
    for command, lines in before.items():
        out += [f"{command}: - {line}" for line in lines if line not in after[command]]
        out += [f"{command}: + {line}" for line in after[command] if line not in lines]
    return out


def ports_of(*ranges: int | tuple[int, int]) -> list[typing.Any]:
    """PortRange messages."""
    pairs = [(item, item) if isinstance(item, int) else item for item in ranges]
    return [message("PortRange", first=first, last=last) for first, last in pairs]


def owner(**fields) -> typing.Any:
    return message("Owner", **fields)


EXTRA, EXTRA_PEER = "10.88.0.1", "10.88.0.2"


@contextlib.contextmanager
def interface(scene: RuleScene, name: str):
    """A second network between the host and the peer: the same name on both."""
    ends = f"link add {name} netns {scene.vm.pid} type veth peer name {name} netns {scene.peer.pid}"
    scene.lab._ip(ends)
    try:
        for host, address in ((scene.vm, EXTRA), (scene.peer, EXTRA_PEER)):
            host.run(["ip", "address", "add", f"{address}/24", "dev", name])
            host.run(["ip", "link", "set", name, "up"])
        yield
    finally:
        scene.vm.run(["ip", "link", "delete", name])


@pytest.fixture(scope="module", params=BACKENDS)
def scene(request):
    with Lab() as lab:
        yield RuleScene(lab, request.param)


@pytest.fixture(autouse=True)
def nothing_left(scene):
    """Each test leaves the host as it was before the first, to the byte."""
    yield
    if scene.hawser.broker.poll() is not None:
        scene.hawser.start_broker()
    scene.ask("remove")
    assert difference(scene.before, scene.state()) == []
