# SPDX-License-Identifier: Apache-2.0
"""hawserd is killed at each step of each hand-over, and in each phase: one proxy serves afterwards, there never were more
than two, nothing is left of another, and where nobody has to be refused nobody was."""

from __future__ import annotations

import typing

import pytest

from lab import failpoints, generations, poll, steps
from lab.replacing import (
    ENDS,
    QUICK,
    SLEEPS,
    STORE,
    begin_restart,
    begin_window,
    envoys,
    fake,
    mark,
    proxy,
    restart,
    restarted,
    set_queues_move,
    signal,
    successor,
    wait_for_the_only_one,
    wait_until_alone,
)

pytestmark = [
    pytest.mark.incremental,
    failpoints.needed,
]

# What a hand-over passes when nothing fails; a test sees to it that these are all.
STEPS = {
    "hot-restart": "PROVING INSPECTING VALIDATING SNAPSHOT HOLDING LAUNCHING WARMING VETTING CHECKING DONE".split(),
    "side-by-side": "PROVING INSPECTING VALIDATING SNAPSHOT LAUNCHING WARMING CHECKING CANARY DONE".split(),
    "planned-cold": "PROVING INSPECTING VALIDATING SNAPSHOT DRAINING ENDING_OLD LAUNCHING WARMING CHECKING DONE".split(),
}
SETTINGS = (*QUICK, "proxy.start_timeout=10s")
NOBODY_LISTENS = {"LAUNCHING", "WARMING", "CHECKING", "DONE"}  # in a planned cold start, for a moment
CASES = [(kind, step) for kind, passed in STEPS.items() for step in passed]


@pytest.fixture(scope="module")
def watcher(world):
    with generations.Watcher(world, renew_every=0) as made:
        yield made


@pytest.fixture(scope="module")
def left(world):
    """What one proxy has."""
    return generations.leftovers(world)


def start_anew(world, env: dict[str, str] | None = None) -> None:
    world.vm.stop_agent()
    world.vm.start_agent(env=env)
    world.vm.wait("REGISTERED", timeout=40)


def is_whole(world, watcher, left) -> dict[str, typing.Any]:
    """One proxy, LIVE and known, and nothing of another."""
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=40)
    now = wait_for_the_only_one(world, 30)
    wait_until_alone(world, now["pid"])
    poll.until("nothing is left", lambda: generations.leftovers(world) == left, 10)
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 20)
    assert proxy(world)["pid"] == now["pid"]
    assert watcher.most_proxies <= 2, f"{watcher.most_proxies} proxies at once"
    return now


def was_taken(before: dict[str, typing.Any], now: dict[str, typing.Any], kind: str) -> bool:
    """The old one, or the new one that was on its way; no third."""
    return now["generation"] == (before["generation"] if now["pid"] == before["pid"] else successor(before, kind))


def hand_over_dies(world, kind: str, step: str) -> None:
    """With `step` armed already."""
    asked = begin_restart(world, f"{kind}-{step}.log", "--hand-over", kind)
    failpoints.dies(world.vm.agent, step, 30)
    assert asked.wait(10) != 0, "a hand-over that was cut off was said to be done"


def test_joins(world, watcher):
    set_queues_move(world, True)
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


@pytest.mark.parametrize("kind", STEPS)
def test_the_steps_are_known(world, left, kind):
    start_anew(world, failpoints.TELL)
    failpoints.forget(world.vm, "hawserd.log")
    done = restarted(world, "--hand-over", kind)
    wait_until_alone(world, done["new"]["pid"])
    told = failpoints.told(world.vm, "hawserd.log")
    assert [name.partition("/")[2] for name in told if name.startswith("proxy.hand_over/")] == STEPS[kind], told


@pytest.mark.parametrize("kind, step", CASES, ids=["-".join(case) for case in CASES])
def test_dies_at_a_step(world, watcher, left, kind, step):
    start_anew(world, failpoints.at(f"proxy.hand_over/{step}"))
    before = proxy(world)
    with world.traffic() as traffic:
        traffic.more(5)
        hand_over_dies(world, kind, step)
        traffic.more(5)
        now = is_whole(world, watcher, left)
        traffic.more(5)
        if kind == "planned-cold" and step in NOBODY_LISTENS:
            poll.until("requests pass", lambda: steps._ok(world, world.reviews.POOLED), 10)
            return
        traffic.finish()
    assert was_taken(before, now, kind), f"{before} → {now}"


