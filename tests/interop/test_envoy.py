# SPDX-License-Identifier: Apache-2.0
"""The control experiment: a real Envoy, fed by the real istiod without hawserd in between, does the VM's work.

What fails here fails for a reason that isn't ours: a configuration that upstream Envoy doesn't take, objects in the
cluster that don't say what we mean, reviews' own proxy. Rules and secrets are the simplest that do.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import pathlib
import socket
import subprocess
import sys

import pytest

from interop import manifests
from interop.agent import node
from interop.istiod import IstiodPlane
from lab import facts, poll, services
from lab.host import Host
from lab.network import Lab

pytestmark = pytest.mark.timeout(180)

ADMIN_PORT = 15000
SDS_SOCKET = "/run/sds.sock"
RULES = f"""
table ip control {{
  chain out {{
    type nat hook output priority -100;
    meta skuid {facts.UID_APP} tcp dport {facts.REVIEWS_PORT} redirect to :15001
  }}
  chain in {{
    type nat hook prerouting priority -100;
    iifname "eth0" tcp dport {facts.VM_PORT} redirect to :15006
  }}
}}
"""
UPDATES = ("cluster_manager.cds", "listener_manager.lds")
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_HTTP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def bootstrap(istiod: IstiodPlane) -> dict:
    """ADS straight to istiod, with the token as a header. Secrets come from sds_server.py."""
    bearer = {"key": "authorization", "value": f"Bearer {istiod.token(facts.VM_SA)}"}
    ads: dict = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    service = {"envoy_grpc": {"cluster_name": "xds-grpc"}, "initial_metadata": [bearer]}
    tls = {
        "@type": _TLS,
        "sni": facts.PLANE_NAME,
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "validation_context": {
                "trusted_ca": {"inline_string": istiod.root()},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": facts.PLANE_NAME}}],
            },
        },
    }
    plane_address = {"socket_address": {"address": facts.MESH_IP, "port_value": facts.PLANE_PORT}}
    xds = {**_grpc_cluster("xds-grpc", plane_address), "transport_socket": {"name": "tls", "typed_config": tls}}
    return {
        # without a probe the workload counts as healthy, and only a healthy one gets its inbound cluster
        "node": {"cluster": facts.VM_GROUP, **node(PROXY_CONFIG={})},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": ADMIN_PORT}}},
        "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [service]},
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {
            "clusters": [xds, _grpc_cluster("sds-grpc", {"pipe": {"path": SDS_SOCKET}})]
        },
    }


def _grpc_cluster(name: str, address: dict) -> dict:
    options = {"@type": _HTTP, "explicit_http_config": {"http2_protocol_options": {}}}
    endpoint = {"endpoint": {"address": address}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }


class Admin:
    """Envoy's admin server in a host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection("envoy", timeout=5)
        try:
            connection.sock = self._host.call(socket.create_connection, ("127.0.0.1", ADMIN_PORT), 5)
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def counter(self, name: str) -> int:
        stats = json.loads(self.get(f"/stats?format=json&filter=^{name}$"))["stats"]
        return stats[0]["value"] if stats else 0


@pytest.fixture(scope="module")
def vm(istiod: IstiodPlane, mesh_lab: Lab) -> Host:
    """The VM with its server, its rules, its secrets and its Envoy; all of it ends with the lab."""
    host = mesh_lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
    host.add_name(facts.REVIEWS_VIP, facts.REVIEWS_HOST)
    services.start_vm_app(host)
    host.run(["nft", "-f", "-"], input=RULES)
    identity = istiod.issue(facts.VM_SA)
    script = pathlib.Path(__file__).with_name("sds_server.py")
    sds = host.popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    order = {"path": SDS_SOCKET, "uid": facts.UID_PROXY, **dataclasses.asdict(identity)}
    sds.stdin.write(json.dumps(order) + "\n")
    sds.stdin.flush()
    assert sds.stdout.readline() == "ready\n"
    host.write("/run/envoy.json", json.dumps(bootstrap(istiod)), uid=facts.UID_PROXY)
    argv = [services.envoy_binary(), "-c", "/run/envoy.json", "--disable-hot-restart", "--concurrency", "1"]
    host.popen([*argv, "--log-level", "warning"], log="envoy.log", uid=facts.UID_PROXY)
    return host


