# SPDX-License-Identifier: Apache-2.0
"""Who else may use the relay, and how: programs that speak xDS, Envoys of either protocol, operators who ask or hold."""

from __future__ import annotations

import json
import typing

import pytest

from lab import facts, greeter, poll, services, steps
from lab.second_envoy import SecondEnvoy

pytestmark = pytest.mark.incremental

BOOTSTRAP = "/etc/hawser/grpc.json"
STRANGER = 65533  # neither the proxy's uid nor of the group


def streams(world, protocol: str) -> list[dict[str, typing.Any]]:
    return [s for s in world.plane.debug()["streams"] if s["protocol"] == protocol]


def set_greeter(world, *ports: int) -> None:
    def edit(data: dict[str, typing.Any]) -> None:
        data["services"] = [s for s in data["services"] if s["host"] != greeter.HOST] + [greeter.service(*ports)]

    world.plane.change(edit)


def add_service(world, name: str) -> str:
    """A new service in the mesh; the cluster that a proxy then has."""
    host = f"{name}.demo.svc.cluster.local"
    one = {"host": host, "ports": [{"number": 81}], "endpoints": []}
    world.plane.change(lambda data: data["services"].append(one))
    return f"outbound|81||{host}"


def test_joins(world):
    for port in (7071, 7072):
        greeter.start(world.mesh, port)
    set_greeter(world, 7071)
    world.vm.join(world.bundle, "proxyless.enabled=true", f"proxyless.group={facts.GID_APP}")
    world.vm.wait("REGISTERED")


# -- a program without a proxy -------------------------------------------------------------------------------------


def test_a_grpc_program_finds_a_service_through_the_relay(world):
    world.vm.cli("xds", "bootstrap", "--grpc", "--output", BOOTSTRAP)
    written = json.loads(world.host.read(BOOTSTRAP))
    assert written["xds_servers"][0]["server_uri"] == "unix:///run/hawser/proxyless.sock"
    assert json.loads(world.vm.cli("xds", "bootstrap", "--grpc").stdout) == written
    with greeter.Program(world.host, BOOTSTRAP) as program:
        poll.until("the program is answered", lambda: program.says("greeter on 7071"), steps.PUSH_TIMEOUT)
        (stream,) = streams(world, "sotw")
        assert stream["workload"] is None, "the program's stream registered the host a second time"
        assert stream["node"] == streams(world, "delta")[0]["node"], "it is the host that asks"
        assert world.vm.status()["control_plane"]["passed_through"] == 1

        set_greeter(world, 7072)
        poll.until("the program follows the endpoint", lambda: program.says("greeter on 7072"), steps.PUSH_TIMEOUT)

        world.plane.stop()
        poll.until("the plane is gone", lambda: not world.vm.status()["control_plane"]["connected"])
        assert program.says("greeter on 7072"), "without the plane the program goes on with what it has"
        world.plane.start(world.mesh)
        set_greeter(world, 7071)
        poll.until("it follows again", lambda: program.says("greeter on 7071"), steps.RECONNECT_TIMEOUT)

        world.vm.restart_agent()
        assert program.says("greeter on 7071"), "without hawserd, too"
        world.vm.wait("REGISTERED")
        set_greeter(world, 7072)
        poll.until("and with its successor", lambda: program.says("greeter on 7072"), steps.RECONNECT_TIMEOUT)
    poll.until("its stream ends with it", lambda: not streams(world, "sotw"))


def test_others_are_refused_at_the_programs_socket_and_programs_at_the_proxys(world):
    with greeter.Program(world.host, BOOTSTRAP, uid=STRANGER) as stranger:
        answer = stranger.ask()
    assert answer.get("error") == "UNAVAILABLE", answer
    sneaky = world.host.read(BOOTSTRAP).replace("proxyless.sock", "xds.sock")
    world.host.write("/etc/hawser/sneaky.json", sneaky)
    with greeter.Program(world.host, "/etc/hawser/sneaky.json") as program:
        answer = program.ask()
    assert answer.get("error") == "UNAVAILABLE", answer
    metrics = services.curl(world.host, "http://127.0.0.1:15020/metrics").body
    for name in ("proxyless", "xds"):
        assert f'hawser_rpc_refused_total{{socket="{name}"}}' in metrics, name
    assert not streams(world, "sotw")


def test_an_envoy_of_the_state_of_the_world_is_passed_through(world):
    with SecondEnvoy(world.vm, "f8e0", api_type="GRPC") as envoy:
        poll.until("it is LIVE", envoy.live, steps.PUSH_TIMEOUT)
        assert len(streams(world, "sotw")) == 1
        cluster = add_service(world, "whole")
        poll.until("it follows the plane", lambda: cluster in envoy.clusters(), steps.PUSH_TIMEOUT)
        assert envoy.stat("listener_manager.lds.update_rejected") == 0
        world.plane.faults(close_streams=True)
        another = add_service(world, "again")
        poll.until("over a reconnect, too", lambda: another in envoy.clusters(), steps.RECONNECT_TIMEOUT)
    assert world.vm.status()["state"] == "ok", "nothing of this is the host's own stream's business"


