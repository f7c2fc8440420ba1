# SPDX-License-Identifier: Apache-2.0
"""The snapshot of one node: what is common and what leaves it; inbound.py adds what enters it."""

from __future__ import annotations

import typing

from devmesh import ca, inbound, istio_filters, protos, tls_context
from devmesh.config import HTTP, HTTP2, TCP, Config, Port, Service
from devmesh.registry import Node, Row
from devmesh.snapshot import CDS, EDS, LDS, RDS, Snapshot, any_of, named

MAX = 4294967295
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def build(
    config: Config,
    node: Node,
    rows: list[Row],
    *,
    bad_listener: bool = False,
    missing_inbound: bool = False,
    lua: bool = False,
) -> Snapshot:
    snapshot = Snapshot()
    if config.mesh.istio_extensions:
        snapshot.edits = {LDS: istio_filters.add_to_listener, CDS: istio_filters.add_to_cluster}
    for cluster in (_original_dst("PassthroughCluster"), _inbound_passthrough(), _black_hole()):
        snapshot.add(CDS, cluster)
    snapshot.add(LDS, _virtual_outbound())
    for service in config.services:
        for port in service.ports:
            snapshot.add(CDS, _cluster(config, service, port))
            snapshot.add(EDS, assignment(config, service, port, rows))
            if port.protocol == TCP and service.vip:
                snapshot.add(LDS, _tcp_listener(service, port))
    for number in sorted({p.number for s in config.services for p in s.ports if p.protocol in (HTTP, HTTP2)}):
        snapshot.add(LDS, _http_listener(number, [_lua_filter()] if lua else []))
        snapshot.add(RDS, _routes(config, node, number))
    if group := config.group(node.namespace, node.group or ""):
        inbound.add(snapshot, config, group, without_clusters=missing_inbound)
    if bad_listener:
        snapshot.add(LDS, _bad_listener())
    _add_trust(snapshot, config)
    return snapshot


def _add_trust(snapshot: Snapshot, config: Config) -> None:
    """What an istiod of several roots tells agents, without a name; other ones say nothing."""
    numbers = config.certificates.distributed
    if not numbers:
        return
    authority = ca.CertificateAuthority.of(config)
    message = protos.ProxyConfig(ca_certificates_pem=[ca.pem(authority.root_of(number)[1]) for number in numbers])
    snapshot.add_packed(protos.PROXY_CONFIG_TYPE, "", message)


def cluster_name(service: Service, port: Port) -> str:
    return f"outbound|{port.number}||{service.host}"


def tcp_proxy(cluster: str, stat: str | None = None) -> dict[str, typing.Any]:
    return named(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix=stat or cluster,
        cluster=cluster,
    )


def http_manager(stat: str, http_filters: list[dict[str, typing.Any]], **fields: typing.Any) -> dict[str, typing.Any]:
    router = named("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")
    return named(
        "envoy.filters.network.http_connection_manager",
        _HCM,
        stat_prefix=stat,
        http_filters=[*http_filters, router],
        upgrade_configs=[{"upgrade_type": "websocket"}],
        normalize_path=True,
        **fields,
    )


def both_families(port: int) -> dict[str, typing.Any]:
    """Listens on 0.0.0.0 and [::] apart, so that a v4 address never looks like a v6 one."""

    def address(host: str) -> dict[str, typing.Any]:
        return {"socket_address": {"address": host, "port_value": port}}

    return {"address": address("0.0.0.0"), "additional_addresses": [{"address": address("::")}]}


def original_dst_filter() -> dict[str, typing.Any]:
    return named(
        "envoy.filters.listener.original_dst", "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
    )


def http_options(*, as_downstream: bool = False, http2: bool = False) -> dict[str, typing.Any]:
    """HTTP/1.1 (or 2) towards the server, or whatever the client spoke."""
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    if as_downstream:
        both = {"http_protocol_options": {}, "http2_protocol_options": {}}
        return {options: any_of(options, use_downstream_protocol_config=both)}
    protocol: dict[str, typing.Any] = {"http2_protocol_options" if http2 else "http_protocol_options": {}}
    return {options: any_of(options, explicit_http_config=protocol)}


def thresholds() -> dict[str, typing.Any]:
    everything = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), MAX)
    return {"thresholds": [everything]}


def _original_dst(name: str) -> dict[str, typing.Any]:
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "10s",
        "circuit_breakers": thresholds(),
        "typed_extension_protocol_options": http_options(as_downstream=True),
    }


def _inbound_passthrough() -> dict[str, typing.Any]:
    """From addresses whose calls are never captured: to the host's own address it would meet itself without end."""

    def source(address: str) -> dict[str, typing.Any]:
        return {"address": address, "port_value": 0}

    extra = [{"address": source("::6")}]
    bind = {"source_address": source("127.0.0.6"), "extra_source_addresses": extra}
    return {**_original_dst(inbound.PASSTHROUGH), "upstream_bind_config": bind}


def _black_hole() -> dict[str, typing.Any]:
    return {"name": inbound.BLACK_HOLE, "type": "STATIC", "connect_timeout": "10s"}


