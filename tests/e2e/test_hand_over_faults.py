# SPDX-License-Identifier: Apache-2.0
"""A hand-over on a host that has no space, no right time, a name taken by others, or no binary any more: it comes about or
it doesn't, and says so; the old proxy serves on, and the next hand-over works."""

from __future__ import annotations

import contextlib
import os
import time
import typing

import pytest

from lab import failpoints, faults, poll, steps
from lab.faults import clocked, jump, needs_clock, remounted
from lab.replacing import (
    QUICK,
    STORE,
    begin_restart,
    envoys,
    marked,
    proxy,
    restart,
    restarted,
    set_queues_move,
    signal,
    successor,
    wait_until_alone,
)

pytestmark = pytest.mark.incremental
STATE = "/var/lib/hawser"
KINDS = ("hot-restart", "side-by-side", "planned-cold")
HELD_MS = 4000
SETTINGS = (*QUICK, "proxy.start_timeout=20s")


def start_anew(world, **how: typing.Any) -> None:
    world.vm.stop_agent()
    world.vm.start_agent(**how)
    world.vm.wait("REGISTERED", timeout=40)


def proxy_item(world) -> dict[str, typing.Any]:
    return next(item for item in world.vm.status()["items"] if item["name"] == "proxy")


@contextlib.contextmanager
def serves_on(world, well: bool = True) -> typing.Iterator[None]:
    """No request fails, and the proxy is the same afterwards."""
    before = proxy(world)
    with world.traffic() as traffic:
        traffic.more(5)
        yield
        traffic.more(10)
        traffic.finish()
    assert envoys(world) == {before["pid"]} and proxy(world)["pid"] == before["pid"]
    if well:
        poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 10)
        assert not marked(world, before["generation"]), "another hand-over would be refused"


@contextlib.contextmanager
def served(world) -> typing.Iterator[None]:
    """A proxy serves afterwards, though maybe not all the time."""
    yield
    poll.until("a proxy is LIVE", lambda: proxy(world)["state"] == "LIVE", 20)
    poll.until("requests pass", lambda: steps._ok(world, world.reviews.POOLED), 10)
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 20)
    wait_until_alone(world, proxy(world)["pid"])


def can_be_replaced(world, kind: str) -> None:
    done = restarted(world, "--hand-over", kind)
    wait_until_alone(world, done["new"]["pid"])
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 10)


def socket_of_next(world, kind: str) -> str:
    family, epoch = (int(part) for part in successor(proxy(world), kind)[1:].split("e"))
    return f"envoy_domain_socket_parent_{(4100 + family) * 10 + epoch % 3}"


def test_joins(world):
    world.plane.faults(csr_ttl=30 * 24 * 3600.0)  # a day more is no end of it
    set_queues_move(world, True)
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


# -- space ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_refuses_it_before_anything_is_done(world, kind):
    with serves_on(world), remounted(world.host, STATE, "full", "size=90%"):
        refused = restart(world, "--hand-over", kind, check=False)
        assert "No space left" in refused.stderr, refused


@failpoints.needed
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fills_up_before_the_new_one_starts(world, kind):
    """In a planned cold start the old one has gone by then, and another one comes as soon as there's space."""
    failpoints.forget(world.vm, "hawserd.log")
    start_anew(world, env=failpoints.hold("proxy.hand_over/LAUNCHING", HELD_MS))
    with served(world) if kind == "planned-cold" else serves_on(world):
        asked = begin_restart(world, "fills-up.log", "--hand-over", kind)
        failpoints.held(world.vm, "proxy.hand_over/LAUNCHING")
        with remounted(world.host, STATE, "full", "size=90%"):
            assert asked.wait(40) != 0
            if kind == "planned-cold":
                poll.until("it is told", lambda: "No space left" in proxy_item(world)["detail"], 10)
    assert "No space left" in (world.host.log_dir / "fills-up.log").read_text()


@pytest.mark.parametrize("kind", ["hot-restart", "side-by-side"])
def test_no_file_can_be_made_in_run(world, kind):
    """Its admin interface is a file there. By hot restart it has asked for the old one's by then."""
    used = world.host.call(os.statvfs, "/run")
    options = f"nr_inodes={used.f_files - used.f_ffree}"
    with serves_on(world, well=kind == "side-by-side"):
        with remounted(world.host, "/run", options, "nr_inodes=100000"):
            failed = restart(world, "--hand-over", kind, check=False)
        assert "HWS-PX-024" in failed.stderr, failed
    if kind == "hot-restart":
        assert proxy_item(world)["id"] == "HWS-PX-025"
        can_be_replaced(world, "planned-cold")


def test_no_room_in_shared_memory_side_by_side(world):
    with serves_on(world), remounted(world.host, "/dev/shm", "full", "size=50%"):
        failed = restart(world, "--hand-over", "side-by-side", check=False)
        assert "HWS-PX-024" in failed.stderr, failed


