# SPDX-License-Identifier: Apache-2.0
"""What a gRPC program without a proxy is told (node metadata GENERATOR=grpc), as istiod tells it."""

from __future__ import annotations

import typing

from devmesh import resources
from devmesh.config import Config, Port, Service
from devmesh.registry import Row
from devmesh.snapshot import CDS, EDS, LDS, RDS, Snapshot, any_of, named

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ADS: dict[str, typing.Any] = {"ads": {}, "resource_api_version": "V3"}


def build(config: Config, rows: list[Row]) -> Snapshot:
    """Services with mTLS are left out: a program would need certificate files for them."""
    snapshot = Snapshot()
    for service in config.services:
        for port in () if service.mtls else service.ports:
            snapshot.add(LDS, _listener(service, port))
            snapshot.add(RDS, _route(service, port))
            snapshot.add(CDS, _cluster(service, port))
            snapshot.add(EDS, _with_locality(resources.assignment(config, service, port, rows)))
    return snapshot


def _listener(service: Service, port: Port) -> dict[str, typing.Any]:
    router = named("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")
    rds = {"config_source": _ADS, "route_config_name": resources.cluster_name(service, port)}
    manager = any_of(_HCM, rds=rds, http_filters=[router])
    return {"name": f"{service.host}:{port.number}", "api_listener": {"api_listener": manager}}


def _route(service: Service, port: Port) -> dict[str, typing.Any]:
    name = resources.cluster_name(service, port)
    # gRPC takes "" for any path, where Envoy takes "/"
    route = {"match": {"prefix": ""}, "route": {"cluster": name}}
    domains = [service.host, f"{service.host}:{port.number}"]
    return {"name": name, "virtual_hosts": [{"name": service.host, "domains": domains, "routes": [route]}]}


def _cluster(service: Service, port: Port) -> dict[str, typing.Any]:
    name = resources.cluster_name(service, port)
    return {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": _ADS, "service_name": name}}


def _with_locality(assignment: dict[str, typing.Any]) -> dict[str, typing.Any]:
    for group in assignment["endpoints"]:
        group["locality"] = {"region": "lab"}
    return assignment
