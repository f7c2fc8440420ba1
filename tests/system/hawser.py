# SPDX-License-Identifier: Apache-2.0
"""Hawser as a package in a Machine: the same verbs as lab.hawser.HawserHost, done as an operator does them."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import typing

from lab import facts, layout, poll, services
from lab.hawser import HawserHost, Snapshot, difference
from system import image
from system.machine import LOGS, Machine

SERVICES = ("hawser.service", "hawser-broker.service")
SOCKETS = ("hawser-xds.socket", "hawser-sds.socket", "hawser-admin.socket", "hawser-broker.socket")
USERS = ("hawser", "hawser-proxy")
CAPTURED_PORT = 4007  # of a program outside the mesh: in the mesh every connection to it goes through the proxy
# sections of lab's snapshot that say what happens to packets
NETWORK = ("nftables", "xtables", "ip rules", "routes", "addresses", "links", "sysctls")


def package() -> pathlib.Path:
    """The .deb under test: HAWSER_DEB, or what `./dev package` made last."""
    if named := os.environ.get("HAWSER_DEB"):
        return pathlib.Path(named)
    made = sorted((layout.REPO / "build" / "package").glob("hawser_*.deb"), key=lambda path: path.stat().st_mtime)
    if not made:
        raise image.ImageError("there is no .deb: run ./dev package, or name one in HAWSER_DEB")
    return made[-1]


def look(machine: Machine) -> Snapshot:
    """Everything that installing and removing must bring back to what it was, the network's state included."""
    network = json.loads(machine.run(services.program("snapshot", layout.LAB_DIR)).stdout)
    script = layout.in_host(layout.REPO / "tests" / "system" / "look.py")
    system = json.loads(machine.run([layout.PYTHON, "-I", script], timeout=40).stdout)
    return {**{section: network[section] for section in (*NETWORK, "listening sockets")}, **system}


def network_of(snapshot: Snapshot) -> Snapshot:
    return {section: snapshot[section] for section in NETWORK}


def processes(machine: Machine) -> list[str]:
    """Those of Hawser's users, and every program whose name has hawser or envoy in it."""
    lines = machine.run(["ps", "-eo", "pid=,user:20=,comm=,args="]).stdout.splitlines()
    words = [line.split(maxsplit=3) for line in lines]
    ours = [w for w in words if w[1] in USERS or "hawser" in w[2] or "envoy" in w[2]]
    return [" ".join(w) for w in ours]


class SystemHawser(HawserHost):
    """No program is started by us: systemd does that."""

    def __init__(self, machine: Machine) -> None:
        self.host = self.machine = machine
        self.agent = self.broker = None

    def start(self) -> None:
        """Waits for what the package's installation or the boot has started."""
        for unit in SERVICES:
            self.wait_active(unit)

    def wait_active(self, unit: str, timeout: float = 15) -> None:
        poll.until(f"{unit} is active", lambda: self.machine.unit(unit)["ActiveState"] == "active", timeout, every=0.05)

    def cli(self, *arguments: str | os.PathLike, check: bool = True, timeout: float = 60, **popen: typing.Any):
        return self.machine.run(["hawser", *arguments], check=check, timeout=timeout, **popen)

    def join(self, bundle: pathlib.Path, *settings: str, check: bool = True):
        """The bundle is copied into the machine first, as an operator would by scp; `hawser join` reads it there."""
        there = self.machine.log_dir / "bundle"
        shutil.copytree(bundle, there)
        try:
            return super().join(pathlib.Path(LOGS, "bundle"), *settings, check=check)
        finally:
            shutil.rmtree(there)

    def restart_agent(self) -> None:
        self.machine.systemctl("restart", "hawser.service")

    def stop_agent(self, timeout: float = 15) -> int:
        self.machine.systemctl("stop", "hawser.service", timeout=timeout)
        return 0

    def main_pid(self, unit: str) -> int:
        """As the machine numbers it; 0 if it isn't running."""
        return int(self.machine.unit(unit)["MainPID"])

    def kill(self, unit: str) -> None:
        """kill -9 of its main process. Returns when systemd has another one running."""
        before = self.main_pid(unit)
        assert before, f"{unit} isn't running"
        self.machine.run(["kill", "-9", str(before)])
        poll.until(f"{unit} is started again", lambda: self.main_pid(unit) not in (0, before), 15, every=0.05)
        self.wait_active(unit)

    def proxy_pid(self) -> int:
        return self.status().get("proxy", {}).get("pid", 0)

    def proxy_units(self) -> list[str]:
        listed = self.machine.systemctl("list-units", "--no-legend", "--plain", "--all", "hawser-proxy-f*.service")
        return [line.split()[0] for line in listed.splitlines()]

    def ready(self, timeout: float = 40) -> None:
        """In the mesh, and fine."""
        self.wait("REGISTERED", timeout)
        poll.until("status is ok", lambda: self.status()["state"] == "ok", timeout, every=0.1)

    def snapshot(self) -> Snapshot:
        return look(self.machine)


def assert_equal(before: Snapshot, after: typing.Callable[[], Snapshot], what: str, timeout: float = 15) -> None:
    """Names every line that came or went."""
    def changed() -> str:
        return difference(before, after())

    try:
        poll.until("as before", lambda: not changed(), timeout, every=0.2)
    except AssertionError:
        raise AssertionError(f"{what}:\n{changed()}") from None


def intercepted(machine: Machine) -> bool:
    """Whether any table with our name is in the kernel."""
    return "hawser" in machine.run(["nft", "list", "tables"]).stdout


def vm_is_plain(machine: Machine, outside: typing.Any) -> None:
    """The host works as if Hawser weren't there: direct in and out, SSH, no rule that does anything."""
    rules = machine.run(["nft", "list", "ruleset"]).stdout
    assert "redirect" not in rules and "dnat" not in rules and "tproxy" not in rules, rules
    plain = services.curl(outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/plain")
    assert plain.status == 200, f"the VM's service isn't reachable: {plain.error or plain.status}"
    ours, seen = services.banner(machine, facts.OUTSIDE_IP, CAPTURED_PORT)
    assert ours == seen, f"outbound isn't direct: {seen!r}, we are {ours!r}"