def _virtual_outbound() -> dict[str, typing.Any]:
    return {
        "name": "virtualOutbound",
        **both_families(15001),
        "use_original_dst": True,
        "listener_filters": [original_dst_filter()],
        "traffic_direction": "OUTBOUND",
        # who dials 15001 itself would make Envoy dial itself without end
        "filter_chains": [
            {
                "name": "virtualOutbound-blackhole",
                "filter_chain_match": {"destination_port": 15001},
                "filters": [tcp_proxy(inbound.BLACK_HOLE)],
            },
            {"name": "virtualOutbound-catchall-tcp", "filters": [tcp_proxy("PassthroughCluster")]},
        ],
    }


def _peers(config: Config, service: Service) -> list[dict[str, str]]:
    account = service.service_account
    if service.group:
        account = account or next(g.service_account for g in config.groups if g.name == service.group)
    if account:
        return [{"exact": config.spiffe(service.namespace, account)}]
    return [{"prefix": f"spiffe://{config.mesh.trust_domain}/ns/{service.namespace}/"}]


def _cluster(config: Config, service: Service, port: Port) -> dict[str, typing.Any]:
    cluster: dict[str, typing.Any] = {
        "name": cluster_name(service, port),
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "service_name": cluster_name(service, port),
        },
        "connect_timeout": "10s",
        "circuit_breakers": thresholds(),
        "common_lb_config": {"healthy_panic_threshold": {}},
    }
    if port.protocol in (HTTP, HTTP2):
        cluster["typed_extension_protocol_options"] = http_options(http2=port.protocol == HTTP2)
    if service.mtls:
        sni = f"outbound_.{port.number}_._.{service.host}"
        cluster["transport_socket"] = tls_context.upstream(sni, _peers(config, service))
    return cluster


def assignment(config: Config, service: Service, port: Port, rows: list[Row]) -> dict[str, typing.Any]:
    targets = [(e.address, e.port) for e in service.endpoints]
    group = next((g for g in config.groups if g.name == service.group), None)
    if group:
        number = next((p.number for p in group.ports if p.name == port.name), port.number)
        targets += [(row.address, number) for row in rows if row.group == group.name and row.serves]
    endpoints = [{"endpoint": {"address": {"socket_address": {"address": a, "port_value": p}}}} for a, p in targets]
    return {
        "cluster_name": cluster_name(service, port),
        "endpoints": [{"locality": {}, "load_balancing_weight": 1, "lb_endpoints": endpoints}] if endpoints else [],
    }


def _tcp_listener(service: Service, port: Port) -> dict[str, typing.Any]:
    return {
        "name": f"{service.vip}_{port.number}",
        "address": {"socket_address": {"address": service.vip, "port_value": port.number}},
        "bind_to_port": False,
        "traffic_direction": "OUTBOUND",
        "filter_chains": [{"filters": [tcp_proxy(cluster_name(service, port))]}],
    }


def _lua_filter() -> dict[str, typing.Any]:
    code = """function envoy_on_request(request)
      if request:headers():get(":path") == "/lua" then request:respond({[":status"] = "200"}, "by Lua") end
    end"""
    return named(
        "envoy.filters.http.lua", "envoy.extensions.filters.http.lua.v3.Lua", default_source_code={"inline_string": code}
    )


def _http_listener(number: int, http_filters: list[dict[str, typing.Any]]) -> dict[str, typing.Any]:
    manager = http_manager(
        f"outbound_0.0.0.0_{number}",
        http_filters,
        rds={"config_source": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
             "route_config_name": str(number)},
    )  # fmt: skip
    return {
        "name": f"0.0.0.0_{number}",
        **both_families(number),
        "bind_to_port": False,
        "traffic_direction": "OUTBOUND",
        "filter_chains": [{"filters": [manager]}],
    }


def _routes(config: Config, node: Node, number: int) -> dict[str, typing.Any]:
    hosts = []
    for service in config.services:
        for port in service.ports:
            if port.number == number and port.protocol in (HTTP, HTTP2):
                hosts.append(_virtual_host(service, port, node))
    hosts.append(
        {
            "name": "allow_any",
            "domains": ["*"],
            "routes": [{"name": "allow_any", "match": {"prefix": "/"}, "route": _to("PassthroughCluster")}],
        }
    )
    return {
        "name": str(number),
        "virtual_hosts": hosts,
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": 1048576,
    }


def _virtual_host(service: Service, port: Port, node: Node) -> dict[str, typing.Any]:
    labels = service.host.split(".")
    domains = [service.host, ".".join(labels[:2]), ".".join(labels[:3])]
    if service.namespace == node.namespace:
        domains.append(labels[0])
    if service.vip:
        domains.append(f"[{service.vip}]" if ":" in service.vip else service.vip)
    return {
        "name": f"{service.host}:{port.number}",
        "domains": list(dict.fromkeys(domains)),
        "routes": [{"name": "default", "match": {"prefix": "/"}, "route": _to(cluster_name(service, port), retry=True)}],
    }


def _to(cluster: str, *, retry: bool = False) -> dict[str, typing.Any]:
    route: dict[str, typing.Any] = {"cluster": cluster, "timeout": "0s"}
    if retry:
        # only what surely never reached the application is repeated
        route["retry_policy"] = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
    return route


def _bad_listener() -> dict[str, typing.Any]:
    return {
        "name": "devmesh-bad",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
        "bind_to_port": False,
        "filter_chains": [
            # a filter that Envoy has, with none of what its configuration must say
            {"filters": [named("envoy.filters.network.tcp_proxy", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")]}
        ],
    }
