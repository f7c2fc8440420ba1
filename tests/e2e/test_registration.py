# SPDX-License-Identifier: Apache-2.0
"""What the mesh is told of a host: its address, how its services are, and that it goes; and what callers see of it."""

from __future__ import annotations

import pathlib
import sys
import threading
import time

import pytest

from devmesh.plane import DevmeshPlane
from lab import facts, fixtures, layout, poll, services, steps
from lab.mesh_caller import MeshCaller

pytestmark = pytest.mark.incremental

SETTINGS = "/etc/hawser/conf.d/60-test.yaml"
GRPC_PORT, TCP_PORT, HTTPS_PORT = 9100, 9101, 9102
GRPC_SERVICE = "shop.Cart"
STATES = "/run/app/grpc-states"  # what the gRPC server answers
MARK = "/run/app/job-is-well"  # the command's verdict
WITHDRAW_WAIT = 4  # seconds; more than it takes callers to hear of it


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest):
    with fixtures.world(request, DevmeshPlane(grace="500ms")) as made:
        made.host.mkdir("/run/app", 0o755, facts.UID_APP, facts.GID_APP)
        made.host.run(["ip", "link", "add", "docker0", "type", "bridge"])
        made.host.run(["ip", "link", "add", "eth1", "type", "bridge"])
        for command in ("address add 172.17.0.1/16 dev docker0", "address add 198.51.100.7/24 dev eth1",
                        "address add 198.51.100.8/24 dev eth1", "link set docker0 up", "link set eth1 up"):  # fmt: skip
            made.host.run(["ip", *command.split()])
        made.before = made.vm.snapshot()
        yield made


def settings(world, text: str) -> None:
    world.host.write(SETTINGS, text)


def told(world) -> dict:
    return world.vm.status()["registration"]


def row(world) -> dict:
    rows = world.plane.get("/workloads")
    assert len(rows) == 1, f"the table has {[r['name'] for r in rows]}"
    return rows[0]


def item(world, name: str) -> dict:
    items = world.vm.status()["items"]
    found = [i for i in items if i["name"] == name]
    assert found, f"no item {name} among {[i['name'] for i in items]}"
    return found[0]


def grace(world, time: str) -> None:
    world.plane.change(lambda data: data["registration"].update(grace=time))


def join(world) -> None:
    world.vm.join(world.bundle)
    world.vm.wait("REGISTERED", timeout=30)


# -- refused ---------------------------------------------------------------------------------------------------


def test_a_rule_that_leaves_a_choice_says_so(world):
    settings(world, "workload: {address_rule: {interface: eth1}}\n")
    world.vm.join(world.bundle)
    found = poll.until("the choice is named", lambda: item(world, "host"))
    assert found["id"] == "HWS-AR-003", found
    assert "198.51.100.7 (eth1), 198.51.100.8 (eth1)" in found["detail"], found
    world.vm.leave()


def test_a_group_that_the_plane_does_not_know_is_named(world):
    settings(world, "workload: {group: nobody}\n")
    world.vm.join(world.bundle)
    found = poll.until("the refusal is told", lambda: item(world, "registration"), 15)
    assert found["id"] == "HWS-RG-003" and "demo/nobody" in found["detail"], found
    assert "no workload group demo/nobody" in told(world)["refusal"]["answer"]
    assert world.plane.get("/workloads") == []


def test_it_is_taken_as_soon_as_the_group_is_there(world):
    world.plane.change(lambda data: data["groups"].append({**data["groups"][0], "name": "nobody"}))
    world.vm.wait("REGISTERED", timeout=30)
    assert row(world)["name"].startswith("nobody-")
    assert "refusal" not in told(world)
    world.vm.leave()
    world.plane.change(lambda data: data["groups"].pop())
    poll.until("the row is gone", lambda: world.plane.get("/workloads") == [], 15)


# -- the address, and IPv6 alone -----------------------------------------------------------------------------------