# -- held back -----------------------------------------------------------------------------------------------------


def test_the_first_listeners_are_withheld_and_envoy_isnt_live_until_they_are_released(world):
    world.vm.cli("xds", "hold", "f8e1", "--first-lds", "--for", "60s", "--reason", "the canary waits")
    with SecondEnvoy(world.vm, "f8e1") as envoy:
        poll.until("it has clusters", lambda: "PassthroughCluster" in envoy.clusters(), steps.PUSH_TIMEOUT)
        poll.until("it waits for listeners", lambda: envoy.state() == "INITIALIZING")
        (held,) = world.vm.status()["control_plane"]["held_back"]
        assert (held["generation"], held["what"], held["reason"]) == ("f8e1", "listeners", "the canary waits")
        assert "the canary waits" in world.vm.cli("status", check=False).stdout
        assert envoy.state() == "INITIALIZING" and not envoy.stat("listener_manager.listener_create_success")
        world.vm.cli("xds", "release", "f8e1")
        poll.until("it is LIVE", envoy.live)
        assert world.vm.status()["control_plane"]["held_back"] == []


def test_an_update_is_withheld_from_one_generation_and_reaches_the_other(world):
    serving = world.vm.status()["proxy"]["generation"]
    with SecondEnvoy(world.vm, "f8e2") as envoy:
        poll.until("it is LIVE", envoy.live, steps.PUSH_TIMEOUT)
        world.vm.cli("xds", "hold", "f8e2", "--for", "10s", "--reason", "the update is being checked")
        cluster = add_service(world, "canary")
        poll.until("the serving one has it", lambda: cluster in serving_clusters(world, serving), steps.PUSH_TIMEOUT)
        assert cluster not in envoy.clusters(), "it was to be withheld"
        # nobody releases it
        poll.until("it gets the update when the time is over", lambda: cluster in envoy.clusters(), 20)
    metrics = services.curl(world.host, "http://127.0.0.1:15020/metrics").body
    assert 'hawser_xds_holds_ended_total{how="expired"} 1' in metrics
    assert 'hawser_xds_holds_ended_total{how="released"} 1' in metrics


def serving_clusters(world, generation: str) -> str:
    socket = f"/run/hawser/proxy/{generation}.admin.sock"
    argv = ["curl", "-sS", "--max-time", "3", "--unix-socket", socket, "http://envoy/clusters"]
    return world.host.run(argv, uid=facts.UID_PROXY, gid=facts.GID_PROXY).stdout


def test_a_hold_that_cant_be_is_refused_in_one_line(world):
    for words in (
        ("f1e0", "--for", "2h", "--reason", "too long"),
        ("f1e0", "--for", "30s", "--reason", "x" * 201),
        ("nonsense", "--for", "30s", "--reason", "no generation"),
    ):
        done = world.vm.cli("xds", "hold", *words, check=False)
        assert done.returncode != 0 and "HWS-XDS-032" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    nothing = world.vm.cli("xds", "release", "f8e1", check=False)
    assert nothing.returncode == 66 and "HWS-XDS-032" in nothing.stderr


# -- questions -----------------------------------------------------------------------------------------------------


def test_debug_types_show_what_the_plane_knows_of_this_host(world):
    syncz = json.loads(world.vm.cli("xds", "debug", "syncz", "--json").stdout)
    assert syncz["type_url"] == "istio.io/debug/syncz"
    (proxy,) = syncz["resources"]
    types = {t["type_url"].rpartition(".")[2]: t["status"] for t in proxy["types"]}
    assert types["Cluster"] == types["Listener"] == "SYNCED", types
    edsz = world.vm.cli("xds", "debug", "edsz").stdout
    assert facts.REVIEWS_HOST in edsz
    json.loads(edsz)
    nobody = world.vm.cli("xds", "debug", "edsz", "--resource", "nobody.demo").stdout
    assert "not connected" in nobody


def test_refusals_and_silence_are_explained(world):
    denied = world.vm.cli("xds", "debug", "registryz", check=False)
    assert denied.returncode == 77 and "HWS-XDS-034" in denied.stderr, denied.stderr
    assert "config_dump, edsz and ndsz" in denied.stderr and denied.stderr.count("\n") == 1
    world.plane.faults(ads_mute=True)
    try:
        silent = world.vm.cli("xds", "debug", "edsz", "--timeout", "1s", check=False)
    finally:
        world.plane.faults(ads_mute=False)
    assert silent.returncode == 75 and "HWS-XDS-035" in silent.stderr, silent.stderr
    poll.until("no question is left behind", lambda: not streams(world, "sotw"))
