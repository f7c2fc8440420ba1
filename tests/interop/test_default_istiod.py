# SPDX-License-Identifier: Apache-2.0
"""An istiod as Istio's installation makes it, with an Envoy that isn't Istio's: the story of test_join.py once more."""

from __future__ import annotations

import re

import pytest

from interop.istiod import IstiodPlane
from lab import fixtures, poll, services, steps
from lab.second_envoy import SecondEnvoy

pytestmark = pytest.mark.incremental


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, programs: None):
    plane = IstiodPlane(istiod_env={"ISTIO_DUAL_STACK": "true"}, for_upstream_envoy=False)
    with fixtures.world(request, plane) as made:
        yield made


def test_joins_from_the_bundle(world):
    steps.join(world)


def test_what_only_istios_build_of_envoy_has_is_taken_out(world):
    """This istiod is as Istio's installation makes it, and the Envoy isn't Istio's."""
    told = world.vm.status()["control_plane"]["istio_extensions"]
    names = ["istio.alpn", "istio.metadata_exchange", "istio.peer_metadata", "istio.stats"]
    assert sorted(told["removed"]) == names, told
    metrics = services.curl(world.host, "http://127.0.0.1:15020/stats/prometheus").body
    assert "hawser_xds_nacks_total" not in metrics, "the proxy rejected something"
    # What real peers see: a side that negotiated this would wait for metadata ahead of the connection's own bytes.
    for path in ("/config_dump?resource=dynamic_active_clusters", "/config_dump?resource=dynamic_listeners"):
        dump = proxy_admin(world, path)
        assert '"alpn_protocols"' in dump
        contexts = re.findall(r'"alpn_protocols": \[([^\]]*)\]', dump)
        assert contexts and not any("istio-peer-exchange" in context for context in contexts), path


def test_an_envoy_of_the_state_of_the_world_gets_what_it_can_take_too(world):
    with SecondEnvoy(world.vm, "f8e0", api_type="GRPC") as envoy:
        poll.until("it is LIVE", envoy.live, steps.PUSH_TIMEOUT)
        assert envoy.stat("listener_manager.listener_create_success") > 0
        for rejected in ("cluster_manager.cds.update_rejected", "listener_manager.lds.update_rejected"):
            assert envoy.stat(rejected) == 0, rejected


def test_an_ordinary_client_reaches_reviews(world):
    steps.outbound(world)


def test_reviews_calls_the_vm_and_others_are_refused(world):
    steps.inbound(world)


def test_the_control_plane_may_go_away(world):
    steps.outage(world)


def test_leaves_without_a_trace(world):
    steps.leave(world)


def proxy_admin(world, path: str) -> str:
    """Envoy's admin interface is a socket that only its own user and the agent may use."""
    generation = world.vm.status()["proxy"]["generation"]
    socket = f"/run/hawser/proxy/{generation}.admin.sock"
    return world.host.run(["curl", "-sS", "--unix-socket", socket, f"http://envoy{path}"], timeout=20).stdout
