# SPDX-License-Identifier: Apache-2.0
"""A plane that sends what only Istio's build of Envoy has, as a default istiod does, to an upstream Envoy."""

from __future__ import annotations

import pytest

from devmesh.plane import DevmeshPlane
from lab import facts, fixtures, poll, services, steps

pytestmark = pytest.mark.incremental

FOUR = ("istio.alpn", "istio.metadata_exchange", "istio.peer_metadata", "istio.stats")
POLICY = "/etc/hawser/conf.d/60-compat.yaml"


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest):
    plane = DevmeshPlane(edit=lambda data: data["mesh"].update(istio_extensions=True))
    with fixtures.world(request, plane) as made:
        yield made


def test_with_keep_preflight_asks_the_binary_and_names_what_is_missing(world):
    """A first join: the proxy never gets a listener, so nothing is captured, and status says why."""
    world.vm.join(world.bundle, "compat.istio_extensions=keep")
    item = poll.until("preflight names it", lambda: _with_id(world, "istio-extensions", "HWS-XDS-052"), 20)
    assert all(name in item["detail"] for name in FOUR), item
    assert "compat.istio_extensions: strip" in item["fix"], item
    poll.until("the proxy rejects it", lambda: _with_id(world, "proxy-config", "HWS-XDS-051"), 30)
    poll.until("what the plane sent is named", lambda: _with_id(world, "istio-extensions", "HWS-XDS-050"), 10)
    plain = services.curl(world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/")
    assert plain.status == 200, "the host is as before the join"
    world.vm.leave()


def test_an_upstream_envoy_joins_and_carries_traffic(world):
    steps.join(world)
    steps.outbound(world)
    steps.inbound(world)


def test_status_metrics_and_log_name_what_was_taken_out(world):
    told = world.vm.status()["control_plane"]["istio_extensions"]
    assert told["mode"] == "strip"
    assert sorted(told["removed"]) == list(FOUR), told
    assert _item(world, "istio-extensions")["state"] == "ok"
    text = world.vm.cli("status", check=False).stdout
    assert "because the proxy lacks them: " + ", ".join(FOUR) in text, text
    metrics = services.curl(world.host, "http://127.0.0.1:15020/stats/prometheus").body
    for name in FOUR:
        assert f'hawser_xds_stripped_total{{extension="{name}"}}' in metrics
    # the first join, with keep, is in the same log
    log = (world.host.log_dir / "hawserd.log").read_text().rpartition("reached CONFIGURED")[2]
    assert "rejected" not in log, "the proxy rejected something"
    for name in FOUR:
        assert log.count(f"extension={name} ") == 1, f"{name} is told once, not once a message"


def test_keep_is_rejected_by_the_proxy_and_named_while_traffic_goes_on(world):
    with world.traffic() as traffic:
        world.host.write(POLICY, "compat: {istio_extensions: keep}\n")
        world.vm.restart_agent()
        poll.until("missing extensions are named", lambda: _with_id(world, "istio-extensions", "HWS-XDS-050"), 30)
        poll.until("the rejection is named", lambda: _with_id(world, "proxy-config", "HWS-XDS-051"), 30)
        poll.until("all of them", lambda: all(name in _item(world, "istio-extensions")["detail"] for name in FOUR))
        assert "registered implementation" in _item(world, "proxy-config")["detail"]
        traffic.more(20)
        traffic.finish()


def test_the_remedy_works_at_the_next_start(world):
    with world.traffic() as traffic:
        world.host.write(POLICY, "compat: {istio_extensions: strip}\n")
        world.vm.restart_agent()
        poll.until("taken out again", lambda: world.vm.status().get("control_plane", {}).get("istio_extensions", {}).get("removed"), 30)
        poll.until("no rejection is left", lambda: "id" not in _item(world, "proxy-config"), 30)
        traffic.more(20)
        traffic.finish()
    world.host.run(["rm", POLICY])
    steps.leave(world)


def _with_id(world, name: str, error: str) -> dict | None:
    item = _item(world, name)
    return item if item.get("id") == error else None


def _item(world, name: str) -> dict:
    return next((item for item in world.vm.status().get("items", []) if item["name"] == name), {})
