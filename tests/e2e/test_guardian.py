# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What the broker does alone when hawserd and the proxy are both gone. Its times are shortened, nothing else."""

from __future__ import annotations

import json
import signal
import time

import pytest

from lab import facts, poll
from lab.broker_scene import GOOD, PEER, PEER6, Scene, end, envoy, live, start
from lab.broker_wire import Refused, message
from lab.network import Lab

__all__ = ["envoy"]  # a fixture

WAIT, BIND = 1.0, 3.0
OPTIONS = ("--guardian-wait", f"{WAIT * 1000:.0f}", "--guardian-live", f"{BIND * 1000:.0f}")
VM = facts.VM_IP


def listener(port: int, address: str) -> dict:
    """Answers as the scene's own servers do."""
    answer = {
        "name": "answer",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config",
            "response": {"inline_string": f"{port}\n"},
        },
    }
    return {
        "name": f"{address}-{port}",
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [{"filters": [answer]}],
    }


SERVING = {
    **GOOD,
    "static_resources": {"listeners": [listener(port, a) for port in (15001, 15006) for a in ("0.0.0.0", "::")]},
}


@pytest.fixture(scope="module")
def scene():
    with Lab() as lab:
        made = Scene(lab)
        made.vm.stop(made.hawser.broker)
        made.hawser.start_broker(*OPTIONS)
        yield made


@pytest.fixture(autouse=True)
def nothing_left(scene):
    yield
    scene.ask("remove")
    for generation in scene.observe().generations:
        if generation.running:
            scene.ask("signal", generation=generation.name, signal=signal.SIGKILL)
        scene.ask("reap", generation=generation.name, wait_ms=5000)
    scene.start_servers(scene.vm)
    assert scene.ruleset() == ""
    assert not scene.vm.exists("/var/lib/hawser/proxy/last_good.pb")


def guardian(scene):
    return scene.observe().guardian


def confirmed(scene, **policy) -> str:
    fields = {"on_failure": message("FailurePolicy", **policy)} if policy else {}
    done = scene.ask("plan", intent=scene.intent(), confirm_seconds=60, **fields).plan
    scene.ask("confirm", digest=done.digest)
    return done.digest


def serve(scene) -> str:
    """A proxy that needs nobody, in place of the scene's stand-in for it."""
    scene.start_servers(scene.vm, without=("15001", "15006"))
    start(scene, bootstrap=json.dumps(SERVING).encode())
    poll.until("the proxy is LIVE", lambda: live(scene))
    return confirmed(scene)


def lose_proxy(scene) -> None:
    """The proxy of these tests is Envoy, which is guarded, and a stand-in which has its listeners."""
    [generation] = [g for g in scene.observe().generations if g.running]
    scene.vm.run(["kill", "-9", str(generation.pid)])
    scene.start_servers(scene.vm, without=("15001", "15006"))


def stand_in(scene, **policy) -> str:
    start(scene)
    poll.until("the proxy is LIVE", lambda: live(scene))
    return confirmed(scene, **policy)


def until_policy(scene, timeout: float = WAIT + BIND + 20):
    poll.until("the policy is in force", lambda: guardian(scene).state == "policy", timeout)
    return guardian(scene)


def test_the_last_good_proxy_is_started_again_and_interception_goes_on(scene, envoy):
    digest = serve(scene)
    before = scene.observe().generations[0].pid
    assert scene.reached((PEER, 80), (PEER6, 80)) == ["15001", "15001"]
    starts = guardian(scene).cold_starts
    scene.vm.run(["kill", "-9", str(before)])
    begun = time.monotonic()
    poll.until("the proxy serves again", lambda: guardian(scene).detail == "the last good proxy serves", timeout=15)
    assert time.monotonic() - begun > WAIT * 0.8
    observed = scene.observe()
    assert (observed.active, observed.confirmed, observed.digest) == (True, True, digest)
    assert [g.pid for g in observed.generations if g.running] != [before]
    assert scene.reached((PEER, 80), (PEER6, 80)) == ["15001", "15001"]
    assert scene.reached((VM, 80), host=scene.peer) == ["15006"]
    assert observed.guardian.cold_starts == starts + 1


