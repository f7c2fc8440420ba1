# SPDX-License-Identifier: Apache-2.0
"""Certificates that the mesh's configuration names by file, through hawserd's SDS, with a real Envoy; and a key provider."""

from __future__ import annotations

import json
import ssl

import pytest
from cryptography import x509

from lab import facts, handshake, poll, services, steps
from lab.cert_folder import CertFolder
from lab.second_envoy import SecondEnvoy

pytestmark = pytest.mark.incremental
FOLDER = "/etc/certs"
PORT = 9443
CERT = f"file-cert:{FOLDER}/cert-chain.pem~{FOLDER}/key.pem"
ROOT = f"file-root:{FOLDER}/root-cert.pem"
OURS = "/var/lib/hawser/identity/current"
_TYPES = "type.googleapis.com/envoy.extensions"
_SDS = {
    "resource_api_version": "V3",
    "api_config_source": {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
    },
}


def listener(name: str, port: int, certificate: str, roots: str) -> dict:
    """mTLS by secrets of these names, and an answer of its own."""
    tls = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [{"name": certificate, "sds_config": _SDS}],
            "validation_context_sds_secret_config": {"name": roots, "sds_config": _SDS},
        },
    }
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}}
        ],
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {
                "transport_socket": {"name": "tls", "typed_config": tls},
                "filters": [{"name": "manager", "typed_config": manager}],
            }
        ],
    }


class FilesEnvoy(SecondEnvoy):
    """The second Envoy with these listeners and nothing else."""

    def __init__(self, vm, *listeners: dict) -> None:
        self._listeners = listeners
        write = vm.host.write

        def changed(path: str, text: str, **how) -> None:
            boot = json.loads(text)
            boot.pop("dynamic_resources")
            boot["static_resources"]["listeners"] = list(listeners)
            write(path, json.dumps(boot), **how)

        vm.host.write = changed
        try:
            super().__init__(vm, "f9e0")
        finally:
            vm.host.write = write


@pytest.fixture(scope="module")
def folder(world) -> CertFolder:
    return CertFolder(world.host, FOLDER)


def serial_of(identity) -> int:
    return x509.load_pem_x509_certificates(identity.chain.encode())[0].serial_number


def shown(world, port: int = PORT) -> int:
    seen = world.host.call(
        handshake.peer_certificate, "127.0.0.1", port, world.reviews.identity, facts.VM_HOST, world.lab.directory
    )
    return seen.serial_number


def log(world) -> str:
    return (world.host.log_dir / "hawserd.log").read_text()


def test_a_certificate_by_file_is_served_and_followed(world, folder):
    steps.join(world)
    first = world.plane.issue(facts.VM_SA)
    folder.put(first)
    with FilesEnvoy(world.vm, listener("files", PORT, CERT, ROOT)):
        poll.until("Envoy listens", lambda: world.host.tcp("127.0.0.1", PORT), 20)
        assert shown(world) == serial_of(first)
        for _ in range(3):
            fresh = world.plane.issue(facts.VM_SA)
            folder.put(fresh)
            # each handshake on the way succeeds, with the one before or with the new one
            poll.until("the new one is shown", lambda fresh=fresh: shown(world) == serial_of(fresh), 10, every=0.02)


def test_a_key_that_does_not_fit_changes_nothing(world, folder):
    good = world.plane.issue(facts.VM_SA)
    folder.put(good)
    with FilesEnvoy(world.vm, listener("files", PORT, CERT, ROOT)):
        poll.until("Envoy listens", lambda: world.host.tcp("127.0.0.1", PORT), 20)
        other = world.plane.issue(facts.VM_SA)
        folder.put(type(good)(other.key, good.chain, good.roots))
        poll.until("it is told", lambda: "HWS-SDS-006" in log(world), 20)
        assert shown(world) == serial_of(good)


def test_hawserds_own_folder_is_not_for_everybody_who_can_name_it(world):
    mine = listener("mine", PORT, f"file-cert:{OURS}/cert-chain.pem~{OURS}/key.pem", ROOT)
    with FilesEnvoy(world.vm, mine):
        poll.until("it is refused", lambda: f"{OURS}/" in log(world), 20)
        with pytest.raises((OSError, ssl.SSLError)):
            shown(world)
    assert "PRIVATE KEY" not in log(world)


def test_a_key_provider_that_envoy_lacks_is_done_without(world):
    """The Envoy of the tests has no cryptomb; with `fallback` the host must be no worse off."""
    world.host.write("/etc/hawser/conf.d/60-provider.yaml", "sds: {private_key_provider: {name: cryptomb, fallback: true}}\n")
    world.vm.restart_agent()
    world.vm.wait("REGISTERED")
    world.vm.renew()
    serial = int(world.vm.cert()["serial"], 16)
    poll.until("Envoy presents the new one", lambda: handshake.serial(world) == serial, 20)
    assert services.curl(world.host, f"http://{facts.REVIEWS_HOST}/").status == 200
    assert "HWS-SDS-003" in log(world), "nobody says that the hardware isn't used"
