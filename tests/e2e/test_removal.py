# SPDX-License-Identifier: Apache-2.0
"""What the package's prerm relies on: rules and proxies go, whichever of our programs still lives."""

from __future__ import annotations

import pytest

from lab import layout, poll, steps

pytestmark = pytest.mark.incremental
WITHDRAW = [f"{layout.BIN_IN_HOST}/hawser-broker", "--withdraw"]


def ruleset(world) -> str:
    return world.host.run(["nft", "list", "ruleset"]).stdout


def proxies(world) -> list[int]:
    listed = world.host.run(["pgrep", "-x", "envoy"], check=False).stdout
    return [int(pid) for pid in listed.split()]


def test_joins(world):
    steps.join(world)
    assert "inet hawser {" in ruleset(world) and proxies(world)


def test_the_broker_alone_takes_rules_and_proxies_away(world):
    world.vm.kill_agent()
    world.vm.cli("intercept", "remove")
    assert ruleset(world) == ""
    assert proxies(world) == []


def test_the_host_is_still_joined_and_in_the_mesh_when_hawserd_is_back(world):
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=20)
    assert "inet hawser {" in ruleset(world)


def test_with_both_programs_dead_the_last_resort_leaves_no_table(world):
    world.vm.kill_agent()
    world.vm.broker.kill()
    world.vm.broker.wait(5)
    assert "hawser" in ruleset(world), "nothing is left to be taken out, so this would prove nothing"
    done = world.host.run(WITHDRAW, check=False)
    assert done.returncode == 0, done.stderr
    poll.until("no rule is left", lambda: ruleset(world) == "", timeout=5)


def test_the_last_resort_has_nothing_against_a_clean_host(world):
    assert world.host.run(WITHDRAW, check=False).returncode == 0
