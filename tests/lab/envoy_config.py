# SPDX-License-Identifier: Apache-2.0
"""Static configuration of reviews' own Envoy, which stands for a sidecar in the mesh that isn't ours."""

from __future__ import annotations

import dataclasses
import typing

from lab import facts
from lab.plane import Identity

Json = dict[str, typing.Any]
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_HTTP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"

# What a client in the mesh offers for HTTP/1.1 over mesh mTLS, so that an inbound filter chain chosen by ALPN is found.
CLIENT_ALPN = ["istio-http/1.1", "istio", "http/1.1"]
SERVER_ALPN = ["istio", "h2", "http/1.1"]
VM_SNI = f"outbound_.{facts.VM_PORT}_._.{facts.VM_HOST}"


@dataclasses.dataclass(frozen=True)
class Caller:
    service_account: str
    address: str  # of the VM
    fresh: bool = False  # a new connection to the VM for each request


def reviews(mine: Identity, other: Identity, app_port: int, callers: dict[int, Caller]) -> Json:
    identities = {facts.REVIEWS_SA: mine, facts.OTHER_SA: other}
    listeners = [_inbound(mine)]
    clusters = [_cluster("app", "127.0.0.1", app_port)]
    for port, caller in callers.items():
        name = f"vm-{port}"
        listeners.append(_listener(f"to-{name}", "127.0.0.1", port, [_http(name)]))
        clusters.append(_vm_cluster(name, caller, identities[caller.service_account]))
    return {
        "node": {"id": "reviews", "cluster": "reviews"},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        # No admin server: nothing here is asked, and a port less is a port less in the mesh host.
    }


def _address(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


def _inline(text: str) -> Json:
    return {"inline_string": text}


def _certificates(identity: Identity) -> Json:
    return {"certificate_chain": _inline(identity.chain), "private_key": _inline(identity.key)}


def _http(cluster: str, forward_client_cert: bool = False) -> Json:
    manager: Json = {
        "@type": _HCM,
        "stat_prefix": cluster,
        "codec_type": "AUTO",
        "server_name": "reviews-envoy",
        "route_config": {
            "name": cluster,
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "15s"}}],
                }
            ],
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    if forward_client_cert:
        manager["forward_client_cert_details"] = "SANITIZE_SET"
        manager["set_current_client_cert_details"] = {"uri": True, "dns": True}
    return {"name": "http", "typed_config": manager}


def _listener(name: str, address: str, port: int, filters: list[Json], transport_socket: Json | None = None) -> Json:
    chain: Json = {"filters": filters}
    if transport_socket:
        chain["transport_socket"] = transport_socket
    return {"name": name, "address": _address(address, port), "filter_chains": [chain]}


def _inbound(mine: Identity) -> Json:
    """STRICT: no client certificate by the mesh's roots, no connection."""
    tls = {
        "@type": f"{_TLS}.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_certificates": [_certificates(mine)],
            "validation_context": {"trusted_ca": _inline(mine.roots)},
            "alpn_protocols": SERVER_ALPN,
        },
    }
    socket = {"name": "tls", "typed_config": tls}
    return _listener("inbound", facts.MESH_IP, facts.REVIEWS_MTLS_PORT, [_http("app", True)], socket)


def _cluster(name: str, address: str, port: int) -> Json:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(address, port)}}]}],
        },
    }


def _vm_cluster(name: str, caller: Caller, identity: Identity) -> Json:
    cluster = _cluster(name, caller.address, facts.VM_PORT)
    tls = {
        "@type": f"{_TLS}.UpstreamTlsContext",
        "sni": VM_SNI,
        "common_tls_context": {
            "tls_certificates": [_certificates(identity)],
            "validation_context": {
                "trusted_ca": _inline(identity.roots),
                "match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"exact": facts.spiffe(facts.VM_SA)}}
                ],
            },
            "alpn_protocols": CLIENT_ALPN,
        },
    }
    cluster["transport_socket"] = {"name": "tls", "typed_config": tls}
    options: Json = {"@type": _HTTP, "explicit_http_config": {"http_protocol_options": {}}}
    if caller.fresh:
        options["common_http_protocol_options"] = {"max_requests_per_connection": 1}
    cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
    return cluster
