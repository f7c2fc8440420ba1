# SPDX-License-Identifier: Apache-2.0
"""A hand-over when the control plane says nothing, with and without what it said before; and twenty wishes for one at
once while certificates change."""

from __future__ import annotations

import json
import subprocess
import time
import typing

import pytest

from lab import generations, layout, poll, services, steps

pytestmark = pytest.mark.incremental

LEAVES = 3
SETTINGS = ("proxy.drain=1s", f"proxy.parent_shutdown={LEAVES}s", "proxy.start_timeout=20s")
WISHES, IN_SECONDS = 20, 5
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def listeners(world) -> set[str]:
    generation = generations.proxy(world)["generation"]
    curl = ["curl", "-sS", "--max-time", "3", "--unix-socket", f"/run/hawser/proxy/{generation}.admin.sock"]
    found = json.loads(world.host.run([*curl, "http://envoy/listeners?format=json"]).stdout)["listener_statuses"]
    return {each["name"] for each in found}


def planned(world) -> dict[str, typing.Any]:
    return json.loads(world.vm.cli("proxy", "restart", "--plan", "--json").stdout)


def test_joins(world):
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


def test_the_new_one_gets_everything_from_the_cache_of_a_silent_plane(world):
    before, named = generations.proxy(world), listeners(world)
    world.plane.faults(hold=True)  # connections stay open, and no byte passes
    try:
        with world.traffic() as traffic:
            traffic.more(20)
            done = generations.restart(world, "")
            assert done["old"]["pid"] == before["pid"] and done["new"]["pid"] == generations.proxy(world)["pid"]
            assert listeners(world) == named and len(named) >= 4
            traffic.more(30)
            generations.wait_alone(world, LEAVES + 15)
            traffic.more(30)
            traffic.finish()
    finally:
        world.plane.reset_faults()


def test_with_an_empty_cache_the_old_one_serves_on(world):
    """hawserd has lost what the plane said, and the plane says nothing: no new one may take over."""
    [pid], named, before = generations.envoys(world), listeners(world), generations.proxy(world)
    world.plane.faults(hold=True, close_streams=True)
    try:
        with world.traffic() as traffic:
            traffic.more(20)
            world.vm.stop_agent()
            world.host.run(["sh", "-c", "rm -rf /var/lib/hawser/xds/*"])
            world.vm.start_agent()
            generations.wait_adopted(world, before["pid"], 15)  # plane or not
            for words in (["status"], ["history"], ["connections"]):
                world.vm.cli("proxy", *words)
            in_force = lambda: world.vm.status()["interception"]["state"] == "active"  # noqa: E731
            poll.until("the rules that were found are left as they are", in_force, 10)
            for kind in ("hot-restart", "side-by-side", "planned-cold"):
                failed = world.vm.cli("proxy", "restart", "--hand-over", kind, check=False)
                assert failed.returncode != 0 and "nobody has said yet" in failed.stderr, (failed.stdout, failed.stderr)
            traffic.more(50)
            assert generations.envoys(world) == [pid]
            assert world.vm.status()["state"] != "ok"
            traffic.finish()
    finally:
        world.plane.reset_faults()
    world.vm.wait("REGISTERED", timeout=60)
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 40, every=0.2)
    assert generations.envoys(world) == [pid] and listeners(world) == named
    done = generations.restart(world, "")  # with a plane that talks it can be replaced
    generations.wait_alone(world, LEAVES + 15)
    assert done["new"]["pid"] == generations.proxy(world)["pid"]


def test_half_a_configuration_is_no_start(world):
    """The plane says a word, so that the host counts as connected, and no more."""
    before, named = generations.proxy(world), listeners(world)
    world.plane.faults(ads_mute=True, first={"type": ENDPOINTS})
    try:
        with world.traffic() as traffic:
            traffic.more(20)
            world.vm.stop_agent()
            world.host.run(["sh", "-c", "rm -rf /var/lib/hawser/xds/*"])
            world.vm.start_agent()
            generations.wait_adopted(world, before["pid"], 20)
            poll.until("the word has come", lambda: world.vm.status()["control_plane"]["connected"], 20, every=0.1)
            plan = planned(world)
            assert not plan["would_proceed"] and plan["refusal"]["id"] == "HWS-PX-035", plan
            for kind in ("hot-restart", "side-by-side", "planned-cold"):
                failed = world.vm.cli("proxy", "restart", "--hand-over", kind, check=False)
                assert "HWS-PX-035" in failed.stderr and "listeners (LDS)" in failed.stderr, failed.stderr
            traffic.more(50)
            assert len(generations.envoys(world)) == 1 and generations.proxy(world)["pid"] == before["pid"]
            assert listeners(world) == named
            metrics = services.curl(world.host, "http://127.0.0.1:15020/metrics").body
            assert 'hawser_proxy_gates_total{gate="snapshot",result="failed"} 3' in metrics
            traffic.finish()
    finally:
        world.plane.reset_faults()
    world.plane.faults(close_streams=True)
    world.vm.wait("REGISTERED", timeout=60)  # it may be that still, by the word that came
    poll.until("the rest has come", lambda: planned(world)["would_proceed"], 40, every=0.2)
    done = generations.restart(world, "")
    generations.wait_alone(world, LEAVES + 15)
    assert done["new"]["pid"] == generations.proxy(world)["pid"]


def test_twenty_wishes_in_five_seconds_are_met_one_by_one(world, record_property):
    hawser = f"{layout.BIN_IN_HOST}/hawser"
    asked: list[subprocess.Popen] = []
    with world.traffic() as traffic, generations.Watcher(world, renew_every=2) as watcher:
        traffic.more(20)
        begin = time.monotonic()
        for _ in range(WISHES):
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            asked.append(world.host.popen([hawser, "proxy", "restart", "--json"], **pipes))
            time.sleep(IN_SECONDS / WISHES)
        lasted = time.monotonic() - begin  # on a busy machine longer than it should
        ended = [(each, *each.communicate(timeout=60)) for each in asked]
        generations.wait_alone(world, LEAVES + 20)
        traffic.more(30)
        traffic.finish()
    done = [out for each, out, _ in ended if each.returncode == 0]
    refused = [error for each, _, error in ended if each.returncode != 0]
    most = 1 + int(lasted / LEAVES) + any(json.loads(out)["hand_over"] != "hot-restart" for out in done)
    assert 1 <= len(done) <= most, f"{len(done)} hand-overs in {lasted:.1f} s, of which each takes {LEAVES} s"
    assert all("HWS-PX-" in error for error in refused), refused
    assert watcher.most_proxies == 2, f"{watcher.most_proxies} proxies at once, in {watcher.looks} looks"
    assert watcher.seen.least_left > 0 and watcher.renewals >= 2 and not watcher.errors, watcher.errors
    shows_newest = lambda cert: cert["presented_serial"] == cert["serial"]  # noqa: E731
    poll.until("the new one shows the newest certificate", lambda: shows_newest(world.vm.cert()), 10)
    record_property("hand_overs", len(done))
    print(f"{len(done)} hand-overs, {len(refused)} refused, {watcher.looks} looks, {watcher.seen.handshakes} handshakes")
