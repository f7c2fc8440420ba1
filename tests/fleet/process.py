# SPDX-License-Identifier: Apache-2.0
"""hawser_fleet in a host of the lab, driven by lines on its standard input."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import typing

from lab import facts, layout, poll
from lab.host import Host
from lab.plane import Plane

FILES = "/run/fleet"
LOG = "hawser_fleet.log"
ANSWER_TIMEOUT = 30.0
PROBE = {"httpGet": {"path": facts.VM_HEALTH_PATH, "port": facts.VM_PORT}, "periodSeconds": 1}

Report = dict[str, typing.Any]


def simulate(**flags: float) -> Report:
    """The figures of a fleet on a fake clock."""
    options = [f"--{name}={value:g}" for name, value in flags.items()]
    argv = [layout.bin_dir() / "hawser_fleet", "--simulate", *options]
    return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout)


class Fleet:
    """`agents` of facts.VM_GROUP, with an address each and one certificate. """

    def __init__(self, host: Host, plane: Plane, agents: int, *, spread: float, **more: float) -> None:
        """`more`: cap, good_after, and ramp: seconds over which they are started, else it's at once."""
        identity = plane.issue(facts.VM_SA)
        for name, text in (("key", identity.key), ("chain", identity.chain), ("roots", identity.roots)):
            host.write(f"{FILES}/{name}.pem", text, mode=0o600)
        flags = {
            "agents": agents,
            "spread": spread,
            **{name.replace("_", "-"): value for name, value in more.items()},
            "target": f"ipv4:{facts.MESH_IP}:{facts.PLANE_PORT}",
            "name": facts.PLANE_NAME,
            **{name: f"{FILES}/{name}.pem" for name in ("key", "chain", "roots")},
            "group": facts.VM_GROUP,
            "namespace": facts.NAMESPACE,
            "service-account": facts.VM_SA,
            "network": facts.NETWORK,
            "mesh": facts.MESH_ID,
            "cluster": facts.CLUSTER_ID,
            "readiness-probe": json.dumps(PROBE),
        }
        self.agents = agents
        self._host = host
        self._process = host.popen(
            [f"{layout.BIN_IN_HOST}/hawser_fleet", *(f"--{name}={value}" for name, value in flags.items())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            log=LOG,
        )
        self._said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def mark(self) -> None:
        """Counts anew from here."""
        self._say("mark")

    def report(self) -> Report:
        self._say("report")
        try:
            line = self._said.get(timeout=ANSWER_TIMEOUT)
        except queue.Empty:
            line = None
        if line is None:
            words = (self._host.log_dir / LOG).read_text(errors="replace").strip()
            raise RuntimeError(f"{self._host.name}: hawser_fleet gave no answer: {words[-400:]}")
        return json.loads(line)

    def wait(self, connected: int, timeout: float) -> Report:
        def all_there() -> Report:
            report = self.report()
            assert report["connected"] == connected, f"{report['connected']} connected, errors {report['errors']}"
            return report

        return poll.until(f"{connected} agents are connected", all_there, timeout=timeout, every=0.2)

    def wait_returns(self, count: int, timeout: float) -> Report:
        """Since the last mark so many have come back, and nobody is missing."""

        def all_back() -> Report:
            report = self.report()
            back, there = report["gone"]["hosts"], report["connected"]
            assert back >= count and there == self.agents, f"{back} came back, {there} are there"
            return report

        return poll.until(f"{count} agents have come back", all_back, timeout=timeout, every=0.2)

    def stop(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._host.stop(self._process)

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put(None)

    def _say(self, word: str) -> None:
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self._host.stop(self._process)
