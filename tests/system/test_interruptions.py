# SPDX-License-Identifier: Apache-2.0
"""Killed, restarted, re-executed, upgraded: while one proxy serves, and while one takes over from another. No proxy notices."""

from __future__ import annotations

import json
import pathlib
import subprocess
import time
import typing

import pytest

from lab import poll
from lab.replacing import begin_restart, proxy, restarted
from system import hawser, scene

pytestmark = pytest.mark.incremental
AGENT, BROKER = hawser.SERVICES
LEAVES = 4  # seconds that a predecessor may stay
# What counts is 2 and 5 s; the machine that runs the tests may be busy with something else.
READY, CONNECTED = 10.0, 15.0

Proxies = dict[str, tuple[str, str]]  # unit → main process, invocation


@pytest.fixture(scope="module")
def packages(world, tmp_path_factory) -> list[pathlib.Path]:
    """A newer version than the one that is installed, and that one: to and fro."""
    where = tmp_path_factory.mktemp("newer")
    subprocess.run(["dpkg-deb", "--raw-extract", world.deb, where / "tree"], check=True, timeout=60)
    control = where / "tree" / "DEBIAN" / "control"
    lines = [f"{line}+1" if line.startswith("Version:") else line for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    build = ["dpkg-deb", "-Znone", "--root-owner-group", "--build", where / "tree", where / "hawser_newer.deb"]
    subprocess.run(build, check=True, timeout=60, capture_output=True)
    return [where / "hawser_newer.deb", world.deb]


def kill(world, *units: str) -> None:
    world.host.run(["kill", "-9", *(str(world.vm.main_pid(unit)) for unit in units)])


def upgrade(world, packages: list[pathlib.Path]) -> None:
    world.host.install(packages[0])
    packages.append(packages.pop(0))


Interruption = typing.Callable[[typing.Any, list[pathlib.Path]], object]
# and the services that it ends
INTERRUPTIONS: dict[str, tuple[Interruption, tuple[str, ...]]] = {
    "hawserd-killed": (lambda world, _: kill(world, AGENT), (AGENT,)),
    "broker-killed": (lambda world, _: kill(world, BROKER), (BROKER,)),
    "both-killed": (lambda world, _: kill(world, AGENT, BROKER), (AGENT, BROKER)),
    "both-restarted": (lambda world, _: world.host.systemctl("restart", AGENT, BROKER), (AGENT, BROKER)),
    "systemd-re-executed": (lambda world, _: world.host.systemctl("daemon-reexec"), ()),
    "package-upgraded": (upgrade, (AGENT, BROKER)),
}


def proxies(world) -> Proxies:
    units = {name: world.host.unit(name) for name in world.vm.proxy_units()}
    return {name: (unit["MainPID"], unit["InvocationID"]) for name, unit in units.items() if unit["MainPID"] != "0"}


def away(world, unit: str, since: float) -> float:
    """Seconds from when systemd saw a service end until it was ready again; 0: not yet."""
    seen = world.host.unit(unit)
    ended, ready = (int(seen[f"Active{what}TimestampMonotonic"]) / 1e6 for what in ("Exit", "Enter"))
    return ready - ended if since < ended < ready and seen["ActiveState"] == "active" else 0


def interrupt(world, packages: list[pathlib.Path], name: str) -> dict[str, float]:
    """Returns once what was interrupted is back, with how long each was away, and until the plane had hawserd again."""
    act, ended = INTERRUPTIONS[name]
    begun = time.monotonic()
    act(world, packages)
    took = {unit: poll.until(f"{unit} is back", lambda u=unit: away(world, u, begun), 20) for unit in ended}
    ready = time.monotonic()
    poll.until("the plane has it", lambda: world.vm.status()["control_plane"]["connected"], 20)
    took["connected"] = time.monotonic() - ready
    print(f"{name}: {', '.join(f'{what} after {seconds:.2f} s' for what, seconds in took.items())}")
    assert all(seconds < READY for unit, seconds in took.items() if unit in ended), took
    assert took["connected"] < CONNECTED, took
    return took


def generations(world) -> list[dict[str, typing.Any]]:
    return json.loads(world.vm.cli("proxy", "status", "--json").stdout)["generations"]


def alone(world, generation: str) -> None:
    """The one that serves, LIVE, and nothing of another."""
    unit = f"hawser-proxy-{generation}.service"
    poll.until("its predecessor has gone", lambda: list(proxies(world)) == [unit], LEAVES + 20, every=0.1)
    poll.until("and is forgotten", lambda: world.vm.proxy_units() == [unit] and len(generations(world)) == 1, 20, every=0.1)
    world.vm.ready()
    (left,) = generations(world)
    assert (left["generation"], left["role"], left["state"]) == (generation, "serving", "LIVE"), left


def test_joins(world):
    # side by side is to lose nothing: docs/supervision.md
    world.host.sysctl("net.ipv4.tcp_migrate_req=1")
    world.vm.join(world.bundle, f"proxy.parent_shutdown={LEAVES}s", "proxy.drain=2s", "proxy.canary=1s")
    world.vm.ready()
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)


