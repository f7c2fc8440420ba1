# SPDX-License-Identifier: Apache-2.0
"""What one node is to have: type URL → name → (version, resource). Versions are content hashes."""

from __future__ import annotations

import dataclasses
import hashlib
import typing

# imported so that json_format finds the types named by "@type"
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2 as _lua  # noqa: F401
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as _http_rbac  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2 as _router  # noqa: F401
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2 as _original_dst  # noqa: F401
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2 as _tls_inspector  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as _hcm  # noqa: F401
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as _network_rbac  # noqa: F401
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2 as _tcp_proxy  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2 as _tls  # noqa: F401
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as _http_options  # noqa: F401
from google.protobuf import any_pb2, json_format

PREFIX = "type.googleapis.com/"
CDS = PREFIX + "envoy.config.cluster.v3.Cluster"
EDS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = PREFIX + "envoy.config.listener.v3.Listener"
RDS = PREFIX + "envoy.config.route.v3.RouteConfiguration"
PUSH_ORDER = (CDS, EDS, LDS, RDS)

_MESSAGES: dict[str, tuple[typing.Any, str]] = {
    CDS: (cluster_pb2.Cluster, "name"),
    EDS: (endpoint_pb2.ClusterLoadAssignment, "cluster_name"),
    LDS: (listener_pb2.Listener, "name"),
    RDS: (route_pb2.RouteConfiguration, "name"),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    version: str
    resource: any_pb2.Any


@dataclasses.dataclass
class Snapshot:
    entries: dict[str, dict[str, Entry]] = dataclasses.field(default_factory=lambda: {t: {} for t in PUSH_ORDER})

    edits: dict[str, typing.Callable[[dict[str, typing.Any]], dict[str, typing.Any]]] = dataclasses.field(
        default_factory=dict
    )

    def add(self, type_url: str, fields: dict[str, typing.Any]) -> None:
        """`fields` as in Envoy's own YAML; a wrong field raises here and not in Envoy. `edits` change them before."""
        message_class, key = _MESSAGES[type_url]
        if edit := self.edits.get(type_url):
            fields = edit(fields)
        message = json_format.ParseDict(fields, message_class())
        resource = any_pb2.Any(type_url=type_url, value=message.SerializeToString(deterministic=True))
        version = hashlib.sha256(resource.value).hexdigest()[:16]
        self.entries[type_url][getattr(message, key)] = Entry(version, resource)

    def add_packed(self, type_url: str, name: str, message: typing.Any) -> None:
        resource = any_pb2.Any(type_url=type_url, value=message.SerializeToString(deterministic=True))
        self.entries.setdefault(type_url, {})[name] = Entry(hashlib.sha256(resource.value).hexdigest()[:16], resource)

    def of(self, type_url: str) -> dict[str, Entry]:
        return self.entries.get(type_url, {})

    def version_of(self, type_url: str) -> str:
        """Of all resources of a type together."""
        text = "".join(f"{name}={entry.version};" for name, entry in sorted(self.of(type_url).items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def any_of(type_name: str, **fields: typing.Any) -> dict[str, typing.Any]:
    return {"@type": PREFIX + type_name, **fields}


def named(name: str, type_name: str, **fields: typing.Any) -> dict[str, typing.Any]:
    """A filter or another extension with its typed configuration."""
    return {"name": name, "typed_config": any_of(type_name, **fields)}
