# SPDX-License-Identifier: Apache-2.0
"""Another binary that fails, and a new proxy that ends: what is started next, and what isn't touched."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import typing

import pytest

from lab import facts, poll, services, steps
from lab.replacing import SLEEPS, STORE, begin_restart, envoys, install_fake, proxy, restart, restarted, wait_until_alone

pytestmark = pytest.mark.incremental

DRAINS = 20  # seconds that a predecessor may stay
STARTS = 12  # until LIVE; a busy machine takes its time
SETTINGS = (f"proxy.parent_shutdown={DRAINS}s", "proxy.drain=2s", f"proxy.start_timeout={STARTS}s", "proxy.canary=1s")
PORT = 5432  # a database, say
KINDS = ("hot-restart", "side-by-side", "planned-cold")


def crashes(why: str) -> str:
    """Serves, and dies some seconds after LIVE, each time: not before it has taken over on a busy machine."""
    return f"""
# for {why}
sh -c "sleep 6; kill -SEGV $$" &
exec {STORE}/REAL/envoy "$@"
"""


def current(world) -> str:
    return world.host.run(["readlink", f"{STORE}/current"]).stdout.strip()


def quarantine(world, digest: str) -> dict[str, typing.Any] | None:
    path = f"{STORE}/{digest}/quarantine.json"
    return json.loads(world.host.read(path)) if world.host.exists(path) else None


def serves(world, digest: str) -> dict[str, typing.Any] | None:
    now = proxy(world)
    return now if now["state"] == "LIVE" and now["binary_sha256"] == digest else None


def flows(world) -> None:
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


def test_joins(world):
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    flows(world)


def test_the_end_of_the_new_one_does_not_cut_what_the_old_one_serves(world):
    before = proxy(world)["pid"]
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(world.outside.call(socket.create_server, (facts.OUTSIDE_IP, PORT)))
        near = stack.enter_context(world.host.call(socket.create_connection, (facts.OUTSIDE_IP, PORT), timeout=5))
        listener.settimeout(5)
        far, _ = listener.accept()
        stack.enter_context(far)
        for end in (near, far):
            end.settimeout(DRAINS + 10)

        def still_open() -> None:
            near.sendall(b"ping")
            assert far.recv(16) == b"ping"

        still_open()
        second = restarted(world, "--hand-over", "side-by-side")["new"]["pid"]
        for lost in (second, None):
            if lost is None:
                lost = proxy(world)["pid"]
            world.host.run(["kill", "-9", str(lost)])
            now = poll.until(
                "another one serves",
                lambda lost=lost: (p := proxy(world))["state"] == "LIVE" and p["pid"] not in (lost, 0) and p,
                15,
                every=0.1,
            )
            assert now["generation"] == "f2e0" and envoys(world) == {before, now["pid"]}, now
            still_open()
        flows(world)
        still_open()
        assert near.recv(16) == b"", "it goes with the old one, so it went through that"
    wait_until_alone(world, proxy(world)["pid"])
    flows(world)


@pytest.mark.parametrize("serve, how", [("exit 3", "ended (exit 3)"), (SLEEPS, f"wasn't LIVE in {STARTS} s")])
def test_a_planned_cold_start_that_fails_goes_back_to_what_served(world, serve, how):
    rollbacks = lambda: services.metric(world.host, 'hawser_proxy_rollbacks_total{cause="hand_over"}')  # noqa: E731
    good, before = proxy(world)["binary_sha256"], rollbacks()
    install_fake(world, serve)
    bad = current(world)
    began = time.monotonic()
    asked = begin_restart(world, "cold.log", "--hand-over", "planned-cold")
    poll.until("nobody listens", lambda: services.metric(world.host, "hawser_proxy_live") == 0, 20, every=0.05)
    assert asked.wait(STARTS + 20) != 0
    poll.until("the binary that served before serves", lambda: serves(world, good), 20, every=0.1)
    flows(world)
    took = time.monotonic() - began
    print(f"served again {took:.1f} s after the restart was asked for")
    assert took < 60
    said = (world.host.log_dir / "cold.log").read_text()
    assert how in said and "is put aside" in said and "what served before is started again" in said, said
    poll.until("it is current again", lambda: current(world) == good, 10)
    assert how in quarantine(world, bad)["reason"]
    assert services.metric(world.host, "hawser_proxy_live") == 1
    assert rollbacks() == before + 1
    assert "what served before" in world.vm.item("proxy")["detail"], world.vm.item("proxy")
    history = world.vm.cli("proxy", "history").stdout
    assert "which failed" in history and "is put aside" in history, history


@pytest.mark.parametrize("kind", KINDS)
def test_a_binary_that_crashes_once_it_serves_has_a_way_back_on_a_young_store(world, kind, record_property):
    world.vm.stop_agent()
    world.host.run(["rm", "-f", f"{STORE}/last-good"])
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=40)
    good = proxy(world)["binary_sha256"]
    install_fake(world, crashes(kind))
    bad = current(world)
    done = restarted(world, "--hand-over", kind)
    began = time.monotonic()
    assert done["hand_over"] == kind and proxy(world)["binary_sha256"] == bad
    poll.until("it's put aside", lambda: quarantine(world, bad), 120, every=0.2)
    poll.until("what served before serves", lambda: serves(world, good), 30, every=0.1)
    flows(world)
    took = time.monotonic() - began
    print(f"{kind}: back on the good binary {took:.1f} s after the bad one took over")
    record_property("back_s", round(took, 1))
    assert took < 120 and current(world) == good
    again = restart(world, "--hand-over", kind, check=False)  # of the current one
    assert again.returncode == 0 or "HWS-PX-021" in again.stderr, again.stderr  # a predecessor may drain still
    assert serves(world, good), "the bad one is tried again only when an operator says so"
    poll.until("one is left", lambda: envoys(world) == {proxy(world)["pid"]}, DRAINS + 15)


def test_leaves(world):
    world.vm.leave()
    assert not envoys(world)
    assert world.vm.status()["state"] == "not_joined"
