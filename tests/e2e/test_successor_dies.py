# SPDX-License-Identifier: Apache-2.0
"""The new proxy of a hand-over dies, wherever it has got to: the old one serves on, it's told what that means, and
another hand-over works afterwards."""

from __future__ import annotations

import json
import time
import typing

import pytest

from lab import generations, poll, services, steps
from lab.replacing import (
    HELD,
    QUICK,
    WAITS,
    begin_restart,
    begin_window,
    envoys,
    fake,
    marked,
    proxy,
    restarted,
    set_queues_move,
    signal,
    started,
    successor,
    wait_until_alone,
    without_listeners,
)

pytestmark = pytest.mark.incremental

SETTINGS = (*QUICK, "proxy.start_timeout=20s")
SIGNALS = ("KILL", "SEGV")
TOLD_WITHIN = 15.0  # seconds
REFUSED = 5.0  # seconds that a planned cold start may take, on a busy machine


def until_ok(world) -> None:
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 10)


def admin_state(world, generation: str) -> str:
    socket = f"/run/hawser/proxy/{generation}.admin.sock"
    asked = world.host.run(["curl", "-sS", "--max-time", "2", "--unix-socket", socket, "http://envoy/server_info"], check=False)
    return json.loads(asked.stdout)["state"] if asked.returncode == 0 else ""


def said(world, log: str) -> str:
    return (world.host.log_dir / log).read_text(errors="replace")


def can_be_replaced(world, kind: str) -> None:
    done = restarted(world, "--hand-over", kind)
    assert done["new"]["pid"] == proxy(world)["pid"]
    wait_until_alone(world, done["new"]["pid"])
    until_ok(world)


def test_joins(world):
    set_queues_move(world, True)
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


@pytest.mark.parametrize("number", SIGNALS)
def test_when_it_has_attached_the_broker_takes_its_mark_out(world, number):
    """Before it has asked its parent for anything: all that it leaves is Envoy's mark, which refuses any successor."""
    before = proxy(world)
    log = f"attached-{number}.log"
    with world.traffic() as traffic, fake(world, HELD):
        traffic.more(5)
        asked = begin_restart(world, log, "--hand-over", "hot-restart")
        new = started(world, before)
        poll.until("it has attached", lambda: marked(world, before["generation"]), 15)
        signal(world, new, number)
        assert asked.wait(TOLD_WITHIN) != 0
        assert not marked(world, before["generation"])
        traffic.more(5)
        traffic.finish()
    assert "HWS-PX-024" in said(world, log) and f"SIG{number}" in said(world, log), said(world, log)
    assert "the mark that was left is taken out" in said(world, log), said(world, log)
    assert envoys(world) == {before["pid"]}
    until_ok(world)
    can_be_replaced(world, "hot-restart")


def held_at(world, reached: str, generation: str) -> typing.ContextManager[None]:
    """Its listeners' sockets it has from its parent; those of the control plane come only in INITIALIZING."""
    return fake(world, WAITS) if reached == "PRE_INITIALIZING" else without_listeners(world, generation)


def kill_at(world, reached: str, number: str, kind: str, log: str) -> None:
    """When it says that it has got so far; the command that asked for it then fails in time."""
    before = proxy(world)
    asked = begin_restart(world, log, "--hand-over", kind)
    new = started(world, before)
    poll.until(f"it is {reached}", lambda: admin_state(world, successor(before, kind)) == reached, 15)
    signal(world, new, number)
    assert asked.wait(TOLD_WITHIN) != 0
    assert "HWS-PX-024" in said(world, log) and f"SIG{number}" in said(world, log), said(world, log)


MOMENTS = ("PRE_INITIALIZING", "INITIALIZING")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("reached", MOMENTS)
def test_when_it_has_taken_over_the_admin_interface_the_old_one_serves_on(world, reached, number):
    before, log = proxy(world), f"mute-{reached}-{number}.log"
    with world.traffic() as traffic, held_at(world, reached, successor(before, "hot-restart")):
        traffic.more(5)
        kill_at(world, reached, number, "hot-restart", log)
        traffic.more(5)
        traffic.finish()
    assert "without its admin interface" in said(world, log), said(world, log)
    poll.until("it is told", lambda: world.vm.item("proxy")["id"] == "HWS-PX-025", TOLD_WITHIN)
    assert envoys(world) == {before["pid"]} and proxy(world)["pid"] == before["pid"]
    cold = restarted(world, "--hand-over", "planned-cold")
    assert cold["refused_ms"] <= 1000 * REFUSED, cold
    until_ok(world)
    poll.until("requests pass", lambda: steps._ok(world, world.reviews.POOLED), 10)
    wait_until_alone(world, cold["new"]["pid"])
    can_be_replaced(world, "hot-restart")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("reached", MOMENTS)
def test_side_by_side_it_shares_nothing(world, reached, number):
    before = proxy(world)
    with world.traffic() as traffic, held_at(world, reached, successor(before, "side-by-side")):
        traffic.more(5)
        kill_at(world, reached, number, "side-by-side", f"side-{reached}-{number}.log")
        traffic.more(5)
        traffic.finish()
    assert envoys(world) == {before["pid"]}
    until_ok(world)


@pytest.mark.parametrize("number", SIGNALS)
def test_in_the_window_the_old_one_takes_everything_again(world, number):
    """Requests that the new one had accepted died with it, and no other."""
    before, log = proxy(world), f"window-{number}.log"
    asked, new = begin_window(world, log, "--hand-over", "side-by-side")
    signal(world, new, number)
    with world.traffic() as traffic:
        assert asked.wait(TOLD_WITHIN) != 0
        traffic.more(10)
        traffic.finish()
    assert "HWS-PX-032" in said(world, log) and f"SIG{number}" in said(world, log), said(world, log)
    assert envoys(world) == {before["pid"]} and proxy(world)["pid"] == before["pid"]
    until_ok(world)
    can_be_replaced(world, "side-by-side")


@pytest.mark.parametrize("kind", ["hot-restart", "side-by-side"])
def test_when_it_has_just_taken_over(world, kind):
    """By hot restart the old one accepts nothing any more: a cold start of both, once. Side by side it still does."""
    before = proxy(world)
    starts = services.metric(world.host, "hawser_proxy_starts_total")
    done = restarted(world, "--hand-over", kind)
    signal(world, done["new"]["pid"], "KILL")
    killed = time.monotonic()
    generations.wait_another(world, done["new"]["pid"], 20)
    poll.until("requests pass", lambda: steps._ok(world, world.reviews.POOLED), 10)
    print(f"{kind}: served again after {time.monotonic() - killed:.1f} s, {before['generation']} → {proxy(world)['generation']}")
    now = proxy(world)
    wait_until_alone(world, now["pid"])
    until_ok(world)
    assert services.metric(world.host, "hawser_proxy_starts_total") <= starts + 2
    can_be_replaced(world, kind)


def test_joins_with_cold_starts_allowed(world):
    world.vm.leave()
    world.vm.join(world.bundle, *SETTINGS, "proxy.auto_cold=true")
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


def test_a_mute_one_is_put_right_without_anybody(world):
    before = proxy(world)
    with fake(world, WAITS):  # what has failed is current all the time, and isn't what the cold start takes
        kill_at(world, "PRE_INITIALIZING", "KILL", "hot-restart", "heals.log")
        generations.wait_another(world, before["pid"], 20)
        until_ok(world)
    assert proxy(world)["binary_sha256"] == before["binary_sha256"]
    assert services.metric(world.host, "hawser_proxy_refused_seconds") <= REFUSED
    can_be_replaced(world, "hot-restart")
