# SPDX-License-Identifier: Apache-2.0
"""The relay's downstream side against a real istiod: a gRPC program, Envoys of both protocols, debug types, holds."""

from __future__ import annotations

import json

import pytest

from interop import manifests
from interop.istiod import IstiodPlane
from lab import facts, fixtures, greeter, poll, services, steps
from lab.second_envoy import SecondEnvoy

pytestmark = [pytest.mark.incremental, pytest.mark.timeout(180)]

BOOTSTRAP = "/etc/hawser/grpc.json"
CREDENTIALS = "/run/secrets-of-programs"


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, programs: None):
    with fixtures.world(request, IstiodPlane(istiod_env={"ISTIO_DUAL_STACK": "true"})) as made:
        yield made


def service(host: str, *ports: int) -> dict:
    """Outside of the mesh, so that nobody expects mTLS; its servers listen on these ports of the mesh host."""
    spec = {
        "hosts": [host],
        "location": "MESH_EXTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": greeter.PORT, "name": "grpc", "protocol": "GRPC"}],
        "endpoints": [{"address": facts.MESH_IP, "ports": {"grpc": port}} for port in ports],
    }
    return manifests._istio("networking", "ServiceEntry", host.partition(".")[0], spec)


def cluster_of(host: str) -> str:
    return f"outbound|{greeter.PORT}||{host}"


def serving_clusters(world) -> str:
    generation = world.vm.status()["proxy"]["generation"]
    socket = f"/run/hawser/proxy/{generation}.admin.sock"
    argv = ["curl", "-sS", "--max-time", "3", "--unix-socket", socket, "http://envoy/clusters"]
    return world.host.run(argv, uid=facts.UID_PROXY, gid=facts.GID_PROXY).stdout


def test_joins(world):
    for port in (7071, 7072):
        greeter.start(world.mesh, port)
    world.plane.kube.apply(service(greeter.HOST, 7071))
    world.host.mkdir(CREDENTIALS, 0o2755, facts.UID_AGENT, facts.GID_APP)
    exports = f"exports: [{{to: {CREDENTIALS}, layout: spiffe, group: '{facts.GID_APP}'}}]\n"
    world.host.write("/etc/hawser/conf.d/60-exports.yaml", exports)
    world.vm.join(world.bundle, "proxyless.enabled=true", f"proxyless.group={facts.GID_APP}")
    world.vm.wait("REGISTERED")


def test_a_grpc_program_finds_a_service_through_the_relay(world):
    world.vm.cli("xds", "bootstrap", "--grpc", "--output", BOOTSTRAP)
    with greeter.Program(world.host, BOOTSTRAP) as program:
        poll.until("the program is answered", lambda: program.says("greeter on 7071"), steps.PUSH_TIMEOUT)
        world.plane.kube.apply(service(greeter.HOST, 7072))
        poll.until("it follows the endpoint", lambda: program.says("greeter on 7072"), steps.PUSH_TIMEOUT)
    entries = [w for w in world.plane.workloads() if w.address == facts.VM_IP]
    assert len(entries) == 1 and entries[0].connected and entries[0].healthy, entries


