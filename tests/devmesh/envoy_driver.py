# SPDX-License-Identifier: Apache-2.0
"""For devmesh's own tests: a real Envoy fed by devmesh straight, with a tiny SDS; what hawserd does later isn't here."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import pathlib
import socket
import typing

import grpc
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2

from lab import facts, poll, services
from lab.host import Host
from lab.plane import Identity

_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_HTTP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class SecretServer:
    """StreamSecrets for one identity: each stream asks for one secret, is given it, and stays."""

    def __init__(self, socket_path: pathlib.Path, identity: Identity):
        self._identity = identity
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=64))
        method = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=discovery_pb2.DiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DiscoveryResponse.SerializeToString,
        )
        service = "envoy.service.secret.v3.SecretDiscoveryService"
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"StreamSecrets": method}),)
        )
        self._server.add_insecure_port(f"unix:{socket_path}")
        self._server.start()
        socket_path.chmod(0o666)  # Envoy is another user

    def close(self) -> None:
        self._server.stop(grace=None).wait(5)

    def _stream(self, requests, _context) -> typing.Iterator[discovery_pb2.DiscoveryResponse]:
        for request in requests:
            if request.response_nonce:
                continue  # an ACK
            response = discovery_pb2.DiscoveryResponse(version_info="1", nonce="1", type_url=_SECRET)
            for name in request.resource_names:
                response.resources.add().Pack(self._secret(name))
            yield response

    def _secret(self, name: str) -> secret_pb2.Secret:
        secret = secret_pb2.Secret(name=name)
        if name == "ROOTCA":
            secret.validation_context.trusted_ca.inline_bytes = self._identity.roots.encode()
        else:
            secret.tls_certificate.certificate_chain.inline_bytes = self._identity.chain.encode()
            secret.tls_certificate.private_key.inline_bytes = self._identity.key.encode()
        return secret


def bootstrap(*, token: str, roots: str, address: str, api_type: str, directory: pathlib.Path) -> dict[str, typing.Any]:
    tls = {
        "@type": _TLS,
        "sni": facts.PLANE_NAME,
        "common_tls_context": {
            "validation_context": {
                "trusted_ca": {"inline_string": roots},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": facts.PLANE_NAME}}],
            }
        },
    }
    plane = {"socket_address": {"address": facts.MESH_IP, "port_value": facts.PLANE_PORT}}
    ads: dict[str, typing.Any] = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    bearer = [{"key": "authorization", "value": f"Bearer {token}"}]
    return {
        "node": {
            "id": f"sidecar~{address}~vm.{facts.NAMESPACE}~{facts.NAMESPACE}.svc.cluster.local",
            "cluster": "istio-proxy",
            "metadata": {
                "NAMESPACE": facts.NAMESPACE,
                "SERVICE_ACCOUNT": facts.VM_SA,
                "INSTANCE_IPS": address,
                "AUTO_REGISTER_GROUP": facts.VM_GROUP,
            },
        },
        "admin": {"address": {"pipe": {"path": str(directory / "admin.sock")}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": api_type,
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}, "initial_metadata": bearer}],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {
            "clusters": [
                {**_cluster("xds-grpc", plane), "transport_socket": {"name": "tls", "typed_config": tls}},
                _cluster("sds-grpc", {"pipe": {"path": str(directory / "sds.sock")}}),
            ]
        },
    }


def _cluster(name: str, address: dict[str, typing.Any]) -> dict[str, typing.Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


class Envoy:
    def __init__(self, host: Host, directory: pathlib.Path, config: dict[str, typing.Any]):
        self._admin = directory / "admin.sock"
        file = directory / "envoy.json"
        file.write_text(json.dumps(config))
        argv = [services.envoy_binary(), "-c", str(file), "--disable-hot-restart", "--concurrency", "1"]
        self.log = host.log_dir / "envoy.log"
        # as in production: by default connections of a replaced filter chain would live on for minutes
        argv += ["--drain-time-s", "45", "--drain-strategy", "immediate"]
        self._host = host
        self._process = host.popen([*argv, "--log-level", "warning"], log="envoy.log", uid=facts.UID_PROXY)

    def stop(self) -> None:
        self._host.stop(self._process)

    def wait_listening(self, *names: str) -> None:
        """LIVE, with these listeners there (they exist only once their secrets came) and nothing left warming."""
        poll.until("Envoy is LIVE with its listeners", lambda: self._listening(names), timeout=15)

    def _listening(self, names: tuple[str, ...]) -> bool:
        if self._process.poll() is not None:
            raise poll.Hopeless(f"Envoy ended with {self._process.returncode}: {self.log.read_text()[-2000:]}")
        live = json.loads(self.get("/server_info"))["state"] == "LIVE"
        warming = self.stat("listener_manager.total_listeners_warming") + self.stat("cluster_manager.warming_clusters")
        return live and not warming and set(names) <= set(self.listeners())

    def listeners(self) -> dict[str, list[str]]:
        """Name → addresses, of those that are active."""
        statuses = json.loads(self.get("/listeners?format=json")).get("listener_statuses", [])
        addresses = {}
        for status in statuses:
            all_of_it = [status["local_address"], *status.get("additional_local_addresses", [])]
            sockets = [a["socket_address"] for a in all_of_it]
            addresses[status["name"]] = [f"{s['address']} {s['port_value']}" for s in sockets]
        return addresses

    def stat(self, name: str) -> int:
        stats = json.loads(self.get(f"/stats?format=json&filter=^{name}$"))["stats"]
        return stats[0]["value"] if stats else 0

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection("envoy", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        try:
            connection.sock.connect(str(self._admin))
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()
