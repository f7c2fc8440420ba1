# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Bootstraps that no proxy may be handed over to: each is a good one, spoilt in one place."""

from __future__ import annotations

import copy
import dataclasses
import json
import typing

Json = dict[str, typing.Any]
_TYPE = "type.googleapis.com/envoy.extensions"
_TLS = f"{_TYPE}.transport_sockets.tls.v3"
_ROUTER: Json = {"name": "router", "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"}}
_TARGET: Json = {"socket_address": {"address": "127.0.0.1", "port_value": 9}}


@dataclasses.dataclass(frozen=True)
class Bad:
    """`words`: what the proxy itself says about it, as a regular expression; `refused`: the broker's id, where it doesn't
    even ask the proxy."""

    name: str
    content: bytes
    words: str = ""
    refused: str = ""


def good(generation: str, port: int = 18080) -> Json:
    """With a listener, a route and a cluster of its own, so that there is something to spoil."""
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"pipe": {"path": f"/run/hawser/proxy/{generation}.admin.sock", "mode": 0o660}}},
        "static_resources": {"listeners": [_listener("first", port)], "clusters": [_cluster("app")]},
    }


def _listener(name: str, port: typing.Any) -> Json:
    manager: Json = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {
            "name": name,
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}
            ],
        },
        "http_filters": [_ROUTER],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }


def _cluster(name: str) -> Json:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _TARGET}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


class _Draft:
    """A good one, with names for its parts."""

    def __init__(self, generation: str) -> None:
        self.all = good(generation)
        self.static = self.all["static_resources"]
        self.cluster = self.static["clusters"][0]
        self.listener = self.static["listeners"][0]
        self.chain = self.listener["filter_chains"][0]
        self.manager = self.chain["filters"][0]["typed_config"]
        self.host = self.manager["route_config"]["virtual_hosts"][0]
        self.route = self.host["routes"][0]

    def serve_tls(self, certificate: Json, key: Json) -> None:
        context = {"common_tls_context": {"tls_certificates": [{"certificate_chain": certificate, "private_key": key}]}}
        self.chain["transport_socket"] = {
            "name": "tls",
            "typed_config": {"@type": f"{_TLS}.DownstreamTlsContext", **context},
        }

    def add_filter(self, name: str, **config: typing.Any) -> None:
        self.manager["http_filters"].insert(0, {"name": name, "typed_config": config})

    def use_ads(self, cluster: str) -> None:
        service = {"envoy_grpc": {"cluster_name": cluster}}
        ads = {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [service]}
        self.all["dynamic_resources"] = {"ads_config": ads}


