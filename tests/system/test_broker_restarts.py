# SPDX-License-Identifier: Apache-2.0
"""The broker under real systemd, in bad times: its loop hangs, and hawserd and the proxy are both gone."""

from __future__ import annotations

import time

import pytest

from lab import facts, poll, services, steps
from lab.broker_wire import call
from system import hawser, scene

pytestmark = pytest.mark.incremental
BROKER, AGENT = "hawser-broker.service", "hawser.service"
WATCHDOG, WAIT, BIND = 30, 10, 20  # seconds: WatchdogSec= of the unit, and the guardian's times


def guardian(world):
    return call(world.host, "observe").observe.guardian


def direct(world) -> bool:
    ours, seen = services.banner(world.host, facts.OUTSIDE_IP, hawser.CAPTURED_PORT)
    return ours == seen


def inbound_status(world) -> int:
    return services.curl(world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/").status


def test_joins(world):
    steps.join(world)
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
    poll.until("the guardian watches", lambda: guardian(world).state == "watching" and guardian(world).lease_alive, 5)


def test_a_broker_that_hangs_is_restarted_and_no_connection_leaks(world):
    before = world.vm.main_pid(BROKER)
    with scene.Captured(world) as captured:
        world.host.run(["kill", "-STOP", str(before)])
        poll.until("it is restarted", lambda: world.vm.main_pid(BROKER) not in (0, before), WATCHDOG + 25, every=0.5)
        world.vm.wait_active(BROKER)
        world.vm.ready()
        seen = captured.finish()
    assert seen["direct"] == 0 and seen["error_count"] == 0 and seen["proxied"] > 100, seen
    poll.until("hawserd has renewed its lease", lambda: guardian(world).lease_alive, 5)


def test_without_hawserd_and_proxy_the_host_works_by_its_failure_policy(world):
    world.host.systemctl("mask", "--runtime", "--now", AGENT)
    # a stop on purpose: as long as the proxy lives nothing is done
    time.sleep(WAIT + 2)  # the time after which it would act
    assert not direct(world) and guardian(world).state == "watching" and not guardian(world).lease_alive
    world.host.systemctl("unmask", "--runtime", AGENT)
    world.host.systemctl("start", AGENT)
    world.vm.ready()
    # a crash that isn't repaired: killed, and its unit is out of the way
    world.host.systemctl("mask", "--runtime", AGENT)
    world.host.run(["kill", "-9", str(world.vm.main_pid(AGENT)), str(world.vm.proxy_pid())])
    begun = time.monotonic()
    poll.until("the policy is in force", lambda: guardian(world).state == "policy", WAIT + BIND + 15, every=0.5)
    print(f"policy after {time.monotonic() - begun:.0f} s: {guardian(world).detail}")
    assert direct(world)
    assert inbound_status(world) == 0
    world.assert_ssh_is_direct()
    assert guardian(world).cold_starts == 1
    journal = world.host.journal(BROKER)
    assert "guardian: starting" in journal and "guardian: policy" in journal


def test_hawserd_comes_back_to_what_the_guardian_left(world):
    world.host.systemctl("unmask", "--runtime", AGENT)
    world.host.systemctl("start", AGENT)
    world.vm.ready()
    poll.until("in the mesh again", lambda: scene.in_mesh(world) and not direct(world), 30)
    assert guardian(world).state == "watching"
    assert len(world.vm.proxy_units()) == 1, world.vm.proxy_units()