FAILS = {"KILLING": SLEEPS, "REAPING": ENDS, "AFTERMATH": ENDS}
CASES_THAT_FAIL = [(kind, step) for kind in STEPS for step in FAILS if step != "AFTERMATH" or kind == "hot-restart"]


@pytest.mark.parametrize("kind, step", CASES_THAT_FAIL, ids=["-".join(case) for case in CASES_THAT_FAIL])
def test_dies_at_a_step_of_one_that_fails(world, watcher, left, kind, step):
    """The old one serves on. In a planned cold start it's gone: there another one is started."""
    if step == "AFTERMATH" and kind != "hot-restart":
        pytest.skip("nothing is shared that could have suffered")
    start_anew(world, failpoints.at(f"proxy.hand_over/{step}"))
    before = proxy(world)
    with world.traffic() as traffic:
        traffic.more(5)
        with fake(world, FAILS[step]):
            hand_over_dies(world, kind, step)
        now = is_whole(world, watcher, left)
        if kind == "planned-cold":
            poll.until("requests pass", lambda: steps._ok(world, world.reviews.POOLED), 10)
            return
        traffic.more(5)
        traffic.finish()
    assert now["pid"] == before["pid"], f"{before} → {now}"


def test_dies_before_a_mark_is_taken_out(world, watcher, left):
    start_anew(world, failpoints.at("proxy.hand_over/REPAIRING"))
    before = proxy(world)
    mark(world, before["generation"])
    with world.traffic() as traffic:
        traffic.more(5)
        hand_over_dies(world, "hot-restart", "REPAIRING")
        assert is_whole(world, watcher, left)["pid"] == before["pid"]
        done = restarted(world, "--hand-over", "hot-restart")
        traffic.more(5)
        traffic.finish()
    assert [gate["reason"] for gate in done["gates"] if gate["name"] == "mark"] == ["a left-over mark was taken out"], done
    wait_until_alone(world, done["new"]["pid"])


def test_dies_while_the_new_one_is_called_off(world, watcher, left):
    start_anew(world, failpoints.at("proxy.hand_over/LEAVING"))
    before = proxy(world)
    with world.traffic() as traffic:
        traffic.more(5)
        begin_window(world, "called-off.log", "--hand-over", "side-by-side")
        restart(world, "--call-off", check=False)
        failpoints.dies(world.vm.agent, "LEAVING")
        traffic.more(5)
        now = is_whole(world, watcher, left)
        traffic.more(5)
        traffic.finish()
    assert was_taken(before, now, "side-by-side"), f"{before} → {now}"


@pytest.mark.parametrize("phase", ["OBSERVING", "VALIDATING", "HANDING_OVER", "WAITING"])
def test_dies_in_a_phase(world, watcher, left, phase):
    """Those that test_proxy_failures.py hasn't."""
    world.vm.stop_agent()
    pid = generations.envoys(world)
    start = world.vm.spawn_agent if phase == "OBSERVING" else world.vm.start_agent
    start(env=failpoints.at(f"proxy.phase/{phase}"))
    if phase != "OBSERVING":
        world.vm.wait("REGISTERED", timeout=40)
    if phase == "HANDING_OVER":
        begin_restart(world, "phase.log")
    if phase in ("VALIDATING", "WAITING"):
        signal(world, proxy(world)["pid"], "KILL")
    failpoints.dies(world.vm.agent, phase, 30)
    is_whole(world, watcher, left)
    assert phase in ("VALIDATING", "WAITING") or generations.envoys(world) == pid
    poll.until("requests pass", lambda: steps._ok(world, world.reviews.POOLED), 10)


@pytest.mark.parametrize("phase", ["DRAINING", "ENDING", "STOPPED"])
def test_dies_while_the_host_leaves(world, phase):
    start_anew(world, failpoints.at(f"proxy.phase/{phase}"))
    left = world.vm.cli("leave")  # the broker does what's left of it
    assert "hawserd isn't running" in left.stdout + left.stderr, left
    failpoints.dies(world.vm.agent, phase)
    world.vm.start_agent()
    assert world.vm.status()["state"] == "not_joined"
    assert not envoys(world) and not any(generations.leftovers(world)[folder] for folder in generations.FOLDERS)
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")


def test_leaves_without_a_trace(world):
    set_queues_move(world, False)
    world.host.run(["rm", "-f", f"{STORE}/last-good"])  # what a store remembers outlives a leave
    steps.leave(world)
