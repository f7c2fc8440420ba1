# SPDX-License-Identifier: Apache-2.0
"""What enters a registered workload: listener `virtualInbound` and the clusters of its own ports."""

from __future__ import annotations

import typing

from devmesh import resources, tls_context
from devmesh.config import HTTP, PERMISSIVE, Config, Group, Port
from devmesh.snapshot import CDS, LDS, Snapshot, named

PASSTHROUGH, BLACK_HOLE = "InboundPassthroughCluster", "BlackHoleCluster"
_PORT = 15006


def add(snapshot: Snapshot, config: Config, group: Group, *, without_clusters: bool = False) -> None:
    if not without_clusters:
        for port in group.ports:
            snapshot.add(CDS, _cluster(port))
    snapshot.add(LDS, _listener(config, group))


def _name(port: Port) -> str:
    return f"inbound|{port.number}||"


def _cluster(port: Port) -> dict[str, typing.Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port.number}}
    cluster: dict[str, typing.Any] = {
        "name": _name(port),
        "type": "STATIC",
        "connect_timeout": "10s",
        "circuit_breakers": resources.thresholds(),
        "load_assignment": {
            "cluster_name": _name(port),
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    if port.protocol == HTTP:
        cluster["typed_extension_protocol_options"] = resources.http_options()
    return cluster


def _listener(config: Config, group: Group) -> dict[str, typing.Any]:
    mtls = tls_context.downstream(config.mesh.trust_domain)
    permissive = config.mtls_of(group) == PERMISSIVE
    chains: list[dict[str, typing.Any]] = [
        # who dials 15006 itself would make Envoy dial itself without end
        {
            "name": "virtualInbound-blackhole",
            "filter_chain_match": {"destination_port": _PORT},
            "filters": [resources.tcp_proxy(BLACK_HOLE)],
        }
    ]
    for port in group.ports:
        filters = _port_filters(config, group, port)
        chains.append(_chain(f"{_name(port)}mtls", "tls", filters, port=port.number, transport_socket=mtls))
        if permissive:
            # plaintext has no principal, so that an allow-list refuses it here too
            chains.append(_chain(f"{_name(port)}plain", "raw_buffer", filters, port=port.number))
    rest = [*_network_rbac(config, group), resources.tcp_proxy(PASSTHROUGH)]
    # in PERMISSIVE mode TLS of the application's own is passed on; the mesh's own shows by its ALPN
    own = {"application_protocols": ["istio"]} if permissive else {}
    chains.append(_chain("virtualInbound-catchall-mtls", "tls", rest, transport_socket=mtls, match=own))
    if permissive:
        chains.append({"name": "virtualInbound-catchall", "filters": rest})
    return {
        "name": "virtualInbound",
        **resources.both_families(_PORT),
        "traffic_direction": "INBOUND",
        "listener_filters": [
            resources.original_dst_filter(),
            named("envoy.filters.listener.tls_inspector", "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"),
        ],
        # a client that waits for the server's first words is plaintext
        "listener_filters_timeout": "2s",
        "continue_on_listener_filters_timeout": True,
        "filter_chains": chains,
    }


def _chain(
    name: str, transport: str, filters: list, *, port: int | None = None, transport_socket=None, match=None
) -> dict[str, typing.Any]:
    chain: dict[str, typing.Any] = {
        "name": name,
        "filter_chain_match": {"transport_protocol": transport, **(match or {})},
        "filters": filters,
    }
    if port is not None:
        chain["filter_chain_match"]["destination_port"] = port
    if transport_socket:
        chain["transport_socket"] = transport_socket
        chain["transport_socket_connect_timeout"] = "15s"
    return chain


def _port_filters(config: Config, group: Group, port: Port) -> list[dict[str, typing.Any]]:
    if port.protocol != HTTP:
        return [*_network_rbac(config, group), resources.tcp_proxy(_name(port))]
    rbac = [
        named("envoy.filters.http.rbac", "envoy.extensions.filters.http.rbac.v3.RBAC", rules=rules)
        for rules in _rules(config, group)
    ]
    route = {"name": "default", "match": {"prefix": "/"}, "route": {"cluster": _name(port), "timeout": "0s"}}
    return [
        resources.http_manager(
            f"inbound_0.0.0.0_{port.number}",
            rbac,
            route_config={
                "name": _name(port),
                "virtual_hosts": [{"name": f"inbound|http|{port.number}", "domains": ["*"], "routes": [route]}],
                "validate_clusters": False,
            },
            forward_client_cert_details="SANITIZE_SET",
            set_current_client_cert_details={"uri": True},
        )
    ]


def _rules(config: Config, group: Group) -> list[dict[str, typing.Any]]:
    """None or one: an ALLOW list; an empty one allows nobody."""
    if group.allow is None:
        return []
    ids = [config.spiffe(group.namespace, account) for account in group.allow]
    if not ids:
        return [{"action": "ALLOW", "policies": {}}]
    principals = [{"authenticated": {"principal_name": {"exact": spiffe}}} for spiffe in ids]
    return [{"action": "ALLOW", "policies": {"allow": {"permissions": [{"any": True}], "principals": principals}}}]


def _network_rbac(config: Config, group: Group) -> list[dict[str, typing.Any]]:
    return [
        named(
            "envoy.filters.network.rbac",
            "envoy.extensions.filters.network.rbac.v3.RBAC",
            rules=rules,
            stat_prefix="inbound.",
        )
        for rules in _rules(config, group)
    ]
