# SPDX-License-Identifier: Apache-2.0
"""`hawser drain` and `undrain`: callers go elsewhere and come back, and nobody loses a request."""

from __future__ import annotations

import json
import typing

import pytest

from devmesh.plane import DevmeshPlane
from lab import facts, fixtures, generations, poll, replacing, services, steps
from lab.mesh_caller import MeshCaller

pytestmark = pytest.mark.incremental

SETTINGS = (
    "proxy.concurrency=2",
    "proxy.drain=2s",
    "proxy.parent_shutdown=3s",
    "proxy.start_timeout=10s",
    "workload.withdraw_wait=300ms",
)
DROP_IN = "/etc/hawser/conf.d/60-workers.yaml"
LISTENER = "0.0.0.0_15006"
OUTBOUND = f"http://{facts.REVIEWS_HOST}/from-the-vm"


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest):
    with fixtures.world(request, DevmeshPlane(grace="10s")) as made:
        yield made


@pytest.fixture(scope="module")
def caller(world):
    with MeshCaller(world) as made:
        yield made


def row(world) -> dict[str, typing.Any]:
    rows = world.plane.get("/workloads")
    assert len(rows) == 1, f"the table has {[r['name'] for r in rows]}"
    return rows[0]


def drained(world) -> dict[str, typing.Any]:
    return world.vm.status()["drain"]


def item(world) -> dict[str, typing.Any]:
    return next(i for i in world.vm.status()["items"] if i["name"] == "drain")


def ready(world) -> services.Answer:
    return services.curl(world.host, "http://127.0.0.1:15020/healthz/ready")


def metrics(world) -> str:
    return services.curl(world.host, "http://127.0.0.1:15020/metrics").body


def by_reviews(world) -> services.Answer:
    """A caller that knows the VM's address by itself and keeps its connection: drains don't reach it by the plane."""
    return services.curl(world.mesh, world.reviews.url(world.reviews.POOLED, "/by-reviews"))


def serving(world) -> dict[str, typing.Any]:
    shown = json.loads(world.vm.cli("proxy", "status", "--json").stdout)
    return next(each for each in shown["generations"] if each["role"] == "serving")


def close_listeners(world) -> None:
    world.vm.cli("drain", "--listeners")
    poll.until("the listener takes nobody any more", lambda: by_reviews(world).status == 503, 10)


def comes_back(world, caller) -> None:
    caller.wait_for(facts.VM_IP)
    poll.until("the VM is called again", lambda: by_reviews(world).status == 200, 20)
    assert drained(world) == {"stage": "none"}


def restart_hawserd(world, how: typing.Callable[[], typing.Any]) -> None:
    how()
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=20)


def test_joins(world, caller):
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    caller.wait_for(facts.VM_IP)
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)
    assert drained(world) == {"stage": "none"}


def test_callers_go_elsewhere_and_no_connection_is_cut(world, caller):
    load = caller.load("drain", rate=100)
    with world.traffic() as traffic:
        load.more(30)
        traffic.more(30)
        begun = json.loads(world.vm.cli("drain", "--json").stdout)
        assert begun["stage"] == "withdrawn" and begun["kept"], begun
        poll.until("callers have no endpoint", lambda: not caller.endpoints(), 10, every=0.01)
        report = load.stop()
        traffic.more(50)
        traffic.finish()
    # without an endpoint Envoy answers 503 by itself: that is the service's end, not a lost request
    assert report.failed - caller.without_endpoint() == 0, report.describe_failures()
    told = poll.until("the plane has it", lambda: row(world)["healthy"] is False and row(world), 5)
    assert told["health_message"] == "drained by the operator", told
    assert by_reviews(world).status == 200


def test_it_is_told_everywhere(world):
    shown = item(world)
    assert shown["state"] == "degraded" and shown["id"] == "HWS-DR-001", shown
    poll.until("the open connection is counted", lambda: drained(world)["connections"] >= 1, 5)
    assert "hawser_draining 1\n" in metrics(world)
    assert "hawser_drain_connections 0\n" not in metrics(world)
    answer = ready(world)
    assert answer.status == 503 and "drained" in answer.body, answer
    assert "hawser undrain" in world.vm.cli("status", check=False).stdout


