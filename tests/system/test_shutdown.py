# SPDX-License-Identifier: Apache-2.0
"""The machine shuts down: callers hear of it before its proxy goes. A stop of the service alone tells nobody."""

from __future__ import annotations

import json
import threading
import time

import pytest

from lab import facts, layout, poll, services
from system import scene
from system.watch import Watch

pytestmark = pytest.mark.incremental
SLOW = 2.0  # seconds that an answer takes
BOUND = 1 + 3 + 2  # seconds: until callers have heard, the drain, and hawserd's own end


def row(world) -> dict:
    rows = world.plane.get("/workloads")
    assert len(rows) == 1, f"the table has {[r['name'] for r in rows]}"
    return rows[0]


def by_mesh(world, path: str) -> services.Answer:
    return services.curl(world.mesh, world.reviews.url(world.reviews.FRESH, path))


def seconds_of_the_end(world) -> float:
    """From hawserd's first word of the last boot's end to its last."""
    argv = ["journalctl", "-b", "-1", "-u", "hawser.service", "--no-pager", "-q", "-o", "json"]
    lines = [json.loads(line) for line in world.host.run(argv).stdout.splitlines()]
    begin = [int(line["__REALTIME_TIMESTAMP"]) for line in lines if "the machine shuts down" in str(line["MESSAGE"])]
    assert len(begin) == 1, [line["MESSAGE"] for line in lines[-10:]]
    return (int(lines[-1]["__REALTIME_TIMESTAMP"]) - begin[0]) / 1e6


def test_joins_with_a_program_that_is_stopped_before_hawser(world):
    script = layout.in_host(layout.REPO / "tests" / "system" / "programs" / "slow_app.py")
    lines = ["[Unit]", "Wants=hawser.service", "After=hawser.service", "[Service]", "ExecStart="]
    lines += [f"ExecStart={layout.PYTHON} -I {script} {facts.VM_PORT} {SLOW}"]
    world.host.run(["mkdir", "-p", f"/etc/systemd/system/{scene.APP_UNIT}.d"])
    world.host.write(f"/etc/systemd/system/{scene.APP_UNIT}.d/slow.conf", "\n".join(lines) + "\n")
    world.host.systemctl("daemon-reload")
    world.host.systemctl("restart", scene.APP_UNIT)
    world.vm.join(world.bundle, "workload.withdraw_wait=1s", "proxy.shutdown_drain=3s")
    world.vm.ready()
    poll.until("reviews reaches the VM", lambda: by_mesh(world, "/first").status == 200, 20)


def test_a_restart_or_stop_of_the_service_tells_nobody_and_leaves_the_proxy_alone(world):
    pid = world.vm.proxy_pid()
    # For longer than a restart takes: who is gone for longer than the plane's grace is taken off the table.
    world.plane.change(lambda data: data["registration"].update(grace="10s"))
    with Watch(world) as watch:
        world.vm.restart_agent()
        world.vm.ready()
        world.vm.stop_agent()
        assert by_mesh(world, "/without-hawserd").status == 200
        world.host.systemctl("start", "hawser.service")
        world.vm.ready()
    assert watch.healthy == [True] and not watch.refused_at, watch.healthy
    assert world.vm.proxy_pid() == pid
    assert "the machine shuts down" not in world.host.journal("hawser.service")


def test_at_a_reboot_callers_hear_of_it_first_and_a_request_completes(world):
    answers: list[services.Answer] = []
    asking = threading.Thread(target=lambda: answers.append(by_mesh(world, "/slow")))
    with Watch(world) as watch:
        poll.until("the table is seen", lambda: watch.healthy == [True], 5)
        asking.start()
        log = world.host.log_dir / "vm-app.log"
        poll.until("the program is at it", lambda: "at /slow" in log.read_text(), 10)
        begin = time.monotonic()
        world.host.reboot()
        asking.join(20)
    assert [answer.status for answer in answers] == [200], answers
    assert watch.unhealthy_at and watch.refused_at, (watch.unhealthy_at, watch.refused_at)
    assert "withdrawn" in watch.messages, watch.messages
    told, refused = watch.unhealthy_at - begin, watch.refused_at - begin
    assert told < refused, f"told after {told:.2f} s, refused after {refused:.2f} s"
    took = seconds_of_the_end(world)
    print(f"told after {told:.2f} s, refused after {refused:.2f} s; hawserd took {took:.2f} s")
    assert took <= BOUND, f"hawserd held the shutdown up for {took:.2f} s"


def test_it_comes_back_by_itself(world):
    world.vm.ready()
    poll.until("in the table, and called", lambda: row(world)["healthy"] and by_mesh(world, "/back").status == 200, 20)
    assert world.vm.status()["drain"] == {"stage": "none"}
