# SPDX-License-Identifier: Apache-2.0
"""A devmesh in a thread, on loopback, and what its tests need to talk to it."""

from __future__ import annotations

import contextlib
import copy
import pathlib
import typing

import pytest
from envoy.config.core.v3 import base_pb2

from devmesh import config as configuration
from devmesh.client import Client
from devmesh.server import BackgroundDevmesh

NAME = "istiod.istio-system.svc"
SPIFFE = "spiffe://cluster.local/ns/demo/sa/vm-app"
DATA: dict[str, typing.Any] = {
    "state_dir": "state",
    "listen": {"grpc": ["127.0.0.1:0"], "http": "127.0.0.1:0"},
    "mesh": {"network": "vm-net"},
    "registration": {"grace": "150ms"},
    "services": [
        {
            "host": "reviews.demo.svc.cluster.local",
            "vip": "10.77.100.10",
            "service_account": "reviews",
            "endpoints": [{"address": "127.0.0.1", "port": 9443}],
        },
        {"host": "vm-app.demo.svc.cluster.local", "group": "vm-app", "ports": [{"number": 8080}]},
    ],
    "groups": [
        {
            "name": "vm-app",
            "namespace": "demo",
            "service_account": "vm-app",
            "labels": {"app": "vm-app"},
            "ports": [{"number": 8080}],
            "probe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1},
        }
    ],
}


class Mesh(BackgroundDevmesh):
    def __init__(self, file: pathlib.Path):
        super().__init__(file)
        self.file = file
        self.data = copy.deepcopy(DATA)

    def write(self) -> None:
        configuration.save(self.file, self.data)

    def reload(self) -> bool:
        self.write()
        return self.call(lambda mesh: mesh.reload())

    @property
    def roots(self) -> str:
        return self.mesh.authority.roots_pem

    def token(self, account: str = "vm-app", namespace: str = "demo", ttl: float = 60, **kwargs: str) -> str:
        return self.mesh.tokens.issue(namespace, account, ttl, **kwargs)

    def client(self, token: str | None = None, **kwargs: typing.Any) -> Client:
        return Client(self.address, kwargs.pop("roots", self.roots), NAME, token=token, **kwargs)

    def rows(self) -> list[dict[str, typing.Any]]:
        return self.call(lambda mesh: mesh.workloads())

    @contextlib.contextmanager
    def stream(self, sotw: bool = False) -> typing.Iterator[typing.Any]:
        with self.client(self.token()) as client, client.sotw() if sotw else client.delta() as stream:
            yield stream


def node(**changes: typing.Any) -> base_pb2.Node:
    """Of the workload vm-app; a change of None leaves a key of the metadata out."""
    metadata = {
        "NAMESPACE": "demo",
        "SERVICE_ACCOUNT": "vm-app",
        "INSTANCE_IPS": "10.0.0.5,fd00::5",
        "AUTO_REGISTER_GROUP": "vm-app",
        "NETWORK": "vm-net",
        "LABELS": {"version": "v1", "istio-locality": "here"},
        "PROXY_CONFIG": {"readinessProbe": {"httpGet": {"path": "/health", "port": 8080}}},
        **changes,
    }
    message = base_pb2.Node(id="sidecar~10.0.0.5~vm.demo~demo.svc.cluster.local")
    message.metadata.update({key: value for key, value in metadata.items() if value is not None})
    return message


@pytest.fixture
def mesh_file(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "devmesh.yaml"
    configuration.save(file, DATA)
    return file


@pytest.fixture
def mesh(mesh_file: pathlib.Path) -> typing.Iterator[Mesh]:
    with Mesh(mesh_file) as mesh:
        yield mesh
