# SPDX-License-Identifier: Apache-2.0
"""A real Envoy takes all that devmesh sends, and traffic goes where it should. Hosts are the lab's, rules the simplest."""

from __future__ import annotations

import os
import pathlib
import shutil
import socket
import tempfile
import typing

import pytest

from devmesh import config as configuration
from devmesh import snapshot
from devmesh.envoy_driver import Envoy, SecretServer, bootstrap
from devmesh.plane import DevmeshPlane
from lab import facts, poll, services
from lab.host import Host
from lab.network import Lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

LISTENERS = ("virtualInbound", "virtualOutbound", "0.0.0.0_80", "10.77.100.11_5432")
TCP_VIP, TCP_PORT, MESH_TCP_PORT = "10.77.100.11", 5432, 5433
SECOND_IP, SECOND_IP6 = "10.77.0.21", "fd77::21"
RULES = f"""
table inet control {{
  chain out {{
    type nat hook output priority -100;
    meta skuid {facts.UID_PROXY} return
    ip daddr 127.0.0.6 tcp dport 15009 redirect to :15001
    meta skuid {facts.UID_APP} ip daddr != 127.0.0.0/8 meta l4proto tcp redirect to :15001
    meta skuid {facts.UID_APP} ip6 daddr fd77::/64 meta l4proto tcp redirect to :15001
  }}
  chain in {{
    type nat hook prerouting priority -100;
    iifname "eth0" tcp dport != 22 redirect to :15006
  }}
}}
"""


class Scene:
    plane: DevmeshPlane
    lab: Lab
    mesh: Host
    vm: Host
    outside: Host
    reviews: services.Reviews

    def __init__(self, lab: Lab, directory: pathlib.Path):
        self.lab, self._directory = lab, directory
        self._secrets: list[SecretServer] = []

    def start_envoy(self, host: Host, address: str, api_type: str) -> Envoy:
        directory = pathlib.Path(tempfile.mkdtemp(dir=self._directory))
        shutil.chown(directory, facts.UID_PROXY)
        bundle = directory / "bundle"
        self.plane.write_bundle(bundle)
        self._secrets.append(SecretServer(directory / "sds.sock", self.plane.issue(facts.VM_SA)))
        config = bootstrap(
            token=(bundle / "istio-token").read_text(),
            roots=(bundle / "root-cert.pem").read_text(),
            address=address,
            api_type=api_type,
            directory=directory,
        )
        return Envoy(host, directory, config)

    def close(self) -> None:
        for server in self._secrets:
            server.close()


def add_tcp_service(data: dict[str, typing.Any]) -> None:
    data["services"].append(
        {
            "host": "db.demo.svc.cluster.local",
            "vip": TCP_VIP,
            "mtls": False,
            "ports": [{"number": TCP_PORT, "name": "tcp", "protocol": "TCP"}],
            "endpoints": [{"address": facts.MESH_IP, "port": MESH_TCP_PORT}],
        }
    )