def test_a_grpc_program_speaks_mtls_with_what_is_exported(world):
    """No proxy on either side: the callee, which holds what istiod issued to reviews, says who called."""
    mine = world.plane.issue(facts.REVIEWS_SA)
    folder = "/run/greeter"
    world.mesh.mkdir(folder, 0o755, facts.UID_APP, facts.GID_APP)
    for name, text in (
        ("private_key.pem", mine.key),
        ("certificates.pem", mine.chain),
        ("ca_certificates.pem", mine.roots),
    ):
        world.mesh.write(f"{folder}/{name}", text, uid=facts.UID_APP, gid=facts.GID_APP)
    greeter.start(world.mesh, 7073, folder)
    host = "sealed.demo.svc.cluster.local"
    world.plane.kube.apply(service(host, 7073))
    policy = {"host": host, "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}
    world.plane.kube.apply(manifests._istio("networking", "DestinationRule", "sealed", policy))
    says = f"greeter on 7073 for {facts.spiffe(facts.VM_SA)}"
    with greeter.Program(world.host, BOOTSTRAP, target=f"xds:///{host}:{greeter.PORT}") as program:
        answers = []
        poll.until("it is answered", lambda: answers.append(program.ask()) or answers[-1].get("said") == says, 30)
        world.vm.renew()
        assert program.says(says)
    with greeter.Program(world.host, BOOTSTRAP, target=f"xds:///{host}:{greeter.PORT}") as program:
        poll.until("with the new certificate, too", lambda: program.ask().get("said") == says, 30)


def test_an_envoy_of_the_state_of_the_world_is_passed_through(world):
    with SecondEnvoy(world.vm, "f8e0", api_type="GRPC") as envoy:
        poll.until("it is LIVE", envoy.live, steps.PUSH_TIMEOUT)
        world.plane.kube.apply(service("whole.demo.svc.cluster.local", 7071))
        wanted = cluster_of("whole.demo.svc.cluster.local")
        poll.until("it follows istiod", lambda: wanted in envoy.clusters(), steps.PUSH_TIMEOUT)


def test_debug_types_show_what_istiod_knows_of_this_host(world):
    syncz = json.loads(world.vm.cli("xds", "debug", "syncz", "--json").stdout)
    assert syncz["type_url"] == "istio.io/debug/syncz"
    ours = [proxy for proxy in syncz["resources"] if proxy["proxy"].endswith(f".{facts.NAMESPACE}")]
    assert ours, syncz
    types = {t["type_url"].rpartition(".")[2]: t["status"] for t in ours[0]["types"]}
    assert types["Cluster"] == types["Listener"] == "SYNCED", types
    edsz = world.vm.cli("xds", "debug", "edsz").stdout
    assert facts.REVIEWS_HOST in edsz
    json.loads(edsz)
    dump = json.loads(world.vm.cli("xds", "debug", "config_dump").stdout)
    assert dump["configs"], "istiod's own view of this proxy's configuration"


def test_istiods_refusals_are_explained(world):
    denied = world.vm.cli("xds", "debug", "registryz", check=False)
    assert denied.returncode == 77 and "HWS-XDS-034" in denied.stderr, denied.stderr
    nobody = world.vm.cli("xds", "debug", "edsz", "--resource", "nobody.demo", check=False)
    assert nobody.returncode == 0 and "not connected" in nobody.stdout, (nobody.stdout, nobody.stderr)


def test_the_first_listeners_are_withheld_and_envoy_isnt_live_until_they_are_released(world):
    world.vm.cli("xds", "hold", "f8e1", "--first-lds", "--for", "60s", "--reason", "the canary waits")
    with SecondEnvoy(world.vm, "f8e1") as envoy:
        poll.until("it has clusters", lambda: "PassthroughCluster" in envoy.clusters(), steps.PUSH_TIMEOUT)
        poll.until("it waits for listeners", lambda: envoy.state() == "INITIALIZING")
        assert not envoy.stat("listener_manager.listener_create_success")
        world.vm.cli("xds", "release", "f8e1")
        poll.until("it is LIVE", envoy.live, steps.PUSH_TIMEOUT)


def test_an_update_is_withheld_from_one_generation_and_reaches_the_other(world):
    with SecondEnvoy(world.vm, "f8e2") as envoy:
        poll.until("it is LIVE", envoy.live, steps.PUSH_TIMEOUT)
        world.vm.cli("xds", "hold", "f8e2", "--for", "60s", "--reason", "the update is being checked")
        world.plane.kube.apply(service("canary.demo.svc.cluster.local", 7071))
        wanted = cluster_of("canary.demo.svc.cluster.local")
        poll.until("the serving one has it", lambda: wanted in serving_clusters(world), steps.PUSH_TIMEOUT)
        assert wanted not in envoy.clusters(), "it was to be withheld"
        world.vm.cli("xds", "release", "f8e2")
        poll.until("and gets it when released", lambda: wanted in envoy.clusters())
    answer = services.curl(world.host, f"http://{facts.REVIEWS_HOST}/after")
    assert answer.status == 200, answer
