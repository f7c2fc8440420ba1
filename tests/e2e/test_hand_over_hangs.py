# SPDX-License-Identifier: Apache-2.0
"""The old or the new proxy hangs in the middle of a hand-over: nobody who calls is left without an answer for long, one
proxy serves in the end, and it can be replaced."""

from __future__ import annotations

import os
import typing

import pytest

from lab import facts, failpoints, generations, poll, services, steps
from lab.replacing import (
    WAITS,
    begin_restart,
    begin_window,
    envoys,
    fake,
    proxy,
    restarted,
    set_queues_move,
    started,
    stopped,
    wait_for_the_only_one,
    wait_until_alone,
)

pytestmark = [
    pytest.mark.incremental,
    pytest.mark.skipif(
        bool(os.environ.get("HAWSER_BIN")) and not failpoints.compiled_in(), reason="a build without fail-points"
    ),
]

OUTAGE = 35.0  # seconds in which new connections may fail
SETTINGS = ("proxy.drain=1s", "proxy.start_timeout=5s", "proxy.canary=3s", "proxy.wedge_after=3s")
HELD_MS = 1500
SOON = 20  # seconds; time-outs of questions are half of what it takes


class Callers:
    """New connections of the VM's programs."""

    def __init__(self, world) -> None:
        self._host = world.host
        self._log = world.host.log_dir / "callers.log"
        self._log.unlink(missing_ok=True)
        argv = services.program("callers", f"http://{facts.REVIEWS_HOST}/callers")
        self._process = self._host.popen(argv, log=self._log.name, **services.AS_APP)

    def seen(self) -> list[tuple[float, bool]]:
        """When each began, and whether it was answered."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return sorted((float(line.split()[0]), line.endswith(" 1")) for line in lines if line.endswith((" 0", " 1")))

    def answered(self, count: int, timeout: float = 60) -> None:
        """The next so many, none of them in vain."""
        before = len(self.seen())

        def enough() -> bool:
            return len(self.seen()) >= before + count and all(good for _, good in self.seen()[-count:])

        poll.until(f"{count} callers are answered one after the other", enough, timeout, every=0.2)

    def in_vain(self) -> float:
        """Seconds from the first that wasn't answered to the last."""
        failed = [at for at, good in self.seen() if not good]
        return failed[-1] - failed[0] if failed else 0.0

    def __enter__(self) -> Callers:
        self.answered(20)
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self._host.stop(self._process)


def start_anew(world, **how: typing.Any) -> None:
    world.vm.stop_agent()
    world.vm.start_agent(**how)
    world.vm.wait("REGISTERED", timeout=40)


def said(world, log: str) -> str:
    return (world.host.log_dir / log).read_text(errors="replace")


def is_well(world) -> dict[str, typing.Any]:
    wait_for_the_only_one(world, 60)
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 20)
    poll.until("requests pass", lambda: steps._ok(world, world.reviews.POOLED), 10)
    return proxy(world)


def can_be_replaced(world) -> None:
    """Cold, because connections that callers keep may hold the old one up for a minute otherwise."""
    done = restarted(world, "--hand-over", "planned-cold")
    wait_until_alone(world, done["new"]["pid"])


def test_joins(world):
    set_queues_move(world, True)
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


@pytest.mark.parametrize("kind", ["side-by-side", "hot-restart"])
def test_the_new_one_hangs_before_it_is_live(world, kind):
    before, log = proxy(world), f"new-{kind}.log"
    with Callers(world) as callers, fake(world, WAITS):
        asked = begin_restart(world, log, "--hand-over", kind)
        with stopped(world, started(world, before)):
            assert asked.wait(20) != 0
        callers.answered(20)
        assert callers.in_vain() == 0
    assert "HWS-PX-024" in said(world, log), said(world, log)
    assert envoys(world) == {before["pid"]} and proxy(world)["pid"] == before["pid"]
    if world.vm.status()["state"] != "ok":  # it had taken the admin interface
        assert kind == "hot-restart"
        restarted(world, "--hand-over", "planned-cold")
    is_well(world)


def test_the_new_one_hangs_in_the_window(world, record_property):
    """It has a share of the new connections by then."""
    before, log = proxy(world), "window.log"
    with Callers(world) as callers:
        asked, new = begin_window(world, log, "--hand-over", "side-by-side")
        with stopped(world, new):
            assert asked.wait(60) != 0
            callers.answered(60)
        tell(record_property, callers)
    assert "HWS-PX-032" in said(world, log), said(world, log)
    assert is_well(world)["pid"] == before["pid"]
    can_be_replaced(world)


def tell(record_property, callers: Callers) -> None:
    print(f"callers were in vain for {callers.in_vain():.1f} s")
    record_property("outage_s", round(callers.in_vain(), 1))
    assert 0 < callers.in_vain() <= OUTAGE


def test_the_old_one_hangs_in_the_window(world, record_property):
    """It neither drains nor closes what it listens on, so it can't be given the time that open connections get."""
    before = proxy(world)
    with Callers(world) as callers:
        asked, new = begin_window(world, "old-window.log", "--hand-over", "side-by-side")
        with stopped(world, before["pid"]):
            assert asked.wait(60) == 0
            callers.answered(60)
        tell(record_property, callers)
    assert is_well(world)["pid"] == new
    can_be_replaced(world)


def test_the_old_one_hangs_before_the_new_one_is_live(world, record_property):
    """By hot restart the new one waits for its answers: neither serves, and a cold start follows, long before the new
    one's time is over."""
    step = "proxy.hand_over/LAUNCHING"
    failpoints.forget(world.vm, "hawserd.log")
    world.host.write("/etc/hawser/conf.d/60-slow.yaml", f"proxy: {{start_timeout: {2 * SOON}s}}\n")
    start_anew(world, env=failpoints.hold(step, HELD_MS))
    before, log = proxy(world), "old-hot.log"
    with Callers(world) as callers:
        asked = begin_restart(world, log, "--hand-over", "hot-restart")
        failpoints.held(world.vm, step)
        with stopped(world, before["pid"]):
            assert asked.wait(40) != 0
            callers.answered(60)
        tell(record_property, callers)
        assert callers.in_vain() <= SOON
    assert "HWS-PX-040" in said(world, log), said(world, log)
    assert is_well(world)["pid"] != before["pid"]
    world.host.run(["rm", "/etc/hawser/conf.d/60-slow.yaml"])
    start_anew(world)
    can_be_replaced(world)


def test_the_old_one_hangs_while_it_drains(world, record_property):
    """By hot restart: the new one's workers serve; its main thread waits for the old one until both are replaced."""
    world.host.write("/etc/hawser/conf.d/60-drains.yaml", "proxy: {parent_shutdown: 3s}\n")
    start_anew(world)
    before = proxy(world)
    with Callers(world) as callers:
        done = restarted(world, "--hand-over", "hot-restart")
        with stopped(world, before["pid"]):
            generations.wait_another(world, done["new"]["pid"], 60)
            callers.answered(60)
        tell(record_property, callers)
    is_well(world)
    can_be_replaced(world)


def test_leaves(world):
    world.vm.leave()
    assert world.vm.status()["state"] == "not_joined" and not envoys(world)
