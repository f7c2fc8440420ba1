# SPDX-License-Identifier: Apache-2.0
"""A host that boots while its control plane is away comes up from the last good configuration."""

from __future__ import annotations

import json
import os
import typing

import pytest

from lab import facts, poll, services, steps

pytestmark = pytest.mark.incremental

FOLDER = "/var/lib/hawser/xds"
OVERRIDE = "/etc/hawser/conf.d/60-snapshot.yaml"
EXTRA = "extra.demo.svc.cluster.local"
# of a start with the plane, which is given this long to answer before one without it begins
HEAD_START, SLACK = 0.3, 3


def item(world, name: str = "snapshot") -> dict[str, typing.Any]:
    return next((i for i in world.vm.status()["items"] if i["name"] == name), {})


def events(world) -> dict[str, dict[str, typing.Any]]:
    return {event["name"]: event for event in world.vm.status()["events"]}


def listed(world) -> dict[str, typing.Any]:
    done = world.vm.cli("xds", "snapshot", "list", "--json", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def names(world, kind: str) -> set[str]:
    shown = json.loads(world.vm.cli("xds", "snapshot", "show", kind, "--json").stdout)
    return {resource["name"] for resource in shown["resources"]}


def power_off(world) -> None:
    """Nothing of Hawser runs any more, and no rule is left: as after a power cut."""
    pid = world.vm.status().get("proxy", {}).get("pid", 0)
    world.vm.kill_agent()
    world.vm.broker.kill()
    world.vm.broker.wait(5)
    if pid:
        world.host.run(["kill", "-9", str(pid)], check=False)
        poll.until("the proxy is gone", lambda: not world.host.exists(f"/proc/{pid}"), 5)
    # The kernel isn't off, so what outlives the broker there is taken out here.
    for table in ("hawser_stays", "hawser_anchor"):
        world.host.run(["nft", "delete", "table", "inet", table], check=False)
    assert "hawser" not in world.host.run(["nft", "list", "ruleset"]).stdout


def boot(world) -> None:
    world.vm.start_broker()
    world.vm.start_agent()


def proxy_ready_after(world) -> float:
    """Seconds from hawserd's start to PROXY_READY."""
    world.vm.wait("PROXY_READY", timeout=20)
    return events(world)["PROXY_READY"]["since_start_ms"] / 1000


def reaches_reviews(world) -> bool:
    """Through the proxy by mTLS: no route leads to that address."""
    answer = services.curl(world.host, f"http://{facts.REVIEWS_HOST}/", 2)
    return answer.status == 200 and services.caller_id(answer) == facts.spiffe(facts.VM_SA)


def status_of(world, port: int) -> int:
    return services.curl(world.mesh, world.reviews.url(port)).status


def is_plain(world) -> bool:
    """As if Hawser weren't there."""
    answer = services.curl(world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/")
    return answer.status == 200 and "hawser {" not in world.host.run(["nft", "list", "ruleset"]).stdout


def test_what_the_proxy_accepted_is_kept(world):
    world.plane.change(
        lambda data: data["services"].append(
            {"host": EXTRA, "vip": "10.77.100.11", "service_account": facts.REVIEWS_SA, "ports": [{"number": 80}],
             "endpoints": [{"address": facts.MESH_IP, "port": facts.REVIEWS_MTLS_PORT}]}
        )
    )  # fmt: skip
    steps.join(world)
    now = poll.until("a confirmed snapshot", lambda: (found := listed(world)).get("confirmed") and found, 20)
    kinds = {entry["type"].rpartition(".")[2]: entry for entry in now["types"]}
    assert set(kinds) >= {"Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"}, kinds
    assert all(entry["resources"] > 0 and entry["bytes"] > 0 for entry in kinds.values()), kinds
    assert any(EXTRA in name for name in names(world, "Cluster"))
    cluster = next(name for name in names(world, "Cluster") if EXTRA in name)
    shown = world.vm.cli("xds", "snapshot", "show", "Cluster", cluster).stdout
    assert f'"{cluster}"' in shown, shown
    missing = world.vm.cli("xds", "snapshot", "show", "Cluster", "nowhere", check=False)
    assert missing.returncode == 66 and "HWS-SN-008" in missing.stderr, missing
    modes = world.host.run(["sh", "-c", f"stat -c '%a %u' {FOLDER} {FOLDER}/*"]).stdout.split("\n")
    assert modes[0] == f"700 {facts.UID_AGENT}" and set(modes[1:-1]) == {f"600 {facts.UID_AGENT}"}, modes


def test_what_the_proxy_rejects_is_not_kept(world):
    before = listed(world)["as_of"]
    world.plane.faults(bad_listener=True)
    poll.until("the proxy rejects it", lambda: item(world, "proxy-config").get("id") == "HWS-XDS-012", 15)
    world.plane.allow_callers([facts.REVIEWS_SA])  # something that it accepts comes after that
    poll.until("ratings is denied", lambda: status_of(world, world.reviews.RATINGS) == 403, 15)
    world.plane.allow_callers(None)
    poll.until("ratings is let in", lambda: status_of(world, world.reviews.RATINGS) == 200, 15)
    poll.until("a later snapshot", lambda: listed(world)["as_of"] != before, 20)
    assert names(world, "Listener") and "devmesh-bad" not in names(world, "Listener")
    world.plane.faults(bad_listener=False)
    poll.until("the proxy takes all of it", lambda: item(world, "proxy-config").get("state") == "ok", 15)


def test_a_boot_without_the_plane_is_as_fast_as_with_it(world):
    power_off(world)
    boot(world)
    with_plane = proxy_ready_after(world)
    world.vm.wait("REGISTERED", timeout=20)
    poll.until("kept again", lambda: listed(world).get("confirmed"), 10)

    world.plane.stop()
    power_off(world)
    boot(world)
    without = proxy_ready_after(world)
    world.vm.wait("INTERCEPTING", timeout=20)
    print(f"PROXY_READY after {with_plane:.2f} s with the plane, {without:.2f} s without it")
    # where a start takes long, so does what else the machine does in between
    assert without <= with_plane + HEAD_START + max(SLACK, with_plane)

    assert poll.until("requests reach the mesh", lambda: reaches_reviews(world), 10)
    assert status_of(world, world.reviews.FRESH) == 200, "reviews reaches the VM by mTLS"
    plain = services.curl(world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/")
    assert plain.status == 0, "plaintext is let in without the plane"


def test_it_says_so(world):
    now = world.vm.status()
    assert now["state"] == "degraded"
    told = item(world)
    assert told["id"] == "HWS-SN-001" and told["detail"].startswith("serving last good from 20"), told
    assert "serving last good from 20" in now["summary"], now["summary"]
    reached = events(world)
    assert "last good" in reached["CONTROL_PLANE_CONNECTED"]["passed_over"], reached
    assert "INTERCEPTING" in reached and "REGISTERED" not in reached
    assert "passed over" in world.vm.cli("status", check=False).stdout
    relay = json.loads(world.vm.cli("xds", "status", "--json").stdout)
    assert relay["serves"] == "snapshot" and relay["snapshot"]["serving"], relay
    assert {t["type"].rpartition(".")[2] for t in relay["types"] if t["from_snapshot"]} >= {"Cluster", "Listener"}
    assert "it is served" in world.vm.cli("xds", "status").stdout


def test_a_hawserd_that_comes_back_without_the_plane_adopts_proxy_and_rules(world):
    pid = world.vm.status()["proxy"]["pid"]
    world.vm.kill_agent()
    world.vm.start_agent()
    world.vm.wait("INTERCEPTING", timeout=20)
    assert world.vm.status()["proxy"]["pid"] == pid
    assert reaches_reviews(world)


def test_the_plane_that_comes_back_corrects_it_without_a_lost_request(world):
    def edit(data: dict[str, typing.Any]) -> None:
        data["services"] = [service for service in data["services"] if service["host"] != EXTRA]
        data["groups"][0].update(allow=[facts.REVIEWS_SA])

    world.plane.change(edit)
    with world.traffic() as traffic:
        traffic.more(10)
        world.plane.start(world.mesh)
        world.vm.wait("REGISTERED", timeout=40)
        poll.until("what was changed is in force", lambda: status_of(world, world.reviews.RATINGS) == 403, 15)
        traffic.more(20)
        traffic.finish()
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok" and item(world)["state"] == "ok", 10)
    poll.until("what was removed is gone", lambda: not any(EXTRA in name for name in names(world, "Cluster")), 15)
    world.plane.allow_callers(None)
    poll.until("ratings is let in", lambda: status_of(world, world.reviews.RATINGS) == 200, 15)


def damage(world, pattern: str) -> None:
    """One bit in the middle."""
    script = (
        "import glob,sys; p=glob.glob(sys.argv[1])[0]; f=open(p,'r+b'); d=bytearray(f.read());"
        " d[len(d)//2]^=1; f.seek(0); f.write(d)"
    )
    world.host.run(["python3", "-c", script, f"{FOLDER}/{pattern}"])


def test_a_damaged_snapshot_is_put_aside_and_the_host_works_as_without_hawser(world):
    world.plane.stop()
    power_off(world)
    damage(world, "Listener.*.rec")
    boot(world)
    poll.until("it's told that it isn't used", lambda: "can't be used" in item(world).get("detail", ""), 10)
    assert item(world)["id"] == "HWS-SN-002", item(world)
    assert is_plain(world) and "PROXY_READY" not in events(world)
    kept = world.host.call(os.listdir, FOLDER)
    assert any(name.startswith("Listener.") and ".damaged-" in name for name in kept), kept
    world.plane.start(world.mesh)
    world.vm.wait("REGISTERED", timeout=40)
    poll.until("the next one took its place", lambda: item(world)["state"] == "ok" and names(world, "Listener"), 15)


def test_one_that_is_too_old_is_not_used(world):
    poll.until("kept again", lambda: listed(world).get("confirmed"), 10)
    world.host.write(OVERRIDE, "control_plane: {snapshot: {max_age: 0s}}\n")
    world.plane.stop()
    power_off(world)
    boot(world)
    poll.until("it's told", lambda: item(world).get("id") == "HWS-SN-003", 10)
    assert is_plain(world)
    world.host.run(["rm", OVERRIDE])
    power_off(world)
    boot(world)
    world.vm.wait("INTERCEPTING", timeout=20)
    world.plane.start(world.mesh)
    world.vm.wait("REGISTERED", timeout=40)


def test_leaving_erases_it(world):
    steps.leave(world)
    assert not world.host.call(os.listdir, FOLDER)
