# SPDX-License-Identifier: Apache-2.0
"""What a plane's ordinary life does to a host: its API server restarts, and its connections end by age, here each minute."""

from __future__ import annotations

import time

import pytest

from interop.istiod import GROUP_ANNOTATION, IstiodPlane
from lab import facts, fixtures, poll, steps

pytestmark = [pytest.mark.incremental, pytest.mark.timeout(300)]

AGE = 60.0
GRACE = 10.0  # istiod's, between a workload's disconnect and its removal


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, programs: None):
    plane = IstiodPlane(istiod_env={"ISTIO_DUAL_STACK": "true"}, connection_age=f"{AGE:g}s")
    with fixtures.world(request, plane) as made:
        yield made


def test_a_host_registers_although_the_api_server_is_away_at_first(world):
    """istiod can't check the token then; the host tries on and ends as one healthy workload."""
    world.plane.stop_api_server()
    world.vm.join(world.bundle)
    poll.until("the refusal is told", lambda: _told(world), 30)
    world.plane.start_api_server()
    world.vm.wait("REGISTERED")
    poll.until("one healthy entry", lambda: _is_the_only_one(world), steps.PUSH_TIMEOUT)
    steps.outbound(world)


def test_an_api_server_that_restarts_while_the_host_registers_again(world):
    """Several times: killed before, and in the middle of, what istiod writes about the host."""
    for seconds in (0.0, 0.3, 1.0):
        world.vm.stop_agent()
        if not seconds:
            world.plane.stop_api_server()
        world.vm.start_agent()
        if seconds:
            # Not for luck: each run cuts what istiod does with the new stream at another point.
            time.sleep(seconds)
            world.plane.stop_api_server()
        world.plane.start_api_server()
        world.vm.wait("REGISTERED")
        poll.until("one healthy entry", lambda: _is_the_only_one(world), steps.RECONNECT_TIMEOUT)
    steps.outbound(world)
    steps.inbound(world)


def test_connections_that_end_by_age_are_replaced_unnoticed(world):
    """Both directions under load over two ends of a connection; the entry stays, and Envoy's own stream as well."""
    status = world.vm.status()
    opened, pid = status["control_plane"]["streams_opened"], status["proxy"]["pid"]
    log = world.host.log_dir / "hawserd.log"
    streams = _proxy_streams(log)
    entry = _entries(world)[0]["metadata"]["uid"]
    with world.traffic() as traffic:
        poll.until("two more streams", lambda: _opened(world) >= opened + 2, 2 * 1.1 * AGE + 20, every=0.5)
        poll.until("the newest is registered", lambda: _is_the_only_one(world), steps.RECONNECT_TIMEOUT)
        # A change arrives by the newest stream.
        world.plane.allow_callers([facts.REVIEWS_SA])
        ratings = world.reviews.RATINGS
        poll.until("ratings is denied", lambda: steps._status(world, ratings) == 403, steps.PUSH_TIMEOUT)
        world.plane.allow_callers(None)
        poll.until("ratings is allowed", lambda: steps._status(world, ratings) == 200, steps.PUSH_TIMEOUT)
        traffic.finish()
    assert world.vm.status()["proxy"]["pid"] == pid
    assert _proxy_streams(log) == streams, "Envoy's own stream was closed"
    # Nothing that istiod had planned for a closed stream takes the entry away.
    _stays(world, GRACE + 2)
    assert _entries(world)[0]["metadata"]["uid"] == entry, "the entry was removed and made again"


def _entries(world) -> list[dict]:
    """Those that istiod made by itself."""
    found = world.plane.kube.list("WorkloadEntry", facts.NAMESPACE)
    return [item for item in found if GROUP_ANNOTATION in item["metadata"].get("annotations", {})]


def _is_the_only_one(world) -> bool:
    rows = world.plane.workloads()
    return len(rows) == 1 and rows[0].connected and rows[0].healthy is True and rows[0].address == facts.VM_IP


def _stays(world, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert len(_entries(world)) == 1
        time.sleep(0.5)
    assert _is_the_only_one(world)


def _told(world) -> bool:
    items = world.vm.status().get("items", [])
    return any(item["state"] in ("failed", "degraded") and "id" in item for item in items)


def _opened(world) -> int:
    return world.vm.status()["control_plane"]["streams_opened"]


def _proxy_streams(log) -> int:
    return log.read_text().count("a proxy opened its configuration stream")