def test_who_waits_is_told_what_is_open_when_the_time_is_over(world):
    waited = world.vm.cli("drain", "--wait", "--time", "1s", check=False)
    assert waited.returncode == 75 and "HWS-DR-005" in waited.stderr, waited.stderr
    assert f"listener {LISTENER}: " in waited.stdout, waited.stdout


def test_it_outlives_hawserd(world, caller):
    for how in (world.vm.stop_agent, world.vm.kill_agent):
        restart_hawserd(world, how)
        assert drained(world)["stage"] == "withdrawn"
        poll.until("the plane has it still", lambda: row(world)["healthy"] is False, 5)
        assert not caller.endpoints()
    assert ready(world).status == 503


def test_undrain_brings_callers_back_at_once(world, caller):
    pid = world.vm.status()["proxy"]["pid"]
    assert "callers may come again" in world.vm.cli("undrain").stdout
    caller.wait_for(facts.VM_IP)
    assert caller.ask("/again").status == 200
    assert row(world)["healthy"] is True
    assert world.vm.status()["proxy"]["pid"] == pid
    assert ready(world).status == 200
    assert item(world)["state"] == "ok" and world.vm.status()["state"] == "ok"
    assert "isn't drained" in world.vm.cli("undrain").stdout


def test_listeners_are_drained_without_a_lost_request(world, caller):
    """Callers that the plane reaches are gone before the listener is; own programs call out all the time."""
    alone = caller.without_endpoint()
    load = caller.load("listeners", rate=100)
    outbound = services.Load(world.host, "own", OUTBOUND, rate=50)
    load.more(30)
    assert by_reviews(world).status == 200
    pid = world.vm.status()["proxy"]["pid"]
    begun = world.vm.cli("drain", "--listeners").stdout
    assert "listeners" in begun, begun
    poll.until("the listener takes nobody any more", lambda: by_reviews(world).status == 503, 10)
    outbound.more(50)
    report, own = load.stop(), outbound.stop()
    assert report.failed - (caller.without_endpoint() - alone) == 0, report.describe_failures()
    assert own.failed == 0, own.describe_failures()
    waited = world.vm.cli("drain", "--wait", "--time", "20s")
    assert "no caller is connected any more" in waited.stdout, waited.stdout
    status = world.vm.status()
    assert status["drain"]["stage"] == "listeners" and status["drain"]["connections"] == 0, status["drain"]
    assert status["proxy"]["pid"] == pid and status["proxy"]["state"] == "LIVE", status["proxy"]
    assert "hawser_draining 2\n" in metrics(world)


def test_that_outlives_hawserd_too(world):
    pid = world.vm.status()["proxy"]["pid"]
    restart_hawserd(world, world.vm.kill_agent)
    status = world.vm.status()
    assert status["drain"]["stage"] == "listeners"
    assert status["proxy"]["pid"] == pid and status["proxy"]["state"] == "LIVE", status["proxy"]
    assert status["interception"]["state"] == "active"
    assert by_reviews(world).status == 503
    assert services.curl(world.host, OUTBOUND).status == 200


def test_a_proxy_that_dies_meanwhile_is_followed_by_one_that_is_drained(world):
    world.host.run(["kill", "-9", str(world.vm.status()["proxy"]["pid"])])
    poll.until("own programs call out again", lambda: services.curl(world.host, OUTBOUND).status == 200, 20)
    poll.until("the new one is drained too", lambda: by_reviews(world).status == 503, 20)
    assert row(world)["healthy"] is False


def test_undrain_restarts_the_proxy_and_own_programs_lose_nothing(world, caller):
    before = world.vm.status()["proxy"]
    outbound = services.Load(world.host, "own-again", OUTBOUND, rate=50)
    outbound.more(20)
    said = world.vm.cli("undrain").stdout
    assert "restarted" in said, said
    caller.wait_for(facts.VM_IP)
    poll.until("the VM is called again", lambda: caller.ask("/back").status == 200, 10)
    own = outbound.stop()
    assert own.failed == 0, own.describe_failures()
    after = world.vm.status()
    assert after["proxy"]["pid"] != before["pid"] and after["drain"] == {"stage": "none"}, after["proxy"]
    assert by_reviews(world).status == 200
    assert row(world)["healthy"] is True