@pytest.fixture(scope="module")
def scene() -> typing.Iterator[Scene]:
    directory = pathlib.Path(tempfile.mkdtemp(prefix="devmesh-envoy-"))
    directory.chmod(0o755)
    plane = DevmeshPlane(grace="200ms", edit=add_tcp_service)
    with Lab() as lab:
        scene = Scene(lab, directory)
        scene.plane = plane
        try:
            scene.mesh = lab.add_host("mesh", facts.MESH_IP, facts.MESH_IP6)
            scene.vm = lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
            scene.outside = lab.add_host("outside", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
            plane.start(scene.mesh)
            scene.reviews = services.Reviews(scene.mesh, plane.issue)
            services.start_banner_server(scene.mesh, MESH_TCP_PORT)
            services.start_vm_app(scene.vm)
            scene.outside.run(["sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=80"])
            services.start_http_app(scene.outside, "outside-app", f"{facts.OUTSIDE_IP}:80", f"[{facts.OUTSIDE_IP6}]:80")
            scene.vm.add_name(facts.REVIEWS_VIP, facts.REVIEWS_HOST)
            scene.vm.run(["nft", "-f", "-"], input=RULES)
            yield scene
        finally:
            scene.close()
            plane.close()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def envoy(scene: Scene) -> Envoy:
    envoy = scene.start_envoy(scene.vm, facts.VM_IP, "DELTA_GRPC")
    envoy.wait_listening(*LISTENERS)
    return envoy


def nacks(scene: Scene) -> dict[str, str]:
    return {t: c["last_nack"] for t, c in scene.plane.debug()["types"].items() if c["nacks"]}


def ok(host: Host, url: str) -> services.Answer:
    answer = services.curl(host, url)
    assert answer.status == 200, f"{url}: {answer.status} {answer.error or answer.body.strip()}"
    return answer


def test_envoy_accepts_everything_and_listens(scene: Scene, envoy: Envoy) -> None:
    poll.until("every type is acknowledged", lambda: _all_acked(scene))
    assert nacks(scene) == {}
    listeners = envoy.listeners()
    assert listeners["virtualOutbound"] == ["0.0.0.0 15001", ":: 15001"]
    assert listeners["virtualInbound"] == ["0.0.0.0 15006", ":: 15006"]
    for address in ("127.0.0.1", "::1"):
        assert scene.vm.tcp(address, 15001) and scene.vm.tcp(address, 15006)


def _all_acked(scene: Scene) -> bool:
    types = scene.plane.debug()["types"]
    return all(types.get(t, {}).get("acks", 0) > 0 for t in snapshot.PUSH_ORDER)


def test_outbound_http_goes_by_name_with_mtls(scene: Scene, envoy: Envoy) -> None:
    answer = ok(scene.vm, f"http://{facts.REVIEWS_HOST}/out")
    assert answer.json["service"] == "reviews"
    assert services.caller_id(answer) == facts.spiffe(facts.VM_SA)


def test_outbound_tcp_goes_by_virtual_address(scene: Scene, envoy: Envoy) -> None:
    _, seen = services.banner(scene.vm, TCP_VIP, TCP_PORT)
    assert facts.VM_IP in seen


@pytest.mark.parametrize("address", [facts.OUTSIDE_IP, f"[{facts.OUTSIDE_IP6}]"])
def test_outbound_to_a_stranger_passes_through(scene: Scene, envoy: Envoy, address: str) -> None:
    assert ok(scene.vm, f"http://{address}/stranger").json["service"] == "outside-app"


@pytest.mark.parametrize("port", [services.Reviews.POOLED, services.Reviews.FRESH, services.Reviews.POOLED6])
def test_inbound_mtls_reaches_the_program_with_the_callers_id(scene: Scene, envoy: Envoy, port: int) -> None:
    answer = ok(scene.mesh, scene.reviews.url(port, "/in"))
    assert answer.json["service"] == "vm-app"
    assert services.caller_id(answer) == facts.spiffe(facts.REVIEWS_SA)


@pytest.mark.parametrize("address", [facts.VM_IP, f"[{facts.VM_IP6}]"])
def test_strict_refuses_plaintext_and_permissive_takes_it(scene: Scene, envoy: Envoy, address: str) -> None:
    url = f"http://{address}:{facts.VM_PORT}/plain"
    assert services.curl(scene.outside, url).status == 0
    scene.plane.change(lambda data: data["mesh"].update(mtls=configuration.PERMISSIVE))
    try:
        poll.until("plaintext is taken", lambda: ok(scene.outside, url))
        ok(scene.mesh, scene.reviews.url(scene.reviews.FRESH))
    finally:
        scene.plane.change(lambda data: data["mesh"].update(mtls=configuration.STRICT))
    poll.until("plaintext is refused", lambda: services.curl(scene.outside, url).status == 0)
    assert nacks(scene) == {}


def test_an_allow_list_denies_who_is_not_on_it(scene: Scene, envoy: Envoy) -> None:
    def status(port: int) -> int:
        return services.curl(scene.mesh, scene.reviews.url(port)).status

    reviews, ratings = scene.reviews.POOLED, scene.reviews.RATINGS
    assert (status(reviews), status(ratings)) == (200, 200)
    scene.plane.allow_callers([facts.REVIEWS_SA])
    poll.until("ratings is denied", lambda: (status(reviews), status(ratings)) == (200, 403))
    scene.plane.allow_callers([])
    poll.until("all are denied", lambda: (status(reviews), status(ratings)) == (403, 403))
    scene.plane.allow_callers(None)
    poll.until("all are allowed", lambda: (status(reviews), status(ratings)) == (200, 200))


def test_a_probe_is_accepted_and_makes_no_loop(scene: Scene, envoy: Envoy) -> None:
    name = "listener.0.0.0.0_15001.downstream_cx_total"
    before = envoy.stat(name)
    assert scene.vm.tcp("127.0.0.6", 15009)
    for port in (15001, 15006):
        # dialled without redirection: closed, and not dialled again by Envoy itself
        connection = scene.vm.call(socket.create_connection, ("127.0.0.1", port), 5)
        with connection:
            connection.settimeout(10)
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            try:
                assert connection.recv(1) == b""
            except ConnectionResetError:
                pass
    poll.until("the probe has ended", lambda: envoy.stat("listener.0.0.0.0_15001.downstream_cx_active") == 0)
    assert envoy.stat(name) - before == 2


def test_a_bad_listener_is_refused_and_the_rest_lives_on(scene: Scene, envoy: Envoy) -> None:
    scene.plane.faults(bad_listener=True)
    poll.until("Envoy NACKs it", lambda: "devmesh" in nacks(scene).get(snapshot.LDS, ""))
    ok(scene.mesh, scene.reviews.url(scene.reviews.POOLED))
    rejected = envoy.stat("listener_manager.lds.update_rejected")
    assert rejected == 1
    scene.plane.reset_faults()
    poll.until("it is taken back", lambda: envoy.stat("listener_manager.lds.update_success") > rejected)
    assert "devmesh-bad" not in envoy.listeners()


def test_an_outage_changes_nothing_and_the_stream_comes_back(scene: Scene, envoy: Envoy) -> None:
    scene.plane.stop()
    ok(scene.vm, f"http://{facts.REVIEWS_HOST}/during")
    ok(scene.mesh, scene.reviews.url(scene.reviews.FRESH, "/during"))
    scene.plane.start(scene.mesh)
    poll.until("Envoy is back", lambda: any(w.connected for w in scene.plane.workloads()), timeout=20)
    poll.until("endpoints were sent again", lambda: scene.plane.debug()["types"].get(snapshot.EDS, {}).get("acks"))
    ok(scene.vm, f"http://{facts.REVIEWS_HOST}/after")
    assert nacks(scene) == {}
    scene.plane.allow_callers([facts.REVIEWS_SA])
    url = scene.reviews.url(scene.reviews.RATINGS)
    poll.until("a change arrives", lambda: services.curl(scene.mesh, url).status == 403)
    scene.plane.allow_callers(None)


def test_state_of_the_world_is_accepted_too(scene: Scene) -> None:
    second = scene.lab.add_host("second", SECOND_IP, SECOND_IP6)
    envoy = scene.start_envoy(second, SECOND_IP, "GRPC")
    envoy.wait_listening(*LISTENERS)
    poll.until("every type is acknowledged", lambda: _all_acked(scene))
    assert nacks(scene) == {}
    scene.plane.change(lambda data: data["services"].pop())
    poll.until("a listener is removed", lambda: f"{TCP_VIP}_{TCP_PORT}" not in envoy.listeners())
    scene.plane.change(add_tcp_service)
    poll.until("and added", lambda: f"{TCP_VIP}_{TCP_PORT}" in envoy.listeners())
    assert nacks(scene) == {}
