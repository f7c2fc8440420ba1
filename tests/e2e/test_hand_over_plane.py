# SPDX-License-Identifier: Apache-2.0
"""A hand-over when the control plane says nothing, with and without what it said before; and twenty wishes for one at
once while certificates change."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest

from lab import generations, layout, poll, steps

pytestmark = pytest.mark.incremental

LEAVES = 3
SETTINGS = ("proxy.drain=1s", f"proxy.parent_shutdown={LEAVES}s", "proxy.start_timeout=4s")
WISHES, IN_SECONDS = 20, 5


def listeners(world) -> set[str]:
    generation = generations.proxy(world)["generation"]
    curl = ["curl", "-sS", "--max-time", "3", "--unix-socket", f"/run/hawser/proxy/{generation}.admin.sock"]
    found = json.loads(world.host.run([*curl, "http://envoy/listeners?format=json"]).stdout)["listener_statuses"]
    return {each["name"] for each in found}


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
    [pid], named = generations.envoys(world), listeners(world)
    world.plane.faults(hold=True, close_streams=True)
    try:
        with world.traffic() as traffic:
            traffic.more(20)
            world.vm.stop_agent()
            world.host.run(["sh", "-c", "rm -rf /var/lib/hawser/xds/*"])
            world.vm.start_agent()
            begin = time.monotonic()
            failed = world.vm.cli("proxy", "restart", "--json", check=False, timeout=60)
            assert failed.returncode != 0 and re.search("HWS-(PX|MB)-", failed.stderr), (failed.stdout, failed.stderr)
            assert time.monotonic() - begin < 15, "it wasn't given up at its deadline"
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


def test_twenty_wishes_in_five_seconds_are_met_one_by_one(world, record_property):
    hawser = f"{layout.BIN_IN_HOST}/hawser"
    asked: list[subprocess.Popen] = []
    with world.traffic() as traffic, generations.Watcher(world, renew_every=2) as watcher:
        traffic.more(20)
        for _ in range(WISHES):
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            asked.append(world.host.popen([hawser, "proxy", "restart", "--json"], **pipes))
            time.sleep(IN_SECONDS / WISHES)
        ended = [(each, *each.communicate(timeout=60)) for each in asked]
        generations.wait_alone(world, LEAVES + 20)
        traffic.more(30)
        traffic.finish()
    done = [out for each, out, _ in ended if each.returncode == 0]
    refused = [error for each, _, error in ended if each.returncode != 0]
    assert 1 <= len(done) <= 3, f"{len(done)} hand-overs in {IN_SECONDS} s, of which each takes {LEAVES} s"
    assert all("HWS-PX-" in error for error in refused), refused
    assert watcher.most_proxies == 2, f"{watcher.most_proxies} proxies at once, in {watcher.looks} looks"
    assert watcher.seen.least_left > 0 and watcher.renewals >= 2 and not watcher.errors, watcher.errors
    shows_newest = lambda cert: cert["presented_serial"] == cert["serial"]  # noqa: E731
    poll.until("the new one shows the newest certificate", lambda: shows_newest(world.vm.cert()), 10)
    record_property("hand_overs", len(done))
    print(f"{len(done)} hand-overs, {len(refused)} refused, {watcher.looks} looks, {watcher.seen.handshakes} handshakes")
