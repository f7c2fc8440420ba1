# SPDX-License-Identifier: Apache-2.0
"""What a default istiod adds to listeners and clusters and only Istio's own build of Envoy understands."""

from __future__ import annotations

import typing

from udpa.type.v1 import typed_struct_pb2 as _typed_struct  # noqa: F401  so that json_format finds the type

MX_PROTOCOL = "istio-peer-exchange"
_PREFIX = "type.googleapis.com/"


def _extension(name: str, type_name: str) -> dict[str, typing.Any]:
    """Packages of Envoy's API don't have these messages; istiod wraps most of them like this for the same reason."""
    config = {"@type": _PREFIX + "udpa.type.v1.TypedStruct", "type_url": _PREFIX + type_name, "value": {}}
    return {"name": name, "typed_config": config}


_METADATA_EXCHANGE = _extension("istio.metadata_exchange", "envoy.tcp.metadataexchange.config.MetadataExchange")
_PEER_METADATA = _extension("istio.peer_metadata", "io.istio.http.peer_metadata.Config")
_ALPN = _extension("istio.alpn", "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig")
_STATS = _extension("istio.stats", "stats.PluginConfig")


def add_to_listener(listener: dict[str, typing.Any]) -> dict[str, typing.Any]:
    return {**listener, "filter_chains": [_chain(chain) for chain in listener["filter_chains"]]}


def add_to_cluster(cluster: dict[str, typing.Any]) -> dict[str, typing.Any]:
    return {**_with_protocol(cluster), "filters": [_METADATA_EXCHANGE]}


def _chain(chain: dict[str, typing.Any]) -> dict[str, typing.Any]:
    *others, last = chain["filters"]
    config = last["typed_config"]
    if "http_filters" in config:
        *http, router = config["http_filters"]
        config = {**config, "http_filters": [_PEER_METADATA, *http, _ALPN, _STATS, router]}
        others = [_METADATA_EXCHANGE, *others]
    else:
        others = [_METADATA_EXCHANGE, *others, _STATS]
    return {**_with_protocol(chain), "filters": [*others, {**last, "typed_config": config}]}


def _with_protocol(thing: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """A chain or cluster whose TLS, if it has any, negotiates metadata exchange first."""
    if "transport_socket" not in thing:
        return thing
    socket = thing["transport_socket"]
    common = socket["typed_config"]["common_tls_context"]
    common = {**common, "alpn_protocols": [MX_PROTOCOL, *common["alpn_protocols"]]}
    config = {**socket["typed_config"], "common_tls_context": common}
    return {**thing, "transport_socket": {**socket, "typed_config": config}}
