# SPDX-License-Identifier: Apache-2.0
"""What devmesh tells those who aren't a proxy: gRPC programs, and who asks for debug types."""

from __future__ import annotations

import json

import grpc
import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.service.status.v3 import csds_pb2

from devmesh import debug
from devmesh.fixtures import Mesh, node
from devmesh.snapshot import CDS, EDS, LDS, RDS

GREETER = "greeter.demo.svc.cluster.local"
CLUSTER = f"outbound|7070||{GREETER}"


def asker(name: str = "hawser-debug"):
    message = node(AUTO_REGISTER_GROUP=None)
    message.id = f"sidecar~10.0.0.5~{name}.demo~demo.svc.cluster.local"
    return message


def test_a_grpc_program_gets_api_listeners_of_plaintext_services(mesh: Mesh) -> None:
    endpoint = {"address": "10.0.0.9", "port": 7071}
    mesh.data["services"].append({"host": GREETER, "mtls": False, "ports": [{"number": 7070}], "endpoints": [endpoint]})
    mesh.reload()
    with mesh.stream(sotw=True) as stream:
        program = node(GENERATOR="grpc", AUTO_REGISTER_GROUP=None)
        stream.request(LDS, f"{GREETER}:7070", "reviews.demo.svc.cluster.local:80", node=program)
        (resource,) = stream.receive().resources
        listener = listener_pb2.Listener.FromString(resource.value)
        assert listener.name == f"{GREETER}:7070" and listener.HasField("api_listener")
        for type_url in (RDS, CDS, EDS):
            stream.request(type_url, CLUSTER)
            assert len(stream.receive().resources) == 1, type_url
    assert mesh.rows() == []


def test_syncz_tells_of_the_namespaces_streams_and_not_of_the_one_that_asks(mesh: Mesh) -> None:
    with mesh.stream() as proxy, mesh.stream(sotw=True) as stream:
        proxy.subscribe(CDS, node=node())
        proxy.receive_acked()
        stream.request(debug.SYNCZ, node=asker())
        (resource,) = stream.receive().resources
        config = csds_pb2.ClientConfig.FromString(resource.value)
        assert config.node.id == "vm.demo"
        assert [c.type_url for c in config.generic_xds_configs] == [CDS]


def test_pages_are_of_one_proxy_and_most_are_not_for_workloads(mesh: Mesh) -> None:
    with mesh.stream() as proxy, mesh.stream(sotw=True) as stream:
        proxy.subscribe(CDS, node=node())
        proxy.receive_acked()
        stream.request(debug.PREFIX, "edsz?proxyID=vm.demo", node=asker())
        (page,) = stream.receive().resources
        assert json.loads(page.value)["configs"]
        stream.request(debug.PREFIX, "edsz?proxyID=nobody.demo")
        assert b"not connected" in stream.receive().resources[0].value
        stream.request(debug.PREFIX, "registryz")
        with pytest.raises(grpc.RpcError) as error:
            stream.receive()
        assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
