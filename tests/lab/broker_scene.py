# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""hawser-broker alone, with the kernel's real rules and the real Envoy, on a host of its own and one next to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from lab import facts, hawser, services
from lab.broker_wire import Refused, call, intent
from lab.network import Lab

BOOT, RUN = "/var/lib/hawser/proxy/boot", "/var/lib/hawser/proxy/run"
PORTS = ("22", "80", "8080", "15001", "15006", "15020", "15021", "15090", "2200")
GOOD = {
    "node": {"id": "test", "cluster": "test"},
    "admin": {"address": {"pipe": {"path": "/run/hawser/proxy/f1e0.admin.sock", "mode": 0o660}}},
    "static_resources": {},
}
PEER, PEER6 = facts.OUTSIDE_IP, facts.OUTSIDE_IP6


class Scene:
    """A host with a broker and a server on each interesting port, and a peer with the same servers."""

    def __init__(self, lab: Lab, *broker_options: str) -> None:
        self.vm = lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
        self.peer = lab.add_host("peer", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
        self.hawser = hawser.HawserHost(self.vm)
        self.hawser.broker_options = broker_options
        self._servers = {}
        for host in (self.vm, self.peer):
            self.start_servers(host)
        self.hawser.start_broker()

    def start_servers(self, host, without: tuple[str, ...] = ()) -> None:
        """Anew, if they run: with them go connections that were cut off, of which TCP would learn much later."""
        if host in self._servers:
            host.stop(self._servers[host], sig=signal.SIGKILL)
        program = services.program("port_server", *(port for port in PORTS if port not in without))
        self._servers[host] = host.popen(program, stdout=subprocess.PIPE, text=True)
        assert self._servers[host].stdout.readline() == "up\n"

    def ask(self, job: str, **fields):
        return call(self.vm, job, **fields)

    def plan(self, confirm_seconds: int = 0, **changes):
        return self.ask("plan", intent=intent(**changes), confirm_seconds=confirm_seconds).plan

    @staticmethod
    def intent(**changes):
        return intent(**changes)

    def observe(self):
        return self.ask("observe").observe

    def ruleset(self) -> str:
        return self.vm.run(["nft", "list", "ruleset"]).stdout

    def reached(self, *targets: tuple[str, int], uid: int = facts.UID_APP, host=None) -> list[str]:
        """The port that really answered each connection."""
        words = [word for address, port in targets for word in (address, str(port))]
        done = (host or self.vm).run(services.program("port_client", *words), uid=uid, gid=uid, timeout=30)
        return done.stdout.split()

    def kill_broker(self) -> None:
        self.hawser.broker.kill()
        self.hawser.broker.wait(5)


@pytest.fixture(scope="module")
def scene():
    with Lab() as lab:
        yield Scene(lab)


@pytest.fixture(autouse=True)
def nothing_left(scene):
    """Every test starts with a broker and without rules, and has to leave it so."""
    if scene.hawser.broker.poll() is not None:
        scene.hawser.start_broker()
    scene.ask("remove")
    assert scene.ruleset() == ""
    yield
    if scene.hawser.broker.poll() is None:
        for generation in scene.observe().generations:  # a test that failed half-way
            with contextlib.suppress(Refused):
                scene.ask("signal", generation=generation.name, signal=signal.SIGKILL)
            scene.ask("reap", generation=generation.name, wait_ms=5000)
        scene.ask("remove")
        assert scene.ruleset() == ""


@pytest.fixture(scope="module")
def envoy(scene) -> str:
    """Installs the real Envoy as `hawser proxy install` does."""

    def work() -> str:
        content = pathlib.Path(services.envoy_binary()).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        folder = f"/var/lib/hawser/proxy/bin/{digest}"
        os.makedirs(folder)
        pathlib.Path(folder, "envoy").write_bytes(content)
        os.chmod(f"{folder}/envoy", 0o755)
        os.symlink(digest, "/var/lib/hawser/proxy/bin/current")
        return digest

    return scene.vm.call(work)


def start(scene, name: str = "f1e0", **fields):
    bootstrap = json.dumps(GOOD).replace("f1e0", name).encode()
    args = ["--concurrency", "1", "--log-level", "warning", "--drain-time-s=1"]
    return scene.ask("start", **{"generation": name, "bootstrap": bootstrap, "args": args, **fields}).start


def end(scene, name: str = "f1e0", number: int = signal.SIGTERM):
    scene.ask("signal", generation=name, signal=number)
    return scene.ask("reap", generation=name, wait_ms=10_000).reap


def files(scene) -> dict[str, list[str]]:
    folders = ("/dev/shm", "/run/hawser/proxy", RUN, BOOT)
    return scene.vm.call(lambda: {folder: sorted(os.listdir(folder)) for folder in folders})


NO_FILES = {"/dev/shm": [], "/run/hawser/proxy": [], RUN: [], BOOT: []}


def live(scene, name: str = "f1e0") -> bool:
    def work() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            client.connect(f"/run/hawser/proxy/{name}.admin.sock")
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.makefile("rb").read()

    return b"LIVE" in scene.vm.call(work)


def proc(scene, pid: int) -> dict[str, str]:
    lines = scene.vm.run(["cat", f"/proc/{pid}/status"]).stdout.splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def ended(scene, pid: int) -> bool:
    return not scene.vm.exists(f"/proc/{pid}") or proc(scene, pid)["State"].startswith("Z")