def make(generation: str, certificate: str, key: str, other_key: str) -> list[Bad]:
    """PEM texts: a certificate with its key, and another one's key."""
    inline = lambda text: {"inline_string": text}  # noqa: E731
    pem = [inline(text) for text in (certificate, key, other_key)]
    changes: list[tuple[str, str, typing.Callable[[_Draft], object]]] = [
        ("unknown field", r"no such field: 'nonsense'", lambda d: d.all.update(nonsense=1)),
        ("unknown field, deep", r"no such field: 'prefixx'", lambda d: d.route["match"].update(prefixx="/")),
        ("a text for a message", r"admin: message envoy.config.bootstrap.v3.Admin.*expected '\{'", lambda d: d.all.update(admin="yes")),
        ("a list for a message", r"node: message envoy.config.core.v3.Node.*unexpected character: '\['", lambda d: d.all.update(node=[])),
        ("a text for a number", r"invalid number: 'eighty'", lambda d: _port(d, "eighty")),
        ("a port that isn't one", r"PortValue: value must be less than or equal to 65535", lambda d: _port(d, 70000)),
        ("no address", "malformed IP address: 300.1.1.1", lambda d: _address(d, "300.1.1.1")),
        ("a duration in parsecs", r"connect_timeout.*duration must end with a single 's'", lambda d: d.cluster.update(connect_timeout="5 parsecs")),
        ("no time at all", r"Expected positive duration", lambda d: d.cluster.update(connect_timeout="-1s")),
        ("a nameless cluster", "Name: value length must be at least 1", lambda d: d.cluster.update(name="")),
        ("unknown filter", r"could not find @type 'type.googleapis.com/odd.v3.Odd'", lambda d: d.add_filter("odd", **_any("odd.v3.Odd"))),
        ("unknown extension, known type", r"Didn't find a registered implementation for 'odd'", lambda d: d.add_filter("odd", **_any("google.protobuf.Empty"))),
        ("unknown kind of cluster", r"Didn't find a registered cluster factory implementation for name: 'odd'", _odd_cluster),
        ("unknown place for statistics", r"Didn't find a registered implementation for 'odd'", lambda d: d.all.update(stats_sinks=[{"name": "odd"}])),
        ("a filter without what it needs", r"TcpProxyValidationError.StatPrefix: value length", _empty_tcp_proxy),
        ("a filter of no type", "Didn't find a registered implementation for 'typeless'", lambda d: d.manager["http_filters"].insert(0, {"name": "typeless"})),
        ("two listeners at a port", r"'second' has duplicate address '127.0.0.1:18080'", lambda d: d.static["listeners"].append(_listener("second", 18080))),
        ("two clusters of a name", r"duplicate cluster 'app'", lambda d: d.static["clusters"].append(_cluster("app"))),
        ("a route to nowhere", "unknown cluster 'nowhere'", _route_to_nowhere),
        ("two hosts of a domain", r"Only a single wildcard domain is permitted", _same_domain),
        ("no regular expression", r"missing \)", lambda d: d.route.update(match={"safe_regex": {"regex": "(("}})),
        ("a certificate file that isn't there", "/no/such.pem", lambda d: d.serve_tls({"filename": "/no/such.pem"}, pem[1])),
        ("a certificate that isn't one", r"Failed to load certificate chain from <inline>", lambda d: d.serve_tls(inline("not a certificate"), pem[1])),
        ("another one's key", r"Failed to load private key.*KEY_VALUES_MISMATCH", lambda d: d.serve_tls(pem[0], pem[2])),
        ("no roots to trust", r"Invalid path: /no/roots.pem", _no_roots),
        ("ADS without a cluster for it", r"Unknown gRPC client cluster 'xds-nowhere'", lambda d: d.use_ads("xds-nowhere")),
        ("no configuration for endpoints", r"cannot create an EDS cluster without an EDS config", lambda d: d.cluster.update(type="EDS")),
        ("Lua that doesn't parse", r"script load error", lambda d: d.add_filter("lua", **_lua("function envoy_on_request("))),
        ("a priority that isn't there", r"Priority: value must be less than or equal to 128", lambda d: d.cluster["load_assignment"]["endpoints"][0].update(priority=200)),
        ("no streams at all", r"MaxConcurrentStreams: value must be inside range", lambda d: d.manager.update(http2_protocol_options={"max_concurrent_streams": 0})),
        ("two admin layers", r"Too many admin layers", _two_admin_layers),
    ]  # fmt: skip
    out = []
    for name, words, spoil in changes:
        draft = _Draft(generation)
        spoil(draft)
        out.append(Bad(name, json.dumps(draft.all).encode(), words))
    whole = json.dumps(good(generation)).encode()
    return out + [
        Bad("cut off in the middle", whole[: len(whole) // 2], "unexpected EOF"),
        Bad("two documents", whole + whole, "extraneous characters"),
        Bad("no text", b"\xff\xfe" + whole, "unexpected character"),
        Bad("nothing", b"", refused="HWS-BR-016"),
    ]


def _any(name: str) -> Json:
    return {"@type": f"type.googleapis.com/{name}"}


def _lua(code: str) -> Json:
    return {"@type": f"{_TYPE}.filters.http.lua.v3.Lua", "default_source_code": {"inline_string": code}}


def _port(draft: _Draft, port: typing.Any) -> None:
    draft.listener["address"]["socket_address"]["port_value"] = port


def _address(draft: _Draft, address: str) -> None:
    draft.listener["address"]["socket_address"]["address"] = address


def _odd_cluster(draft: _Draft) -> None:
    del draft.cluster["type"]
    draft.cluster["cluster_type"] = {"name": "odd"}


def _empty_tcp_proxy(draft: _Draft) -> None:
    empty = {"@type": f"{_TYPE}.filters.network.tcp_proxy.v3.TcpProxy"}
    draft.chain["filters"] = [{"name": "tcp", "typed_config": empty}]


def _route_to_nowhere(draft: _Draft) -> None:
    draft.route["route"]["cluster"] = "nowhere"
    draft.manager["route_config"]["validate_clusters"] = True


def _same_domain(draft: _Draft) -> None:
    draft.manager["route_config"]["virtual_hosts"].append({**copy.deepcopy(draft.host), "name": "again"})


def _no_roots(draft: _Draft) -> None:
    validation = {"validation_context": {"trusted_ca": {"filename": "/no/roots.pem"}}}
    context = {"@type": f"{_TLS}.UpstreamTlsContext", "common_tls_context": validation}
    draft.cluster["transport_socket"] = {"name": "tls", "typed_config": context}


def _two_admin_layers(draft: _Draft) -> None:
    layers = [{"name": name, "admin_layer": {}} for name in ("one", "two")]
    draft.all["layered_runtime"] = {"layers": layers}
