# SPDX-License-Identifier: Apache-2.0
"""Units are restarted and programs killed while requests run, in both directions: none fails."""

from __future__ import annotations

import pytest

from lab import poll, steps
from system import hawser, scene

pytestmark = pytest.mark.incremental
RESTARTS = 20


def test_joins(world):
    steps.join(world)
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)


@pytest.fixture
def unharmed(world):
    """Requests run all through the test; none may fail, and the proxy must be the same process afterwards."""
    proxy = world.vm.proxy_pid()
    with world.traffic() as traffic:
        traffic.more(20)
        yield
        world.vm.ready()
        traffic.more(20)
        traffic.finish()
    assert world.vm.proxy_pid() == proxy
    assert len(world.vm.proxy_units()) == 1
    assert scene.in_mesh(world)


@pytest.mark.parametrize("unit", hawser.SERVICES)
def test_a_service_is_restarted(world, unharmed, unit):
    world.host.systemctl("restart", unit)
    world.vm.wait_active(unit)


@pytest.mark.parametrize("unit", hawser.SOCKETS)
def test_a_socket_is_restarted(world, unharmed, unit):
    # systemd refuses to start a socket while its service runs, and the service holds what it got: nothing breaks
    world.host.systemctl("restart", unit, check=False)
    assert world.vm.status()["state"] in ("ok", "starting", "degraded")
    world.host.systemctl("restart", *hawser.SERVICES)
    for each in (*hawser.SERVICES, *hawser.SOCKETS):
        world.vm.wait_active(each)


@pytest.mark.parametrize("unit", hawser.SERVICES)
def test_a_program_is_killed(world, unharmed, unit):
    world.vm.kill(unit)


def test_both_programs_are_killed(world, unharmed):
    pids = [str(world.vm.main_pid(unit)) for unit in hawser.SERVICES]
    world.host.run(["kill", "-9", *pids])
    for unit, pid in zip(hawser.SERVICES, pids):
        poll.until(f"{unit} is back", lambda u=unit, p=pid: world.vm.main_pid(u) not in (0, int(p)), 15)
        world.vm.wait_active(unit)


@pytest.mark.parametrize("verb", ["daemon-reload", "daemon-reexec"])
def test_systemd_itself_is_reloaded(world, unharmed, verb):
    world.host.systemctl(verb)
    # what needs systemd goes on working: the broker asks it for the units, hawserd for its watchdog
    world.host.systemctl("restart", "hawser-broker.service")


def test_dbus_is_restarted(world, unharmed):
    world.host.systemctl("restart", "dbus.service")


def test_no_connection_leaks_while_the_broker_restarts(world, unharmed):
    with scene.Captured(world) as captured:
        for number in range(RESTARTS):
            if number % 2:
                world.vm.kill("hawser-broker.service")
            else:
                world.host.systemctl("restart", "hawser-broker.service")
        world.vm.ready()
        seen = captured.finish()
    assert seen["direct"] == 0 and seen["error_count"] == 0 and seen["proxied"] > 100, seen


def test_nothing_is_left_of_all_those_restarts(world):
    tables = world.host.run(["nft", "list", "tables"]).stdout
    assert tables.count("hawser") <= 3, tables  # the rules, those that fail closed, and the anchor
    stored = int(world.host.unit("hawser-broker.service")["NFileDescriptorStore"])
    assert stored <= 2, f"{stored} descriptors in the store"
    for unit in hawser.SERVICES:
        pid = world.vm.main_pid(unit)
        count = len(world.host.run(["ls", f"/proc/{pid}/fd"]).stdout.split())
        assert count < 64, f"{unit} has {count} descriptors"


def test_a_dead_proxy_is_started_again(world):
    before = world.vm.proxy_pid()
    world.host.run(["kill", "-9", str(before)])
    poll.until("another proxy serves", lambda: world.vm.proxy_pid() not in (0, before) and scene.in_mesh(world), 30)
    world.vm.ready()
    assert len(world.vm.proxy_units()) == 1, world.vm.proxy_units()


def test_all_three_are_killed_at_once(world):
    before = world.vm.proxy_pid()
    world.host.run(["kill", "-9", str(before), *(str(world.vm.main_pid(unit)) for unit in hawser.SERVICES)])
    world.assert_ssh_is_direct()
    poll.until("another proxy serves", lambda: world.vm.proxy_pid() not in (0, before) and scene.in_mesh(world), 40)
    world.vm.ready()
    assert len(world.vm.proxy_units()) == 1, world.vm.proxy_units()


def test_it_was_never_in_the_way_of_ssh(world):
    world.assert_ssh_is_direct()
    steps.ssh(world)


def test_stopping_the_units_is_an_emergency_exit(world):
    """An operator who only knows systemctl gets the host back as it was without Hawser."""
    world.host.systemctl("stop", *hawser.SERVICES, *hawser.SOCKETS)
    hawser.vm_is_plain(world.host, world.outside)
    world.assert_ssh_is_direct()
    world.host.systemctl("start", *hawser.SOCKETS, *hawser.SERVICES)
    world.vm.ready()
    poll.until("in the mesh again", lambda: scene.in_mesh(world), 30)