def test_an_ipv6_host_registers_and_is_called_there_although_the_plane_leaves_its_cluster_out(world):
    """istiod's defect: without the cure callers would get 503 for as long as nothing else changes in the mesh."""
    settings(world, "workload: {address_rule: {family: v6}}\n")
    world.plane.faults(missing_inbound=True)
    join(world)
    assert told(world)["inbound_heals"] == 1 and told(world)["inbound_lacks"] == "", told(world)
    metrics = services.curl(world.host, "http://127.0.0.1:15020/stats/prometheus").body
    assert "hawser_inbound_cluster_heals_total 1" in metrics
    world.plane.reset_faults()
    assert row(world)["address"] == facts.VM_IP6
    assert told(world)["entry"] == row(world)["name"]
    with MeshCaller(world) as caller:
        caller.wait_for(facts.VM_IP6)
        answer = caller.ask("/v6")
        assert answer.status == 200 and services.caller_id(answer) == facts.spiffe(facts.REVIEWS_SA), answer
    world.vm.leave()
    poll.until("the row is gone", lambda: world.plane.get("/workloads") == [], 15)


def test_a_network_decides_and_the_others_are_told_with_their_reason(world):
    settings(
        world,
        f"""
workload:
  address_rule: {{cidr: [10.77.0.0/16, fd77::/16], family: dual}}
  withdraw_wait: {WITHDRAW_WAIT}s
  labels: {{team: blue}}
  locality: r1/z1/s1
  ports: [{{name: web, port: {facts.VM_PORT}}}]
health:
  http: {{path: /health, port: {facts.VM_PORT}}}
  through_proxy: true
  period: 300ms
  failure_threshold: 2
  report_interval: 1s
  services:
    - {{name: web, http: {{path: /health}}}}
    - {{name: rpc, grpc: {{port: {GRPC_PORT}, service: {GRPC_SERVICE}}}}}
    - {{name: db, tcp: {{port: {TCP_PORT}}}}}
    - {{name: job, exec: {{command: [/usr/bin/test, -e, {MARK}]}}}}
""",
    )
    start_services(world)
    join(world)
    registration = told(world)
    assert registration["addresses"] == [facts.VM_IP, facts.VM_IP6]
    assert registration["rule"] == "in 10.77.0.0/16, fd77::/16, both families"
    why = {r["address"]: r["reason"] for r in registration["rejected"]}
    assert why["172.17.0.1"] == why["198.51.100.7"] == "in none of the networks"
    assert row(world)["address"] == facts.VM_IP
    assert row(world)["network"] == registration["network"] == facts.NETWORK
    assert row(world)["labels"]["team"] == registration["labels"]["team"] == "blue"
    shown = world.vm.cli("status", check=False).stdout
    assert f"{facts.VM_IP} as healthy" in shown and "service rpc" in shown, shown


def start_services(world) -> None:
    def write() -> None:
        pathlib.Path(STATES).write_text(f"{GRPC_SERVICE}=SERVING\n")
        pathlib.Path(MARK).touch()

    world.host.call(write)
    argv = [sys.executable, "-I", layout.in_host(layout.REPO / "tests" / "lab" / "programs" / "health_service.py")]
    world.host.popen([*argv, f"127.0.0.1:{GRPC_PORT}", STATES], log="grpc-health.log")
    world.db = services.start_http_app(world.host, "db", f"127.0.0.1:{TCP_PORT}")
    poll.until("the gRPC server listens", lambda: world.host.tcp("127.0.0.1", GRPC_PORT))


# -- health --------------------------------------------------------------------------------------------------------


def health_message(world) -> str:
    found = row(world)
    assert found["healthy"] is False, found
    return found["health_message"]


def test_each_kind_of_probe_is_felt_by_the_plane_and_named(world):
    def expect(name: str, words: str) -> None:
        text = poll.until(f"{name} is told as sick", lambda: health_message(world), 10)
        assert f"{name}: " in text and words in text, text
        assert next(s for s in told(world)["services"] if s["name"] == name)["health"] == "unhealthy"

    def recovered() -> None:
        poll.until("all is well again", lambda: row(world)["healthy"] is True, 10)

    world.host.write(STATES, f"{GRPC_SERVICE}=NOT_SERVING\n")
    expect("rpc", "is not serving")
    world.host.write(STATES, f"{GRPC_SERVICE}=SERVING\n")
    recovered()
    world.host.stop(world.db)
    expect("db", "refused")
    world.db = services.start_http_app(world.host, "db", f"127.0.0.1:{TCP_PORT}")
    recovered()
    world.host.run(["rm", MARK])
    expect("job", "exited with 1")
    world.host.run(["touch", MARK])
    recovered()


