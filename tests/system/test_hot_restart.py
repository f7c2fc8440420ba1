# SPDX-License-Identifier: Apache-2.0
"""`hawser proxy restart` where each generation is a unit in a sandbox of its own: the next one takes over under load."""

from __future__ import annotations

import json
import re

import pytest

from lab import poll
from system import hawser, scene

pytestmark = pytest.mark.incremental
LEAVES = 5  # seconds that a predecessor may stay


def test_joins(world):
    times = (f"proxy.parent_shutdown={LEAVES}s", "proxy.drain=3s")
    world.vm.join(world.bundle, *times, "proxy.hand_over=hot-restart", "proxy.log_level=info")
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


def logged(text: str) -> dict[str, list[dict]]:
    """What each generation has written, each line a JSON document from when Envoy has read its options; what systemd
    says of the units aside."""
    out: dict[str, list[dict]] = {}
    json_since: set[str] = set()
    for line in text.splitlines():
        if found := re.search(r" hawser-proxy-(f\d+e\d+)\[(\d+)\]: (.*)", line):
            generation, pid, said = found.groups()
            if pid in json_since or said.startswith("{"):
                json_since.add(pid)
                out.setdefault(generation, []).append(json.loads(said))
    return out


def test_what_each_generation_has_logged_is_in_the_journal(world):
    seen = logged(world.vm.cli("proxy", "logs", "--lines", "5000").stdout)
    assert set(seen) >= {"f1e0", "f1e1", "f1e2", "f1e3"}, list(seen)
    for generation, lines in seen.items():
        assert all({"time", "level", "logger", "message"} <= set(line) for line in lines), (generation, lines[:2])
    alone = logged(world.vm.cli("proxy", "logs", "--generation", "f1e2", "--lines", "5000").stdout)
    assert alone == {"f1e2": seen["f1e2"]}
    assert len(world.vm.cli("proxy", "logs", "--generation", "f1e2", "-n", "2").stdout.splitlines()) == 2


def test_who_follows_the_logs_sees_the_next_generation(world):
    """Also one of a family that nobody has logged of before."""
    follower = world.host.popen(["hawser", "proxy", "logs", "--follow", "--lines", "5"], log="follow.log")
    log = world.host.log_dir / "follow.log"
    try:
        poll.until("what was before is shown", lambda: "f1e0" in logged(log.read_text()), 10)
        done = json.loads(world.vm.cli("proxy", "restart", "--json", "--hand-over", "side-by-side").stdout)
        generation = done["new"]["generation"]
        assert generation == "f2e0"
        poll.until("the next one is shown", lambda: generation in logged(log.read_text()), 10)
    finally:
        world.host.stop(follower)
    alone(world, generation)


def test_leaves_without_a_trace(world):
    restart(world)
    world.vm.leave()
    hawser.assert_equal(world.before, world.vm.snapshot, "after `hawser leave` the host isn't as before the join")
