# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A broker that is killed at each step of changing rules leaves the old ones or the new ones, and finds its way back."""

from __future__ import annotations

import pytest

from lab import failpoints, facts, poll
from lab.broker_scene import PEER, PEER6, nothing_left, scene  # noqa: F401 (fixtures)
from lab.broker_wire import message

pytestmark = pytest.mark.skipif(not failpoints.compiled_in(), reason="needs HAWSER_FAILPOINTS")
POLICIES = {
    "open": message("FailurePolicy", inbound_closed=False, outbound_closed=False),
    "closed": message("FailurePolicy", inbound_closed=True, outbound_closed=True),
}
# Of the second plan; the first has passed each of them once.
PLAN_STEPS = ("plan.recorded", "plan.applied", "plan.in_force", "rename/plan.pb", "folder.synced/netfilter")
NEW = {"outbound_exclude": [message("PortRange", first=80, last=80)]}


def start(scene, step: str, passage: int) -> None:
    scene.kill_broker()
    name = step if "/" in step else f"{step}/rules"
    scene.hawser.start_broker(env=failpoints.at(name, passage))


def apply(scene, policy: str, confirm: bool = True, **changes):
    fields = {name: changes.pop(name) for name in ("confirm_seconds", "revert") if name in changes}
    done = scene.ask("plan", intent=scene.intent(**changes), on_failure=POLICIES[policy], **fields).plan
    if confirm:
        scene.ask("confirm", digest=done.digest)
    return done


def dies(scene, step: str, job) -> None:
    with pytest.raises((AssertionError, OSError)):
        job()
    failpoints.dies(scene.hawser.broker, step)


def now(scene) -> tuple[str, ...]:
    """IPv4 and IPv6 are one transaction, so they never differ."""
    first, second = scene.reached((PEER, 80), (PEER6, 80))
    assert first == second
    return first, scene.reached((facts.VM_IP, 80), host=scene.peer)[0]


OLD_RULES, NEW_RULES, NO_RULES = ("15001", "15006"), ("80", "15006"), ("80", "80")


def comes_back(scene, policy: str) -> None:
    scene.hawser.start_broker()
    if policy == "closed":
        assert scene.observe().active and now(scene) in (OLD_RULES, NEW_RULES)
    apply(scene, policy)
    assert now(scene) == OLD_RULES
    assert all(c.passed for c in scene.ask("verify").verify.checks)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("step", PLAN_STEPS)
def test_it_dies_between_two_plans(scene, step, policy):
    passage = 3 if "/" in step else 2  # the first plan is recorded, and its confirmation
    start(scene, step, passage)
    apply(scene, policy)
    assert now(scene) == OLD_RULES
    dies(scene, step, lambda: (apply(scene, policy, confirm=False, **NEW), scene.ask("confirm", digest="")))
    seen = now(scene)
    assert seen in ((OLD_RULES, NEW_RULES) if policy == "closed" else (NO_RULES,)), seen
    comes_back(scene, policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_it_dies_while_it_records_a_confirmation(scene, policy):
    start(scene, "confirm.recorded", 1)
    digest = apply(scene, policy, confirm=False).digest
    dies(scene, "confirm.recorded", lambda: scene.ask("confirm", digest=digest))
    assert now(scene) == (OLD_RULES if policy == "closed" else NO_RULES)
    scene.hawser.start_broker()
    assert scene.observe().stored_digest == digest, "it was confirmed"
    assert scene.observe().confirmed == (policy == "closed")


@pytest.mark.parametrize("policy", POLICIES)
def test_it_dies_while_it_withdraws(scene, policy):
    start(scene, "withdraw.removed", 1)
    apply(scene, policy, confirm=False, confirm_seconds=1)
    failpoints.dies(scene.hawser.broker, "withdraw.removed")
    assert now(scene) == NO_RULES
    scene.hawser.start_broker()
    assert not scene.observe().active and now(scene) == NO_RULES


def test_it_dies_while_it_goes_back_and_its_successor_does(scene):
    start(scene, "plan.recorded", 3)
    before = apply(scene, "closed").digest
    apply(scene, "closed", confirm=False, confirm_seconds=1, revert=True, **NEW)
    failpoints.dies(scene.hawser.broker, "plan.recorded")
    assert now(scene) == NEW_RULES
    scene.hawser.start_broker()
    # it listens before it has gone back, and answers after that
    assert scene.observe().digest == before and scene.observe().confirmed
    assert now(scene) == OLD_RULES


@pytest.mark.parametrize("step", ["heal.begun", "heal.applied"])
@pytest.mark.parametrize("policy", POLICIES)
def test_it_dies_while_it_heals(scene, step, policy):
    start(scene, step, 1)
    apply(scene, policy)
    scene.vm.run(["nft", "delete", "table", "inet", "hawser_anchor"])
    failpoints.dies(scene.hawser.broker, step)
    assert now(scene) == (OLD_RULES if policy == "closed" else NO_RULES)
    comes_back(scene, policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_it_dies_while_it_removes(scene, policy):
    start(scene, "remove.recorded", 1)
    apply(scene, policy)
    dies(scene, "remove.recorded", lambda: scene.ask("remove"))
    assert now(scene) == NO_RULES
    scene.hawser.start_broker()
    poll.until("nothing is left", lambda: "inet hawser" not in scene.ruleset(), timeout=8)
