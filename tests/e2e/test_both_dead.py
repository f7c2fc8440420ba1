# SPDX-License-Identifier: Apache-2.0
"""hawserd and hawser-broker end together, with the proxy and without it; the host works, and Hawser comes back."""

from __future__ import annotations

import time

import pytest

from lab import facts, poll, services, steps
from lab.fd_store import FdStore
from lab.world import SSH_PORT

pytestmark = pytest.mark.incremental

# hawserd renews its lease every 3 s, so this is the shortest time that a live one keeps.
OPTIONS = ("--guardian-wait", "4000", "--guardian-live", "3000")
ADOPTED_WITHIN = 8.0  # seconds, from hawserd's start
OUTBOUND_PORT = 4008


def proxy_pid(world) -> int:
    return world.vm.status()["proxy"]["pid"]


def works(world) -> bool:
    answer = services.curl(world.host, f"http://{facts.REVIEWS_HOST}/")
    return answer.status == 200 and world.vm.status()["state"] == "ok"


def direct(world, port: int) -> bool:
    ours, seen = services.banner(world.host, facts.OUTSIDE_IP, port)
    return ours == seen


def inbound(world) -> services.Answer:
    return services.curl(world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/")


@pytest.fixture(scope="module")
def store(world):
    with FdStore(world.host) as made:
        yield made


def adopted(world) -> bool:
    return world.vm.status().get("proxy", {}).get("adopted", False)


def test_joins(world, store):
    steps.join(world)
    world.host.stop(world.vm.broker)
    world.vm.start_broker(*OPTIONS, **store.launching())
    poll.until("in the mesh again", lambda: works(world), timeout=20)


def test_a_new_agent_and_a_new_broker_find_the_proxy_and_adopt_it(world, store):
    before = proxy_pid(world)
    with world.traffic() as traffic:
        traffic.more(20)
        world.vm.broker.kill()
        world.vm.kill_agent()
        world.vm.broker.wait(5)
        world.vm.start_broker(*OPTIONS, **store.launching())
        begun = time.monotonic()
        world.vm.start_agent()
        poll.until("the proxy is adopted", lambda: adopted(world), timeout=10)
        took = time.monotonic() - begun
        assert proxy_pid(world) == before
        traffic.more(20)
        world.vm.wait("REGISTERED", timeout=20)
        traffic.finish()
    print(f"adopted in {took:.2f} s")
    assert took <= ADOPTED_WITHIN, f"adopted in {took:.2f} s"


def test_without_hawserd_and_proxy_the_failure_policy_applies(world):
    world.server = services.start_banner_server(world.outside, OUTBOUND_PORT)
    assert not direct(world, OUTBOUND_PORT)
    before = proxy_pid(world)
    world.vm.kill_agent()
    world.host.run(["kill", "-9", str(before)])
    begun = time.monotonic()
    poll.until("outbound goes direct", lambda: direct(world, OUTBOUND_PORT), timeout=15)
    print(f"outbound direct after {time.monotonic() - begun:.1f} s")
    assert inbound(world).status == 0
    ours, seen = services.banner(world.outside, facts.VM_IP, SSH_PORT)
    assert ours == seen, "SSH must always work"
    log = lambda: (world.host.log_dir / "hawser-broker.log").read_text()  # noqa: E731
    poll.until("the log tells it", lambda: "guardian: policy" in log(), timeout=5)
    assert "guardian: starting" in log() and "inbound=refused outbound=open" in log()


def test_hawserd_that_comes_back_brings_the_host_back_into_the_mesh(world):
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=40)
    poll.until("in the mesh again", lambda: works(world) and not direct(world, OUTBOUND_PORT), timeout=20)
    assert inbound(world).status != 200, "plain text from outside isn't let in by an inbound policy of mTLS"
    world.outside.stop(world.server)


def test_leaves(world):
    world.vm.leave()
    assert world.vm.status()["state"] == "not_joined"
    assert not world.host.exists("/var/lib/hawser/proxy/last_good.pb")
