# SPDX-License-Identifier: Apache-2.0
"""A plane that sends Lua: by root's leave it runs; else the proxy rejects what holds it, and serves on."""

from __future__ import annotations

import pytest

from lab import facts, poll, services, steps
from lab.replacing import SETTINGS, proxy, restart, wait_until_alone

pytestmark = pytest.mark.incremental


def by_lua(world) -> bool:
    return services.curl(world.host, f"http://{facts.REVIEWS_HOST}/lua").body == "by Lua"


def rejected(world) -> bool:
    item = next((item for item in world.vm.status().get("items", []) if item["name"] == "proxy-config"), {})
    return item.get("id") == "HWS-XDS-053" and "HAWSER_PROXY_ALLOW" in item["fix"]


def test_joins(world):
    world.host.stop(world.vm.broker)
    world.vm.start_broker(env={"HAWSER_PROXY_ALLOW": "none"})
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    poll.until("traffic flows", lambda: steps.outbound(world), steps.PUSH_TIMEOUT)


def test_without_leave_it_is_rejected_and_traffic_flows(world):
    pid = proxy(world)["pid"]
    with world.traffic() as traffic:
        world.plane.faults(lua=True)
        poll.until("the proxy rejects it, and status says why", lambda: rejected(world), steps.PUSH_TIMEOUT)
        traffic.more(20)
        assert not by_lua(world)
        refused = restart(world, "--hand-over", "hot-restart", check=False)
        assert "HWS-PX-038" in refused.stderr, "a new one would lack the listeners that this one still has"
        traffic.finish()
    assert proxy(world)["pid"] == pid
    metrics = services.curl(world.host, "http://127.0.0.1:15020/stats/prometheus").body
    assert 'hawser_xds_refused_extensions_total{extension="lua"}' in metrics


def test_another_proxy_of_the_same_sandbox_serves_too(world):
    """What is rejected is missing for one that starts with it; the rest of the mesh isn't."""
    restart(world, "--hand-over", "planned-cold")
    poll.until("traffic flows", lambda: steps.inbound(world), 30)
    assert not by_lua(world)


def test_by_leave_it_runs_after_a_restart_of_the_proxy(world):
    world.host.stop(world.vm.broker)
    world.vm.start_broker(env={"HAWSER_PROXY_ALLOW": "lua"})
    assert not by_lua(world), "a sandbox is that of its start"
    pid = proxy(world)["pid"]
    poll.until("a restart goes through", lambda: restart(world, "--hand-over", "planned-cold", check=False).returncode == 0, 30)
    wait_until_alone(world, proxy(world)["pid"])
    assert proxy(world)["pid"] != pid
    poll.until("Lua answers", lambda: by_lua(world), steps.PUSH_TIMEOUT)
    poll.until("nothing is rejected", lambda: not rejected(world), steps.PUSH_TIMEOUT)
    steps.outbound(world)
