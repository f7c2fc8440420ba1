# SPDX-License-Identifier: Apache-2.0
"""The next generation is killed before it is LIVE, where each is a unit: the old one serves, and all is repaired."""

from __future__ import annotations

import json
import pathlib
import re
import signal
import subprocess
import time

import pytest

from lab import generations, layout, poll
from lab.replacing import begin_restart, gates, proxy, restarted
from system import hawser, scene
from system.machine import LOGS

pytestmark = pytest.mark.incremental
AGENT, BROKER = hawser.SERVICES
LEAVES = 3  # seconds that a predecessor may stay
# Seconds until hawserd says that a successor has failed. What counts is 5; the machine may be busy with something else.
TOLD = 15.0
FLAGS_AT = 96  # agent/proxy/shared_mark.h
SOURCE = layout.REPO / "tests" / "lab" / "programs" / "marking_envoy.c"


def unit_of(generation: str) -> str:
    return f"hawser-proxy-{generation}.service"


def marked(world) -> bool:
    """Whether a start is under way, or was cut off, by what the generations of a family share."""
    script = f"od -An -tu1 -j {FLAGS_AT} -N 1 /dev/shm/envoy_shared_memory_*"
    return bool(int(world.host.run(["sh", "-c", script]).stdout) & 1)



def admin_says(world, generation: str) -> str:
    path = f"/run/hawser/proxy/{generation}.admin.sock"
    return world.host.run(["curl", "-s", "--unix-socket", path, "http://admin/ready"], check=False).stdout.strip()


def waits_for_listeners(world, generation: str) -> int:
    """Held back by the relay: it has its own admin interface, and a predecessor by hot restart has none any more."""
    poll.until(f"{generation} waits", lambda: "INITIALIZING" in admin_says(world, generation), 15)
    return int(world.host.unit(unit_of(generation))["MainPID"])


def is_alone(world, generation: str) -> None:
    poll.until("no other unit is there", lambda: world.vm.proxy_units() == [unit_of(generation)], LEAVES + 15)
    world.vm.ready()


def by_hot_restart(world) -> None:
    """Another one works, which is the proof that nothing is left of the one that failed."""
    done = restarted(world, "--hand-over", "hot-restart")
    assert proxy(world)["pid"] == done["new"]["pid"] and gates(done)["live"], done
    is_alone(world, done["new"]["generation"])


@pytest.fixture(scope="module")
def stand_in(world) -> str:
    """The path of a program of the versions that are current."""
    binaries = json.loads(world.vm.cli("proxy", "list", "--json").stdout)["binaries"]
    current = next(each for each in binaries if each["current"])
    versions = [f'-D{name.upper()}="{current[name]}"' for name in ("version", "hot_restart_version")]
    made = world.host.log_dir / "marking-envoy"
    subprocess.run(["gcc", "-static", "-Wall", "-Werror", "-o", made, *versions, SOURCE], check=True, timeout=60)
    return str(pathlib.PurePosixPath(LOGS, made.name))


def test_joins(world):
    times = (f"proxy.parent_shutdown={LEAVES}s", "proxy.drain=1s", "proxy.canary=1s", "proxy.start_timeout=20s")
    world.vm.join(world.bundle, *times, "proxy.auto_cold=true")
    world.vm.ready()
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)


def test_side_by_side_it_is_as_if_it_had_never_been(world):
    before = proxy(world)
    world.vm.cli("xds", "hold", "f2e0", "--first-lds", "--for", "60s", "--reason", "test")
    with world.traffic() as traffic:
        traffic.more(10)
        asked = begin_restart(world, "side-by-side.log", "--hand-over", "side-by-side")
        pid = waits_for_listeners(world, "f2e0")
        world.host.run(["kill", "-9", str(pid)])
        assert asked.wait(TOLD) != 0
        traffic.more(20)
        traffic.finish()
    world.vm.cli("xds", "release", "f2e0")
    is_alone(world, before["generation"])
    assert proxy(world)["pid"] == before["pid"]
    assert "f2e0 ended (SIGKILL) before it was LIVE" in world.host.journal(AGENT)


def test_what_it_left_in_the_shared_memory_is_taken_out(world, stand_in):
    before = proxy(world)
    with world.traffic() as traffic:
        traffic.more(10)
        command = ["hawser", "proxy", "upgrade", "--json", "--hand-over", "hot-restart", stand_in]
        asked = world.host.popen(command, log="marked.log")
        pid = poll.until("it runs", lambda: int(world.host.unit(unit_of("f1e1"))["MainPID"]), 15)
        poll.until("it has left its mark", lambda: marked(world), 10)
        world.host.run(["kill", "-9", str(pid)])
        assert asked.wait(TOLD) != 0
        assert not marked(world)
        traffic.more(20)
        traffic.finish()
    is_alone(world, before["generation"])
    assert proxy(world)["pid"] == before["pid"]
    by_hot_restart(world)


def test_one_that_had_taken_the_admin_interface_is_followed_by_a_planned_cold_start(world):
    """The worst that it can leave: the old one serves, can't be asked any more, and takes no successor."""
    before = proxy(world)
    family, epoch = before["generation"][1:].split("e")
    following = f"f{family}e{int(epoch) + 1}"
    world.vm.cli("xds", "hold", following, "--first-lds", "--for", "60s", "--reason", "test")
    asked = begin_restart(world, "mute.log", "--hand-over", "hot-restart")
    with world.traffic() as traffic:
        traffic.more(10)
        pid = waits_for_listeners(world, following)
        traffic.more(20)
        traffic.finish()
    world.host.run(["kill", "-9", str(pid)])
    killed = time.monotonic()
    assert asked.wait(TOLD) != 0
    now = generations.wait_another(world, before["pid"], 30)
    print(f"another one after {time.monotonic() - killed:.1f} s")
    world.vm.cli("xds", "release", following)
    is_alone(world, now["generation"])
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
    by_hot_restart(world)


def test_how_each_ended_is_known_though_systemd_forgets(world):
    """A unit that ended in success is unloaded at once, and the broker takes from one that failed what there is."""
    ended = re.findall(r"a proxy generation ended generation=(\w+) wait_status=(-?\d+)", world.host.journal(BROKER))
    print(ended)
    killed = [generation for generation, status in ended if int(status) == signal.SIGKILL]
    assert killed[:2] == ["f2e0", "f1e1"] and len(killed) == 3, ended
    assert all(int(status) in (0, signal.SIGKILL) for _, status in ended), ended
    assert len(ended) - len(killed) == 3, ended
    for generation, _ in ended:
        if unit_of(generation) not in world.vm.proxy_units():
            assert world.host.unit(unit_of(generation))["LoadState"] == "not-found"