def test_the_probe_through_the_proxy_comes_as_a_caller_of_the_mesh(world):
    """An allow-list that leaves the host's own identity out refuses it at the proxy; the direct probe sees nothing."""
    world.plane.allow_callers([facts.REVIEWS_SA])
    text = poll.until("the proxy's refusal is told", lambda: health_message(world), 10)
    assert text == "program: GET /health answered 403", text
    world.plane.allow_callers([facts.REVIEWS_SA, facts.VM_SA])
    poll.until("well again", lambda: row(world)["healthy"] is True, 10)
    world.plane.allow_callers(None)


def test_reports_are_repeated_at_the_interval_and_after_a_reconnect(world):
    before = told(world)["reports"]
    poll.until("two more reports", lambda: told(world)["reports"] >= before + 2, 10)
    opened = world.vm.status()["control_plane"]["streams_opened"]
    world.plane.faults(close_streams="UNAVAILABLE")
    poll.until("another stream", lambda: world.vm.status()["control_plane"]["streams_opened"] > opened, 15)
    # the row may have gone in between, and a new one knows nothing before the report
    poll.until("the report", lambda: (r := row(world))["connections"] == 1 and r["healthy"] is True, 15)
    poll.until("that is told", lambda: item(world, "registration")["state"] == "ok", 5)


# -- hawserd comes and goes ------------------------------------------------------------------------------------------


class Watch:
    """The table's row, looked at all the time."""

    def __init__(self, world) -> None:
        self._world, self._over = world, threading.Event()
        self.seen: list[tuple[str, object]] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(0.03):
            rows = self._world.plane.get("/workloads")
            now = (rows[0]["name"], rows[0]["healthy"]) if len(rows) == 1 else ("", len(rows))
            if not self.seen or self.seen[-1] != now:
                self.seen.append(now)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._over.set()
        self._thread.join(10)


def test_a_restart_of_hawserd_is_no_withdrawal_even_if_probes_begin_late(world):
    grace(world, "10s")  # istiod's
    text = world.host.read(SETTINGS)
    settings(world, text.replace("  failure_threshold: 2", "  failure_threshold: 2\n  initial_delay: 1500ms"))
    with MeshCaller(world) as caller, Watch(world) as watch:
        caller.wait_for(facts.VM_IP)
        load = caller.load("restart", rate=50)
        for how in (world.vm.stop_agent, world.vm.kill_agent):
            how()
            world.vm.start_agent()
            world.vm.wait("REGISTERED", timeout=20)
            load.more(20)
        report = load.stop()
    assert report.failed == 0, report.describe_failures()
    assert len(watch.seen) == 1 and watch.seen[0][1] is True, watch.seen
    settings(world, text)
    grace(world, "500ms")


def test_leave_withdraws_first_and_serves_until_callers_have_heard(world):
    with MeshCaller(world) as caller:
        caller.wait_for(facts.VM_IP)
        load = caller.load("leave", rate=100)
        load.more(50)
        gone: list[float] = []
        begin = time.monotonic()
        leaving = world.host.popen([f"{layout.BIN_IN_HOST}/hawser", "leave"], log="leave.log")
        poll.until("callers have no endpoint", lambda: not caller.endpoints(), 10, every=0.005)
        gone.append(time.monotonic() - begin)
        report = load.stop()
        assert leaving.wait(30) == 0, (world.host.log_dir / "leave.log").read_text()
        took = time.monotonic() - begin
        # without an endpoint Envoy answers 503 by itself: that is the service's end, not a lost request
        lost = report.failed - caller.without_endpoint()
    assert lost == 0, report.describe_failures()
    assert gone[0] < WITHDRAW_WAIT <= took, f"callers knew after {gone[0]:.2f} s, the host left after {took:.2f} s"
    shown = (world.host.log_dir / "leave.log").read_text()
    assert "serving on until callers have heard" in shown and "left the mesh" in shown, shown


def test_nothing_of_it_is_left(world):
    steps.poll.until("the row is gone", lambda: world.plane.get("/workloads") == [], 20)
    assert world.vm.status()["state"] == "not_joined"