def test_a_predecessor_is_waited_for(world, caller):
    """Until it's gone there's neither a hot restart nor a cold start; then nothing is lost by one."""
    generations.wait_alone(world, 15)
    generations.restart(world, "hot-restart")
    before = world.vm.status()["proxy"]["pid"]
    outbound = services.Load(world.host, "own-waits", OUTBOUND, rate=50)
    world.vm.cli("drain", "--listeners")
    world.vm.cli("undrain")
    own = outbound.stop()
    assert own.failed == 0, own.describe_failures()
    assert world.vm.status()["proxy"]["pid"] not in (0, before), "callers come when another proxy takes them"
    assert serving(world)["came_by"] == "hot restart"
    comes_back(world, caller)


def test_where_no_other_proxy_could_serve_the_drain_stands(world, caller):
    """hawserd has lost what the plane said, and the plane says nothing: own programs keep the proxy that they have."""
    generations.wait_alone(world, 15)
    pid = world.vm.status()["proxy"]["pid"]
    outbound = services.Load(world.host, "own-stands", OUTBOUND, rate=50)
    close_listeners(world)
    world.plane.faults(hold=True, close_streams=True)
    try:
        world.vm.stop_agent()
        world.host.run(["sh", "-c", "rm -rf /var/lib/hawser/xds/*"])
        world.vm.start_agent()
        generations.wait_adopted(world, pid, 15)
        refused = world.vm.cli("undrain", check=False)
        assert refused.returncode != 0 and "HWS-DR-006" in refused.stderr, refused.stderr
        assert "nobody has said yet" in refused.stderr, refused.stderr
        assert drained(world)["stage"] == "listeners" and world.vm.status()["proxy"]["pid"] == pid
        outbound.more(100)
    finally:
        world.plane.reset_faults()
    world.vm.wait("REGISTERED", timeout=60)
    poll.until("it can be taken back", lambda: world.vm.cli("undrain", check=False).returncode == 0, 40)
    own = outbound.stop()
    assert own.failed == 0, own.describe_failures()
    assert world.vm.status()["proxy"]["pid"] not in (0, pid)
    comes_back(world, caller)


def test_an_attempt_that_fails_leaves_own_programs_their_proxy(world, caller):
    """The worst that one leaves: it has taken the drained proxy's admin interface, and never serves."""
    generations.wait_alone(world, 15)
    pid = world.vm.status()["proxy"]["pid"]
    outbound = services.Load(world.host, "own-fails", OUTBOUND, rate=50)
    close_listeners(world)
    with replacing.fake(world, replacing.WAITS):
        refused = world.vm.cli("undrain", check=False)
    assert "HWS-DR-006" in refused.stderr and "HWS-PX-024" in refused.stderr, refused.stderr
    assert drained(world)["stage"] == "listeners" and world.vm.status()["proxy"]["pid"] == pid
    restart_hawserd(world, world.vm.kill_agent)
    outbound.more(100)
    assert world.vm.status()["proxy"]["pid"] == pid
    own = outbound.stop()
    assert own.failed == 0, own.describe_failures()
    world.vm.cli("undrain")  # it can't be asked any more, so that a cold start replaces it
    assert world.vm.status()["proxy"]["pid"] not in (0, pid)
    comes_back(world, caller)


def test_where_a_hot_restart_is_refused_a_cold_start_brings_the_listener_back(world, caller):
    """With fewer workers than before connections in their queues would be lost."""
    generations.wait_alone(world, 15)
    before = world.vm.status()["proxy"]["pid"]
    world.host.write(DROP_IN, "proxy: {concurrency: 1}\n")
    restart_hawserd(world, world.vm.stop_agent)
    world.vm.cli("drain", "--listeners")
    world.vm.cli("undrain")
    assert world.vm.status()["proxy"]["pid"] not in (0, before)
    assert serving(world)["came_by"] == "planned cold start"
    assert "no hot restart brings drained listeners back" in (world.host.log_dir / "hawserd.log").read_text()
    comes_back(world, caller)


def test_a_host_that_leaves_drained_joins_as_any_other(world, caller):
    world.vm.cli("drain")
    world.vm.leave()
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    assert drained(world) == {"stage": "none"}
    caller.wait_for(facts.VM_IP)
    world.vm.leave()
