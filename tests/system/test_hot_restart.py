# SPDX-License-Identifier: Apache-2.0
"""`hawser proxy restart` where each generation is a unit in a sandbox of its own: the next one takes over under load."""

from __future__ import annotations

import json

import pytest

from lab import poll
from system import hawser, scene

pytestmark = pytest.mark.incremental
LEAVES = 5  # seconds that a predecessor may stay


def test_joins(world):
    world.vm.join(world.bundle, f"proxy.parent_shutdown={LEAVES}s", "proxy.drain=3s", "proxy.hand_over=hot-restart")
    world.vm.ready()
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)


def restart(world) -> dict:
    return json.loads(world.vm.cli("proxy", "restart", "--json").stdout)


def alone(world, generation: str) -> None:
    unit = f"hawser-proxy-{generation}.service"
    poll.until("the predecessor's unit is gone", lambda: world.vm.proxy_units() == [unit], LEAVES + 15)


def test_one_unit_takes_over_from_another_and_no_request_fails(world):
    with world.traffic() as traffic:
        traffic.more(20)
        for epoch in (1, 2):
            old = world.vm.proxy_pid()
            done = restart(world)
            assert done["new"]["generation"] == f"f1e{epoch}" and done["new"]["pid"] == world.vm.proxy_pid() != old
            traffic.more(20)
            alone(world, f"f1e{epoch}")
            traffic.more(20)
        traffic.finish()
    assert scene.in_mesh(world)


def test_both_programs_are_restarted_while_the_predecessor_leaves(world):
    with world.traffic() as traffic:
        traffic.more(20)
        pid = restart(world)["new"]["pid"]
        world.host.systemctl("restart", *hawser.SERVICES)
        world.vm.ready()
        traffic.more(20)
        alone(world, "f1e3")
        traffic.finish()
    assert world.vm.proxy_pid() == pid


def test_a_crash_after_it_starts_the_family_anew(world):
    world.host.run(["kill", "-9", str(world.vm.proxy_pid())])
    poll.until("another proxy serves", lambda: world.vm.proxy_units() == ["hawser-proxy-f1e0.service"], 30)
    world.vm.ready()
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)


def test_leaves_without_a_trace(world):
    restart(world)
    world.vm.leave()
    hawser.assert_equal(world.before, world.vm.snapshot, "after `hawser leave` the host isn't as before the join")
