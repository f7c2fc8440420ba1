# SPDX-License-Identifier: Apache-2.0
"""The demo's steps against a control plane that nobody here wrote: a VM joins a Kubernetes mesh."""

from __future__ import annotations

import pytest

from interop.istiod import IstiodPlane
from lab import facts, fixtures, services, steps

pytestmark = pytest.mark.incremental


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, programs: None):
    # One stack would bind Envoy's listeners in IPv4 alone, and Hawser captures no family without a listener.
    with fixtures.world(request, IstiodPlane(istiod_env={"ISTIO_DUAL_STACK": "true"})) as made:
        yield made


def test_joins_from_the_bundle(world):
    steps.join(world)


def test_the_workload_entry_carries_group_network_and_health(world):
    entries = world.plane.kube.list("WorkloadEntry", facts.NAMESPACE)
    entry = next(e for e in entries if e["spec"]["address"] == facts.VM_IP)
    assert entry["metadata"]["annotations"]["istio.io/autoRegistrationGroup"] == facts.VM_GROUP
    assert entry["spec"]["serviceAccount"] == facts.VM_SA
    conditions = {c["type"]: c["status"] for c in entry["status"]["conditions"]}
    assert conditions["Healthy"] == "True"


def test_an_ordinary_client_reaches_reviews(world):
    steps.outbound(world)


def test_reviews_calls_the_vm_and_others_are_refused(world):
    """Also shows that a missing inbound cluster was healed: istiod leaves it out for most fresh registrations."""
    steps.inbound(world)


def test_the_vm_calls_its_own_service_through_its_inbound_listener(world):
    """Which asks for rules that let Envoy's own calls in again, and for istiod's clusters to call from 127.0.0.6."""
    steps.self_call(world)


def test_the_missing_inbound_cluster_is_counted_when_healed(world):
    metrics = services.curl(world.host, "http://127.0.0.1:15020/stats/prometheus").body
    assert "hawser_xds_connected 1" in metrics
    heals = [line for line in metrics.splitlines() if line.startswith("hawser_inbound_cluster_heals_total")]
    opened = world.vm.status()["control_plane"]["streams_opened"]
    assert opened == 1 + sum(float(line.split()[-1]) for line in heals), (opened, heals)


def test_the_health_condition_follows_the_program(world):
    server = world.vm_app
    world.host.stop(server)
    steps.poll.until("unhealthy in the table", lambda: steps._row(world, healthy=False), steps.PUSH_TIMEOUT)
    world.vm_app = services.start_vm_app(world.host)
    steps.poll.until("healthy again", lambda: steps._row(world, healthy=True), steps.PUSH_TIMEOUT)


def test_the_certificate_is_rotated_under_load(world):
    steps.renewal(world)


def test_the_control_plane_may_go_away(world):
    steps.outage(world)


def test_ssh_is_never_captured(world):
    steps.ssh(world)


def test_leaves_without_a_trace(world):
    steps.leave(world)
