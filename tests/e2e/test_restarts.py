# SPDX-License-Identifier: Apache-2.0
"""Hawser's own programs end and come back; the host's traffic doesn't notice."""

from __future__ import annotations

import pytest

from lab import facts, poll, services, steps

pytestmark = pytest.mark.incremental


def proxy_pid(world) -> int:
    return world.vm.status()["proxy"]["pid"]


def test_joins(world):
    steps.join(world)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_hawserd_comes_back_and_adopts_the_proxy(world, how):
    before = proxy_pid(world)
    with world.traffic() as traffic:
        traffic.more(20)
        world.vm.stop_agent() if how == "stop" else world.vm.kill_agent()
        traffic.more(20)
        world.vm.start_agent()
        world.vm.wait("REGISTERED", timeout=20)
        traffic.more(20)
        traffic.finish()
    assert proxy_pid(world) == before
    assert world.vm.status()["proxy"]["adopted"] is True


def test_a_dead_proxy_is_started_again(world):
    before = proxy_pid(world)
    world.host.run(["kill", "-9", str(before)])
    poll.until("another proxy is LIVE", lambda: proxy_pid(world) not in (0, before) and steps_ok(world), timeout=20)


def test_rules_that_went_with_the_broker_are_applied_again(world):
    world.vm.broker.kill()
    world.vm.broker.wait(5)
    assert "hawser {" not in world.host.run(["nft", "list", "ruleset"]).stdout  # the kernel fails open
    world.vm.start_broker()
    poll.until("interception is back", lambda: "inet hawser {" in world.host.run(["nft", "list", "ruleset"]).stdout, timeout=10)
    poll.until("registered as before", lambda: steps_ok(world), timeout=20)


def test_envoys_descriptors_stay_few(world):
    """A probe that the proxy passes on to itself would eat them up within seconds."""
    listed = world.host.run(["sh", "-c", f"ls /proc/{proxy_pid(world)}/fd | wc -l"])
    assert int(listed.stdout) < 200


def test_without_a_proxy_outbound_is_let_go_and_inbound_stays_closed(world):
    port, store = 4007, "/var/lib/hawser/proxy/bin"
    server = services.start_banner_server(world.outside, port)
    world.host.write("/etc/hawser/conf.d/60-failure.yaml", "interception: {on_failure: {max_open: 4s}}\n")
    world.vm.cli("intercept", "apply")
    before = proxy_pid(world)
    world.host.run(["mv", f"{store}/current", f"{store}/hidden"])
    world.host.run(["kill", "-9", str(before)])

    def direct() -> bool:
        ours, seen = services.banner(world.host, facts.OUTSIDE_IP, port)
        return ours == seen

    poll.until("outbound goes direct", direct, timeout=20)
    plain = services.curl(world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/")
    assert plain.status == 0, "inbound is open without the proxy that checks who calls"
    item = next(i for i in world.vm.status()["items"] if i["name"] == "interception")
    assert item["id"] == "HWS-IC-003", item
    poll.until("outbound is refused after its time", lambda: not world.host.tcp(facts.OUTSIDE_IP, port), 10)
    poll.until("that is told", lambda: any(i["id"] == "HWS-IC-009" for i in world.vm.status()["items"]), 5)
    assert "open for at most 4 s; closed after that 1 time" in world.vm.cli("intercept", "status").stdout
    world.host.run(["mv", f"{store}/hidden", f"{store}/current"])
    poll.until("in the mesh again", lambda: steps_ok(world), timeout=30)
    assert not direct()
    world.outside.stop(server)


def test_leaves(world):
    world.vm.leave()
    assert world.vm.status()["state"] == "not_joined"


def steps_ok(world) -> bool:
    answer = services.curl(world.host, f"http://{facts.REVIEWS_HOST}/")
    return answer.status == 200 and world.vm.status()["state"] == "ok"
