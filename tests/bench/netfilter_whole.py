# SPDX-License-Identifier: Apache-2.0
"""The commands that an operator types, in a host that has joined: from fork to their end."""

from __future__ import annotations

import json
import tempfile
import time
import typing

from bench.netfilter_table import Book
from lab import planes, steps
from lab.hawser import HawserHost
from lab.world import World

SETTINGS = "/etc/hawser/conf.d/60-bench.yaml"
FIRST_PORT = 7000
REST = 0.1  # in which the kernel frees what the last command deleted; nobody types faster


class Joined(World):
    """The scene of the e2e tests, with rules by the backend that is asked for."""

    backend: str

    def _start_hawser(self) -> HawserHost:
        vm = HawserHost(self.host)
        vm.broker_options = ("--backend", self.backend)
        vm.start()
        return vm


def measure(backend: str, runs: int, book: Book, say: typing.Callable[[str], None]) -> None:
    say(f"whole commands in a joined host, {backend}")
    with tempfile.TemporaryDirectory() as logs:
        world = Joined(planes.make_plane("devmesh"), logs=logs)
        world.backend = backend
        with world:
            steps.join(world)
            for probe in world.ssh_probes:
                probe.stop()
            assert json.loads(world.vm.cli("intercept", "status", "--json").stdout)["backend"] == backend
            for number in range(runs + 1):  # the first round isn't counted
                _round(world, number, book if number > 0 else Book())


def _round(world: World, number: int, book: Book) -> None:
    def timed(key: str, *command: str) -> None:
        time.sleep(REST)
        begun = time.monotonic()
        world.vm.cli("intercept", *command)
        book.note(world.backend, key, (time.monotonic() - begun) * 1000)

    excluded = f"[3306, 5432, {FIRST_PORT + number}]"
    world.host.write(SETTINGS, f"interception: {{outbound: {{exclude_ports: {excluded}}}}}\n")
    timed("whole change", "apply")
    timed("whole again", "apply")
    timed("whole remove", "drain")
    timed("whole", "apply")
