# SPDX-License-Identifier: Apache-2.0
"""The host is booted again: with its control plane, without it, and with one that swallows every packet."""

from __future__ import annotations

import json

import pytest

from lab import facts, poll, steps
from system import hawser, scene

pytestmark = pytest.mark.incremental
# A boot of this image takes 1.1 s; the machine that runs the tests may be busy with something else.
BOOT_LIMIT = 10.0


def boot_seconds(machine) -> float:
    """From the start of user space to the end of the boot, as systemd has it."""
    userspace = int(machine.systemctl("show", "--value", "-p", "UserspaceTimestampMonotonic"))
    reached = int(machine.unit("multi-user.target")["ActiveEnterTimestampMonotonic"])
    assert reached, "multi-user.target isn't reached"
    return (reached - userspace) / 1e6


def test_joins(world):
    steps.join(world)
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)


def test_after_a_reboot_it_is_in_the_mesh_by_itself(world):
    world.host.reboot()
    world.vm.ready()
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
    assert boot_seconds(world.host) < BOOT_LIMIT
    world.assert_ssh_is_direct()


def test_after_a_power_cut_it_is_in_the_mesh_by_itself(world):
    world.host.power_cycle()
    world.vm.ready()
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)


def kept(world) -> bool:
    """There is a last good configuration to start from."""
    done = world.vm.cli("xds", "snapshot", "list", "--json", check=False)
    return done.returncode == 0 and json.loads(done.stdout)["confirmed"]


def test_without_its_control_plane_it_comes_up_from_the_last_good_configuration(world):
    poll.until("a snapshot", lambda: kept(world), 20)
    world.plane.stop()
    world.host.reboot()
    world.vm.start()
    world.vm.wait("INTERCEPTING", timeout=20)
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
    world.assert_ssh_is_direct()
    assert boot_seconds(world.host) < BOOT_LIMIT
    status = world.vm.status()
    told = next(item for item in status["items"] if item["name"] == "snapshot")
    assert told["id"] == "HWS-SN-001" and told["detail"].startswith("serving last good from 20"), told
    assert "serving last good from 20" in status["summary"], status["summary"]
    assert "REGISTERED" not in [event["name"] for event in status["events"]]


def test_without_control_plane_and_snapshot_the_host_works_as_if_hawser_werent_there(world):
    world.vm.stop_agent()
    world.host.run(["sh", "-c", "rm -f /var/lib/hawser/xds/*"])
    world.host.reboot()
    world.vm.start()
    hawser.vm_is_plain(world.host, world.outside)
    world.assert_ssh_is_direct()
    assert boot_seconds(world.host) < BOOT_LIMIT
    status = world.vm.status()
    assert status["state"] != "ok", status
    poll.until("it says what it lacks", lambda: names_the_plane(world), 15)


def names_the_plane(world) -> bool:
    reasons = [str(item) for item in world.vm.status()["items"] if item.get("id") and item["state"] != "ok"]
    return any(facts.PLANE_NAME in reason or str(facts.PLANE_PORT) in reason for reason in reasons)


def test_it_joins_when_the_plane_is_back(world):
    world.plane.start(world.mesh)
    world.vm.ready(60)
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)


def test_a_plane_that_swallows_packets_delays_no_boot(world):
    poll.until("a snapshot", lambda: kept(world), 20)
    chain = f"chain i {{ type filter hook input priority 0; tcp dport {facts.PLANE_PORT} drop; }};"
    world.mesh.run(["nft", f"table inet hole {{ {chain} }}"])
    try:
        world.host.reboot()
        seconds = boot_seconds(world.host)
        assert seconds < BOOT_LIMIT, world.host.run(["systemd-analyze", "critical-chain", "--no-pager"]).stdout
        blame = world.host.run(["systemd-analyze", "blame", "--no-pager"]).stdout
        assert hawser.SERVICES[0] in blame
        world.vm.start()
        world.vm.wait("INTERCEPTING", timeout=20)
        poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
        world.assert_ssh_is_direct()
        assert world.vm.status()["state"] != "ok"
    finally:
        world.mesh.run(["nft", "delete", "table", "inet", "hole"])
    world.vm.ready(60)
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
