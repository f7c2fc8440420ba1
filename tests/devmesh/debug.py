# SPDX-License-Identifier: Apache-2.0
"""Debug types (`istio.io/debug…`) with istiod's rules: syncz is a type, the rest are pages of one proxy each."""

from __future__ import annotations

import json
import typing

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.status.v3 import csds_pb2
from google.protobuf import any_pb2, json_format

from devmesh.config import ROOT_NAMESPACE
from devmesh.registry import Denied
from devmesh.snapshot import EDS

if typing.TYPE_CHECKING:
    from devmesh.ads import Stream

PREFIX = "istio.io/debug"
SYNCZ = f"{PREFIX}/syncz"
FOR_WORKLOADS = ("config_dump", "ndsz", "edsz")


def answer(request, asker: Stream, streams: list[Stream]) -> discovery_pb2.DiscoveryResponse | None:
    """None: istiod says nothing. Denied ends the stream."""
    if request.type_url == SYNCZ:
        found = [_config(s) for s in streams if s is not asker and s.caller.namespace == asker.caller.namespace]
        return _response(SYNCZ, found)
    if request.type_url != PREFIX:
        return None
    if len(request.resource_names) != 1:
        raise Denied(grpc.StatusCode.INVALID_ARGUMENT, "exactly one debug request is required")
    page, _, query = request.resource_names[0].partition("?")
    if asker.caller.namespace != ROOT_NAMESPACE and page not in FOR_WORKLOADS:
        text = "the debug info is not available for current identity"
        raise Denied(grpc.StatusCode.PERMISSION_DENIED, text)
    proxy = dict(part.partition("=")[::2] for part in query.split("&")).get("proxyID", "")
    stream = next((s for s in streams if proxy and proxy in s.proxy_id), None)
    return _response(PREFIX, [any_pb2.Any(type_url=PREFIX, value=_page(page, stream).encode())])


def _page(page: str, stream: Stream | None) -> str:
    if stream is None:
        return "Proxy not connected to this devmesh\n"
    types = [EDS] if page == "edsz" else list(stream.session.types)
    shown = [json_format.MessageToDict(e.resource) for t in types for e in stream.snapshot().of(t).values()]
    return json.dumps({"configs": shown if page != "ndsz" else []})


def _config(stream: Stream) -> any_pb2.Any:
    config = csds_pb2.ClientConfig()
    config.node.id = stream.proxy_id
    for type_url, subscription in sorted(stream.session.types.items()):
        status = "ERROR" if subscription.last_nack else "STALE" if subscription.nonces else "SYNCED"
        config.generic_xds_configs.add(type_url=type_url, config_status=status)
    packed = any_pb2.Any()
    packed.Pack(config)
    return packed


def _response(type_url: str, resources: list[any_pb2.Any]) -> discovery_pb2.DiscoveryResponse:
    return discovery_pb2.DiscoveryResponse(type_url=type_url, version_info="1", nonce="debug", resources=resources)