@pytest.fixture(scope="module")
def admin(vm: Host) -> Admin:
    admin = Admin(vm)
    for kind in UPDATES:
        poll.until(f"{kind} has come", lambda k=kind: admin.counter(f"{k}.update_success") > 0, timeout=30)
    for port in (15001, 15006):
        poll.until(f"Envoy listens on {port}", lambda p=port: vm.tcp("127.0.0.1", p), timeout=20)
    return admin


@pytest.fixture(scope="module")
def reviews(istiod: IstiodPlane, mesh_host: Host) -> services.Reviews:
    return services.Reviews(mesh_host, istiod.issue)


def test_envoy_accepts_everything_that_istiod_sends(vm: Host, admin: Admin) -> None:
    for kind in UPDATES:
        assert admin.counter(f"{kind}.update_rejected") == 0, (vm.log_dir / "envoy.log").read_text()
    assert f"outbound|{facts.REVIEWS_PORT}||{facts.REVIEWS_HOST}" in admin.get("/clusters")
    listeners = admin.get("/config_dump?resource=dynamic_listeners")
    assert "virtualInbound" in listeners and "virtualOutbound" in listeners
    assert '"error_state"' not in listeners


def test_the_vm_reaches_reviews_as_itself(vm: Host, admin: Admin, reviews: services.Reviews) -> None:
    answer = poll.until("an answer of reviews", lambda: _ok(services.curl(vm, f"http://{facts.REVIEWS_HOST}/")))
    assert services.caller_id(answer) == facts.spiffe(facts.VM_SA)


def test_the_mesh_reaches_the_vm_and_plaintext_does_not(
    istiod: IstiodPlane, vm: Host, admin: Admin, reviews: services.Reviews, mesh_host: Host
) -> None:
    heal_missing_inbound_cluster(istiod, admin)
    url = reviews.url(reviews.FRESH)
    answer = poll.until("an answer of the VM", lambda: _ok(services.curl(mesh_host, url)), timeout=20)
    assert services.caller_id(answer) == facts.spiffe(facts.REVIEWS_SA)
    assert services.curl(mesh_host, f"http://{facts.VM_IP}:{facts.VM_PORT}/").status == 0


def test_an_allow_list_denies_who_is_not_on_it(
    istiod: IstiodPlane, vm: Host, admin: Admin, reviews: services.Reviews, mesh_host: Host
) -> None:
    heal_missing_inbound_cluster(istiod, admin)
    ratings, allowed = reviews.url(reviews.RATINGS), reviews.url(reviews.FRESH)
    poll.until("ratings may call", lambda: _ok(services.curl(mesh_host, ratings)), timeout=20)
    istiod.allow_callers([facts.REVIEWS_SA])
    poll.until("ratings is denied", lambda: services.curl(mesh_host, ratings).status == 403, timeout=20)
    assert services.curl(mesh_host, allowed).status == 200
    istiod.allow_callers(None)
    poll.until("ratings may call again", lambda: _ok(services.curl(mesh_host, ratings)), timeout=20)


def heal_missing_inbound_cluster(istiod: IstiodPlane, admin: Admin) -> None:
    """istiod often leaves out a fresh workload's inbound cluster until a service changes: change one."""
    name = f"inbound|{facts.VM_PORT}||"
    if name in admin.get("/clusters"):
        return
    service = manifests.vm_service()
    service["spec"]["ports"][0]["name"] = "http-again"
    istiod.kube.apply(service)
    poll.until(f"cluster {name}", lambda: name in admin.get("/clusters"), timeout=20)


def _ok(answer: services.Answer) -> services.Answer | None:
    return answer if answer.status == 200 else None
