# SPDX-License-Identifier: Apache-2.0
"""`hawser intercept apply, try, confirm, status, verify, drain, remove`, told by what connections do."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess

import pytest

from lab import facts, layout, poll, services, steps
from lab.world import SSH_PORT

pytestmark = pytest.mark.incremental
PORT, ECHO_PORT = 4008, 4010
SETTINGS = "/etc/hawser/conf.d/60-test.yaml"


def direct(world) -> bool:
    ours, seen = services.banner(world.host, facts.OUTSIDE_IP, PORT)
    return ours == seen


def exclude(world, port: int) -> None:
    world.host.write(SETTINGS, f"interception: {{outbound: {{exclude_ports: [{port}]}}}}\n")


def status(world) -> dict:
    return json.loads(world.vm.cli("intercept", "status", "--json").stdout)


def ruleset(world) -> str:
    return world.host.run(["nft", "list", "ruleset"]).stdout


def test_joins(world):
    services.start_banner_server(world.outside, PORT)
    steps.join(world)
    assert not direct(world)


def test_status_says_what_is_in_force_and_why(world):
    seen = status(world)
    assert seen["state"] == "active" and seen["backend"] == "nftables" and seen["backend_reason"], seen
    assert seen["digest"] == seen["confirmed_digest"] and seen["transactions"] >= 1
    assert seen["on_failure"] == {"inbound": "closed", "outbound": "open", "max_open_seconds": 0}
    assert seen["drift"]["found"] == 0 and any(c["purpose"] == "out_redirect" for c in seen["counters"])
    text = world.vm.cli("intercept", "status").stdout
    assert "interception: active, by nftables (" in text and "confirmed" in text and "inbound closed" in text
    assert "chain" in world.vm.cli("intercept", "show").stdout


def test_verify_says_that_all_is_well_and_when_it_is_not(world):
    done = world.vm.cli("intercept", "verify")
    assert "read back" in done.stdout and "out4" in done.stdout and "FAIL" not in done.stdout
    told = json.loads(world.vm.cli("intercept", "verify", "--json").stdout)
    assert told["passed"] and {"out4", "out6", "in4", "in6"} <= {check["name"] for check in told["checks"]}, told


def test_what_others_change_is_healed_and_counted_in_the_metrics(world):
    world.host.run(["nft", "flush", "ruleset"])
    poll.until("healed", lambda: status(world)["drift"]["healed"] >= 1, timeout=5)
    assert not direct(world)
    text = world.vm.cli("intercept", "status").stdout
    assert "by nft: gone" in text, text

    def counted() -> bool:
        metrics = services.curl(world.host, "http://127.0.0.1:15020/metrics").body
        return "hawser_interception_drift_healed_total 1" in metrics

    poll.until("it's counted", counted, timeout=5)


def test_a_plan_that_would_lock_the_caller_out_is_refused(world):
    before = status(world)["digest"]
    exclude(world, PORT)
    connection = {"SSH_CONNECTION": f"{facts.OUTSIDE_IP} 50000 {facts.VM_IP} {facts.VM_PORT}"}
    done = world.vm.cli("intercept", "try", check=False, env=connection)
    assert done.returncode == 78 and "HWS-BR-035" in done.stderr and f"{facts.VM_IP}:{facts.VM_PORT}" in done.stderr, done
    assert len(done.stderr.strip().splitlines()) == 1
    assert status(world)["digest"] == before and not direct(world)


def test_bad_settings_and_bad_times_change_nothing(world):
    before = status(world)["digest"]
    world.host.write(SETTINGS, "interception: {outbound: {exclude_ports: [70000]}}\n")
    done = world.vm.cli("intercept", "apply", check=False)
    assert done.returncode == 78 and "60-test.yaml:1:" in done.stderr, done
    exclude(world, PORT)
    for time in ("0s", "2h", "soon"):
        assert world.vm.cli("intercept", "try", "--revert-after", time, check=False).returncode != 0
    assert status(world)["digest"] == before and not direct(world)


def test_a_try_reverts_by_the_broker_alone(world):
    connection = {"SSH_CONNECTION": f"{facts.OUTSIDE_IP} 50000 {facts.VM_IP} {SSH_PORT}"}
    world.vm.cli("intercept", "try", "--revert-after", "8s", env=connection)
    assert direct(world)
    assert status(world)["state"] == "trying"
    assert "HWS-IC-007" in json.dumps(world.vm.status()["items"])
    world.vm.kill_agent()
    assert direct(world)
    poll.until("what was confirmed is back", lambda: not direct(world), timeout=15)
    seen = status(world)  # root, without hawserd
    assert seen["state"] == "active" and seen["confirm_until"] == 0


def test_the_next_hawserd_keeps_what_was_confirmed_and_says_so(world):
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=30)
    assert not direct(world)
    items = json.dumps(world.vm.status())
    assert "HWS-BR-038" in items


def test_an_operator_may_apply_it_for_good(world):
    world.vm.cli("intercept", "apply")
    assert direct(world) and status(world)["confirm_until"] == 0
    assert "HWS-BR-038" not in json.dumps(world.vm.status())
    again = status(world)["transactions"]
    world.vm.cli("intercept", "apply")
    assert status(world)["transactions"] == again, "the same again changes nothing"


def test_a_try_that_is_confirmed_stays(world):
    exclude(world, PORT + 1)
    world.vm.cli("intercept", "try", "--revert-after", "8s")
    assert not direct(world)
    world.vm.cli("intercept", "confirm")
    with pytest.raises(AssertionError):
        poll.until("it reverts", lambda: direct(world), timeout=10)
    assert status(world)["state"] == "active"
    done = world.vm.cli("intercept", "confirm", check=False)
    assert done.returncode == 78 and "HWS-IC-006" in done.stderr


def test_a_try_outlives_a_hawserd_and_is_not_confirmed_by_the_next(world):
    exclude(world, PORT)
    world.vm.cli("intercept", "try", "--revert-after", "12s")
    world.vm.kill_agent()
    world.vm.start_agent()
    poll.until("it's trying", lambda: world.vm.status()["interception"]["state"] == "trying", timeout=15)
    poll.until("what was confirmed is back", lambda: not direct(world), timeout=19)
    world.vm.wait("REGISTERED", timeout=30)
    exclude(world, PORT + 1)


@contextlib.contextmanager
def long_lived(world):
    server = world.outside.popen(services.program("port_server", str(ECHO_PORT)), stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "up\n"
    client = world.host.call(socket.create_connection, (facts.OUTSIDE_IP, ECHO_PORT), 5)
    try:
        assert client.recv(16).decode().strip() == str(ECHO_PORT)
        yield client
    finally:
        client.close()
        world.outside.stop(server)


def echoes(client: socket.socket) -> bool:
    client.sendall(b"ping")
    return client.recv(4096).endswith(b"ping")


def test_drain_lets_old_connections_end_and_new_ones_go_direct(world):
    with long_lived(world) as client:
        draining = world.host.popen([f"{layout.BIN_IN_HOST}/hawser", "intercept", "drain", "--time", "60s"])
        poll.until("new ones go direct", lambda: direct(world), timeout=5)
        assert echoes(client) and draining.poll() is None
        assert status(world)["state"] == "draining"
    assert draining.wait(10) == 0, "it ends with the last connection"
    assert ruleset(world) == ""
    told = world.vm.status()
    assert told["interception"]["state"] == "drained" and "HWS-IC-008" in json.dumps(told["items"])


def test_what_is_drained_stays_so_until_apply(world):
    with pytest.raises(AssertionError):
        poll.until("it's intercepted", lambda: not direct(world), timeout=3)
    world.vm.cli("intercept", "apply")
    assert not direct(world)
    world.vm.wait("REGISTERED", timeout=20)


def test_another_meshs_rules_are_named_and_replaced_on_demand(world):
    theirs = (
        ["-N", "ISTIO_OUTPUT"],
        ["-A", "ISTIO_OUTPUT", "-p", "tcp", "-d", "203.0.113.0/24", "-j", "REDIRECT", "--to-ports", "15099"],
        ["-A", "OUTPUT", "-j", "ISTIO_OUTPUT"],
    )
    for words in theirs:
        world.host.run(["iptables-nft", "-t", "nat", *words])
    exclude(world, 4999)  # another plan than the one in force
    refused = world.vm.cli("intercept", "apply", check=False)
    assert refused.returncode != 0 and "HWS-NF-054" in refused.stderr and "Istio" in refused.stderr, refused.stderr
    assert "--takeover" in refused.stderr and "ISTIO_OUTPUT" in ruleset(world)
    world.vm.cli("intercept", "apply", "--takeover")
    assert "ISTIO_OUTPUT" not in ruleset(world) and not direct(world)
    world.host.run(["nft", "delete", "table", "ip", "nat"])  # iptables-nft's own, empty


def test_remove_proves_it_also_beside_a_living_hawserd(world):
    done = world.vm.cli("intercept", "remove")
    assert done.stdout.count("  ok ") == 10 and "nftables tables" in done.stdout, done.stdout
    assert ruleset(world) == "" and direct(world)


def test_remove_works_without_a_broker(world):
    poll.until("a proxy again", lambda: world.vm.cli("intercept", "apply", check=False).returncode == 0, timeout=30)
    assert not direct(world)
    world.vm.kill_agent()
    world.vm.broker.kill()
    world.vm.broker.wait(5)
    assert ruleset(world) != "", "inbound fails closed, so its rules are still there"
    world.vm.cli("intercept", "remove")
    assert ruleset(world) == ""
    world.vm.start_broker()
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=40)


def test_leaves_without_a_trace(world):
    world.host.run(["rm", SETTINGS])
    steps.leave(world)