def test_a_proxy_that_does_not_come_up_leads_to_the_failure_policy(scene, envoy):
    stand_in(scene)
    starts, policies = guardian(scene).cold_starts, guardian(scene).policies
    lose_proxy(scene)
    view = until_policy(scene)
    assert "HWS-BR-052" in view.detail
    assert (view.cold_starts, view.policies) == (starts + 1, policies + 1)
    assert not scene.observe().active
    assert scene.reached((PEER, 80), (PEER6, 80)) == ["80", "80"]  # outbound goes direct
    refused = scene.reached((VM, 80), (facts.VM_IP6, 8080), host=scene.peer)
    assert refused == ["refused"] * 2
    assert scene.reached((VM, 22), (VM, 15020), (facts.VM_IP6, 22), host=scene.peer) == ["22", "15020", "22"]
    time.sleep(WAIT * 2)  # one start an outage: this is how long another would take
    assert guardian(scene).cold_starts == starts + 1


def test_refused_inbound_cannot_be_taken_by_who_binds_the_proxys_port(scene, envoy):
    stand_in(scene)
    lose_proxy(scene)
    until_policy(scene)
    scene.start_servers(scene.vm)  # with 15006
    assert scene.reached((VM, 80), host=scene.peer) == ["refused"]


def test_hawserd_that_comes_back_ends_the_policy(scene, envoy):
    stand_in(scene)
    lose_proxy(scene)
    until_policy(scene)
    scene.start_servers(scene.vm)
    scene.ask("lease")
    view = guardian(scene)
    assert view.state == "watching" and view.lease_alive
    confirmed(scene)
    assert scene.observe().active
    assert scene.reached((PEER, 80)) == ["15001"]


def test_a_policy_can_close_outbound_and_open_inbound(scene, envoy):
    stand_in(scene, inbound_closed=False, outbound_closed=True)
    lose_proxy(scene)
    until_policy(scene)
    assert scene.reached((PEER, 80), (PEER6, 80), (PEER, 22)) == ["refused"] * 2 + ["22"]
    assert scene.reached((PEER, 80), uid=facts.UID_AGENT) == ["80"]
    assert scene.reached((VM, 80), host=scene.peer) == ["80"]


def test_a_live_lease_leaves_it_to_hawserd(scene, envoy):
    stand_in(scene)
    starts = guardian(scene).cold_starts
    lose_proxy(scene)
    end_at = time.monotonic() + 3 * WAIT
    while time.monotonic() < end_at:
        scene.ask("lease")
        time.sleep(WAIT / 5)
    assert guardian(scene).cold_starts == starts and guardian(scene).state == "watching"
    until_policy(scene)  # and when it's no longer renewed


def test_a_live_proxy_needs_no_lease(scene, envoy):
    stand_in(scene)
    scene.ask("lease")
    time.sleep(WAIT * 2)  # the lease is void
    view = guardian(scene)
    assert view.state == "watching" and not view.lease_alive
    assert scene.reached((PEER, 80)) == ["15001"]


def test_after_a_release_a_proxy_that_ends_is_not_started_again(scene, envoy):
    stand_in(scene)
    starts = guardian(scene).cold_starts
    scene.ask("lease")
    scene.ask("lease", release=True)
    lose_proxy(scene)
    view = until_policy(scene)
    assert view.cold_starts == starts


def test_without_confirmed_interception_nothing_is_started(scene, envoy):
    start(scene)
    poll.until("the proxy is LIVE", lambda: live(scene))
    assert end(scene).ended
    time.sleep(WAIT * 2)
    assert guardian(scene).state == "idle"


def test_outbound_without_a_proxy_is_refused_only_where_that_is_asked_for(scene):
    with pytest.raises(Refused, match="HWS-BR-019"):
        scene.ask("plan", intent=scene.intent(), without_proxy=True)
    closed = message("FailurePolicy", outbound_closed=True)
    scene.ask("plan", intent=scene.intent(), without_proxy=True, on_failure=closed)
    assert scene.reached((PEER, 80)) == ["refused"]
