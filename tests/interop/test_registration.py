# SPDX-License-Identifier: Apache-2.0
"""Registration against a real istiod: what it refuses and why, the WorkloadEntry that it makes, and how it goes."""

from __future__ import annotations

import copy

import pytest

from interop import kube, manifests
from interop.istiod import IstiodPlane
from lab import facts, fixtures, layout, poll, services, steps

pytestmark = pytest.mark.incremental

SETTINGS = "/etc/hawser/conf.d/60-test.yaml"
GRACE = 10.0


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, programs: None):
    with fixtures.world(request, IstiodPlane(istiod_env={"ISTIO_DUAL_STACK": "true"})) as made:
        yield made


def entries(world) -> list[dict]:
    return world.plane.kube.list("WorkloadEntry", facts.NAMESPACE)


def entry(world) -> dict:
    found = entries(world)
    assert len(found) == 1, f"there are {[e['metadata']['name'] for e in found]}"
    return found[0]


def told(world) -> dict:
    return world.vm.status()["registration"]


def refusal(world) -> dict:
    found = told(world).get("refusal")
    assert found, world.vm.status()["items"]
    return found


def test_a_group_that_is_not_there_is_named(world):
    world.host.write(SETTINGS, "workload: {group: nobody}\n")
    world.vm.join(world.bundle)
    found = poll.until("the refusal is told", lambda: refusal(world), 20)
    assert found["id"] == "HWS-RG-003" and "cannot find WorkloadGroup demo/nobody" in found["answer"], found
    assert entries(world) == []
    world.vm.leave()


def test_a_group_of_another_service_account_is_named(world):
    group = copy.deepcopy(manifests.workload_group())
    group["metadata"]["name"] = "other"
    group["spec"]["template"]["serviceAccount"] = "other"
    world.plane.kube.apply(group)
    world.host.write(SETTINGS, "workload: {group: other}\n")
    world.vm.join(world.bundle)
    found = poll.until("the refusal is told", lambda: refusal(world), 20)
    assert found["id"] == "HWS-RG-004" and "service account mismatch" in found["answer"], found
    assert entries(world) == []
    world.vm.leave()


def test_an_address_of_each_family_is_captured_with_dual_stack(world):
    more = "withdraw_wait: 6s, locality: r1/z1/s1, labels: {team: blue}"
    world.host.write(SETTINGS, f"workload: {{address: [{facts.VM_IP}, {facts.VM_IP6}], {more}}}\n")
    world.vm.join(world.bundle)
    world.vm.wait("REGISTERED")
    item = next(i for i in world.vm.status()["items"] if i["name"] == "address")
    assert item["state"] == "ok" and item["detail"] == f"{facts.VM_IP}, {facts.VM_IP6}, by workload.address", item


def test_the_entry_is_the_one_that_status_tells(world):
    found = entry(world)
    assert found["metadata"]["name"] == told(world)["entry"]
    assert found["spec"]["address"] == told(world)["address"] == facts.VM_IP
    assert found["spec"]["network"] == facts.NETWORK
    assert found["spec"]["locality"] == told(world)["locality"] == "r1/z1/s1"
    assert found["spec"]["labels"]["team"] == "blue"
    poll.until("healthy", lambda: kube.condition(entry(world), "Healthy") == "True", steps.PUSH_TIMEOUT)


def test_the_inbound_clusters_are_there_when_registered(world):
    """REGISTERED waited for them, healed the defect if it was met, and a caller gets an answer at once."""
    assert told(world)["inbound_lacks"] == ""
    metrics = services.curl(world.host, "http://127.0.0.1:15020/stats/prometheus").body
    counted = [line for line in metrics.splitlines() if line.startswith("hawser_inbound_cluster_heals_total")]
    assert sum(float(line.split()[-1]) for line in counted) == told(world)["inbound_heals"]
    answer = services.curl(world.mesh, world.reviews.url(world.reviews.FRESH, "/first"))
    assert answer.status == 200, answer


def test_the_reason_is_in_the_entrys_condition(world):
    def message() -> str:
        conditions = {c["type"]: c for c in entry(world)["status"]["conditions"]}
        assert conditions["Healthy"]["status"] == "False", conditions
        return conditions["Healthy"]["message"]

    world.host.stop(world.vm_app)
    text = poll.until("unhealthy in the entry", message, steps.PUSH_TIMEOUT)
    assert f"can't connect to port {facts.VM_PORT}" in text, text
    world.vm_app = services.start_vm_app(world.host)
    poll.until("healthy again", lambda: kube.condition(entry(world), "Healthy") == "True", steps.PUSH_TIMEOUT)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_of_hawserd_keeps_the_entry(world, how):
    before = entry(world)["metadata"]
    world.vm.stop_agent() if how == "stop" else world.vm.kill_agent()
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=GRACE)
    after = entry(world)
    assert (after["metadata"]["name"], after["metadata"]["uid"]) == (before["name"], before["uid"])
    assert kube.condition(after, "Healthy") == "True"


def test_leave_withdraws_before_the_entry_goes(world):
    leaving = world.host.popen([f"{layout.BIN_IN_HOST}/hawser", "leave"], log="leave.log")
    poll.until("told as withdrawn", lambda: kube.condition(entry(world), "Healthy") == "False", 10)
    assert leaving.poll() is None, "the host was gone before the plane knew"
    assert leaving.wait(30) == 0, (world.host.log_dir / "leave.log").read_text()
    poll.until("the entry is gone", lambda: entries(world) == [], GRACE + 10)