def test_no_room_in_shared_memory_by_hot_restart(world):
    """What both share is there already."""
    with remounted(world.host, "/dev/shm", "full", "size=50%"), world.traffic() as traffic:
        traffic.more(5)
        can_be_replaced(world, "hot-restart")
        traffic.more(5)
        traffic.finish()


def test_no_room_in_shared_memory_for_a_planned_cold_start(world):
    """The old one's place is free when it has gone."""
    with remounted(world.host, "/dev/shm", "full", "size=50%"), served(world):
        restart(world, "--hand-over", "planned-cold", check=False)


# -- what others have -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hot-restart", "side-by-side"])
def test_a_foreign_process_has_the_next_ones_name(world, kind):
    with serves_on(world), faults.squatter(world.host, socket_of_next(world, kind)) as has_it:
        poll.until("the squatter has the name", has_it, 5)
        failed = restart(world, "--hand-over", kind, check=False)
        assert "HWS-PX-024" in failed.stderr, failed


def test_a_foreign_process_has_the_name_for_a_planned_cold_start(world):
    """The old one has gone by then; one of the first family, whose name is free, is started."""
    if proxy(world)["generation"].startswith("f2"):
        can_be_replaced(world, "side-by-side")
    with faults.squatter(world.host, socket_of_next(world, "planned-cold")) as has_it, served(world):
        poll.until("the squatter has the name", has_it, 5)
        restart(world, "--hand-over", "planned-cold", check=False)


@contextlib.contextmanager
def no_binary(world) -> typing.Iterator[None]:
    digest = world.host.run(["readlink", f"{STORE}/current"]).stdout.strip()
    world.host.run(["mv", f"{STORE}/{digest}", f"{STORE}/elsewhere"])
    try:
        yield
    finally:
        world.host.run(["mv", f"{STORE}/elsewhere", f"{STORE}/{digest}"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_binary_is_missing_before_a_hand_over(world, kind):
    with serves_on(world), no_binary(world):
        refused = restart(world, "--hand-over", kind, check=False)
        assert "HWS-BR-030" in refused.stderr, refused


@failpoints.needed
@pytest.mark.parametrize("kind", ["hot-restart", "side-by-side"])
def test_the_binary_goes_missing_before_the_new_one_starts(world, kind):
    failpoints.forget(world.vm, "hawserd.log")
    start_anew(world, env=failpoints.hold("proxy.hand_over/LAUNCHING", HELD_MS))
    with serves_on(world):
        asked = begin_restart(world, "goes-missing.log", "--hand-over", kind)
        failpoints.held(world.vm, "proxy.hand_over/LAUNCHING")
        with no_binary(world):
            assert asked.wait(40) != 0
    assert "HWS-BR-030" in (world.host.log_dir / "goes-missing.log").read_text()


def test_the_binary_is_missing_when_the_proxy_crashes(world):
    """It's told, and another one is started as soon as there is something to start."""
    with no_binary(world):
        signal(world, proxy(world)["pid"], "KILL")
        poll.until("it is told", lambda: proxy_item(world)["id"] == "HWS-BR-030", 10)
        assert not envoys(world)
    begin = time.monotonic()
    poll.until("requests pass", lambda: steps._ok(world, world.reviews.POOLED), 20)
    print(f"served {time.monotonic() - begin:.1f} s after the binary was back")
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 20)


# -- the clock --------------------------------------------------------------------------------------------------------


@needs_clock
@failpoints.needed
@pytest.mark.parametrize("offset", ["+1h", "-1h", "+1d", "-1d"])
@pytest.mark.parametrize("kind", ["hot-restart", "side-by-side"])
def test_the_clock_jumps_in_the_middle(world, kind, offset):
    """hawserd's. All that it waits for is bounded by another clock."""
    step, log = "proxy.hand_over/WARMING", f"clock-{kind}{offset}.log"
    failpoints.forget(world.vm, "hawserd.log")
    faults.set_clock(world.host, "+0")
    start_anew(world, env=failpoints.hold(step, HELD_MS), **clocked())
    before = proxy(world)
    with world.traffic() as traffic:
        traffic.more(5)
        asked = begin_restart(world, log, "--hand-over", kind)
        failpoints.held(world.vm, step)
        jump(world.host, offset)
        ended = asked.wait(40)
        traffic.more(5)
        wait_until_alone(world, proxy(world)["pid"])
        traffic.more(5)
        traffic.finish()
    assert ended == 0, (world.host.log_dir / log).read_text()
    assert proxy(world)["generation"] == successor(before, kind)
    faults.set_clock(world.host, "+0")
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 30, every=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_after_all_that_one_takes_over_from_another(world, kind):
    start_anew(world)
    with world.traffic() as traffic:
        can_be_replaced(world, kind)
        traffic.more(5)
        if kind != "planned-cold":
            traffic.finish()


def test_leaves_without_a_trace(world):
    set_queues_move(world, False)
    world.host.run(["rm", "-f", f"{STORE}/last-good"])  # what a store remembers outlives a leave
    steps.leave(world)