@pytest.mark.parametrize("name", [name for name in INTERRUPTIONS if name != "both-killed"])  # it's in test_restarts
def test_while_a_proxy_serves(world, packages, name):
    before, generation = proxies(world), proxy(world)["generation"]
    with world.traffic() as traffic:
        traffic.more(10)
        interrupt(world, packages, name)
        traffic.more(10)
        traffic.finish()
    assert proxies(world) == before and len(before) == 1
    alone(world, generation)


# by hot restart the old one goes by itself; side by side it's for hawserd to end it
@pytest.mark.parametrize(
    "kind, name",
    [("hot-restart", name) for name in ("hawserd-killed", "both-killed", "systemd-re-executed", "package-upgraded")]
    + [("side-by-side", name) for name in ("hawserd-killed", "broker-killed", "both-restarted", "package-upgraded")],
)
def test_while_one_drains(world, packages, kind, name):
    """Of the two that there are, each is the process it was: the old one until it goes by itself, in its time."""
    with world.traffic() as traffic:
        traffic.more(10)
        done = restarted(world, "--hand-over", kind)
        live = time.monotonic()
        both = proxies(world)
        assert len(both) == 2, both
        interrupt(world, packages, name)
        now = proxies(world)
        assert now.items() <= both.items(), f"{both} became {now}"
        alone(world, done["new"]["generation"])
        print(f"alone {time.monotonic() - live:.1f} s after the take-over")
        traffic.more(10)
        traffic.finish()
    unit = f"hawser-proxy-{done['new']['generation']}.service"
    assert proxies(world) == {unit: both[unit]}
    assert proxy(world)["pid"] == done["new"]["pid"]


@pytest.mark.parametrize("kind", ["hot-restart", "side-by-side"])
def test_while_the_next_one_starts(world, packages, kind):
    """Nobody is told of an end that both programs missed; one of the two serves, and a restart works as ever."""
    before = proxies(world)
    with world.traffic() as traffic:
        traffic.more(10)
        asked = begin_restart(world, f"cut-off-{kind}.log", "--hand-over", kind)
        poll.until("the next one is started", lambda: len(proxies(world)) == 2, 20, every=0.01)
        both = proxies(world)
        interrupt(world, packages, "both-killed")
        asked.wait(20)
        poll.until("one is left", lambda: len(proxies(world)) == 1, LEAVES + 20)
        alone(world, proxy(world)["generation"])
        traffic.more(10)
        traffic.finish()
    after = proxies(world)
    assert after.items() <= both.items(), f"{before} became {both}, then {after}: none of those that ran was taken"
    done = restarted(world, "--hand-over", kind)
    alone(world, done["new"]["generation"])
