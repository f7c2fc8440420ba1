# SPDX-License-Identifier: Apache-2.0
"""A host that is drained and then booted anew: it stays drained, unless its operator meant it until then."""

from __future__ import annotations

import typing

import pytest

from lab import facts, poll, services, steps
from system.watch import Watch

pytestmark = pytest.mark.incremental
OUTBOUND = f"http://{facts.REVIEWS_HOST}/from-the-vm"


def row(world) -> dict[str, typing.Any]:
    rows = world.plane.get("/workloads")
    assert len(rows) == 1, f"the table has {[r['name'] for r in rows]}"
    return rows[0]


def by_mesh(world) -> int:
    return services.curl(world.mesh, world.reviews.url(world.reviews.FRESH, "/by-mesh")).status


def boot_again(world) -> None:
    world.host.reboot()
    world.vm.start()
    world.vm.wait("REGISTERED")


def drained(world, stage: str) -> None:
    """Everybody is told so, and own programs don't notice."""
    status = world.vm.status()
    assert status["drain"]["stage"] == stage, status["drain"]
    told = next(item for item in status["items"] if item["name"] == "drain")
    assert (told["state"], told["id"]) == ("degraded", "HWS-DR-001"), told
    assert world.vm.cli("status", check=False).returncode == 2
    poll.until("the plane has it", lambda: row(world)["healthy"] is False, 10)
    assert row(world)["health_message"] == "drained by the operator"
    poll.until("own programs call out", lambda: services.curl(world.host, OUTBOUND).status == 200, 10)


def takes_callers(world) -> None:
    world.vm.wait("REGISTERED")
    poll.until("the plane has it", lambda: row(world)["healthy"], 15)
    poll.until("the VM is called", lambda: by_mesh(world) == 200, 15)
    world.vm.ready()
    assert world.vm.status()["drain"] == {"stage": "none"}


def test_joins(world):
    world.vm.join(world.bundle, "proxy.drain=1s", "proxy.parent_shutdown=2s", "workload.withdraw_wait=300ms")
    takes_callers(world)
    steps.outbound(world)


def test_a_drain_is_kept_over_a_reboot(world):
    world.vm.cli("drain")
    drained(world, "withdrawn")
    with Watch(world) as watch:
        boot_again(world)
        drained(world, "withdrawn")
    assert True not in watch.healthy, f"in between callers were sent here: {watch.healthy}"
    assert by_mesh(world) == 200, "who has the address by itself isn't turned away"


def test_undrain_brings_callers_back(world):
    world.vm.cli("undrain")
    takes_callers(world)


def test_drained_listeners_are_drained_after_a_reboot_too(world):
    world.vm.cli("drain", "--listeners")
    poll.until("nobody is taken", lambda: by_mesh(world) == 503, 15)
    boot_again(world)
    drained(world, "listeners")
    poll.until("nobody is taken", lambda: by_mesh(world) == 503, 15)
    world.vm.cli("undrain")
    takes_callers(world)


def test_until_the_reboot_is_until_then(world):
    world.vm.cli("drain", "--until-reboot")
    drained(world, "withdrawn")
    world.vm.restart_agent()
    world.vm.wait("REGISTERED")
    drained(world, "withdrawn")
    boot_again(world)
    takes_callers(world)
    assert not world.host.exists("/var/lib/hawser/supervisor/drain.json")
