# SPDX-License-Identifier: Apache-2.0
"""Writes the fuzzers' first inputs into tests/fuzz/corpus: `PYTHONPATH=tests .venv/bin/python tests/fuzz/seeds.py`.

Whatever else is in those folders a fuzzer has found. Inputs are small: a fuzzer changes small ones faster.
"""

from __future__ import annotations

import pathlib

from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2

CORPUS = pathlib.Path(__file__).with_name("corpus")
CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def write(target: str, name: str, data: bytes) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def response(*names: str, removed: tuple[str, ...] = (), version: str = "") -> discovery_pb2.DeltaDiscoveryResponse:
    message = discovery_pb2.DeltaDiscoveryResponse(type_url=CDS, nonce="n1", system_version_info="1")
    for name in names:
        resource = message.resources.add(name=name, version=version)
        resource.resource.Pack(cluster_pb2.Cluster(name=name))
    message.removed_resources.extend(removed)
    return message


def responses() -> None:
    """The first byte says how the rest is cut into pieces."""
    full = response("a", "b", removed=("gone",), version="v7")
    full.resources[0].aliases.append("alias")
    full.resources[1].ttl.FromSeconds(5)
    heartbeat = response("a")
    heartbeat.resources[0].ClearField("resource")
    seeds = {
        "clusters": response("a", "b"),
        "full": full,
        "heartbeat": heartbeat,
        "nothing": response(),
        "removed": response(removed=("a", "b")),
    }
    for name, message in seeds.items():
        write("response", name, b"\x06" + message.SerializeToString())
    body = response("a").SerializeToString()
    write("response", "unknown-fields", b"\x02" + body + b"\x78\x96\x01" + b"\x7d\x01\x02\x03\x04")
    write("response", "length-beyond-the-end", b"\x02" + body + b"\x12\xff\xff\xff\xff\x07")
    write("response", "a-group", b"\x02" + body + b"\x7b\x08\x01\x7c")


def request(**fields: object) -> bytes:
    body = discovery_pb2.DeltaDiscoveryRequest(**fields).SerializeToString()
    return len(body).to_bytes(2, "little") + body


def requests() -> None:
    """Several requests of a stream, each after its length."""
    first = request(type_url=CDS, node={"id": "sidecar~10.0.0.1~vm.demo~demo.svc.cluster.local", "cluster": "c"})
    endpoints = request(type_url=EDS, resource_names_subscribe=["a", "b"])
    held = request(type_url=CDS, initial_resource_versions={"a": "1", "z": "2"})
    rejected = request(type_url=CDS, response_nonce="h1", error_detail={"code": 3, "message": "no"})
    write("request", "all-clusters", first)
    write("request", "endpoints", first + endpoints + request(type_url=EDS, resource_names_unsubscribe=["a"]))
    write("request", "wildcard", request(type_url=CDS, resource_names_subscribe=["*", "a"]) + request(type_url=CDS, resource_names_unsubscribe=["*"]))
    write("request", "held", held + request(type_url=CDS, response_nonce="h1"))
    write("request", "rejected", first + rejected)
    write("request", "not-a-request", b"\x03\x00\xff\xff\xff" + first)


if __name__ == "__main__":
    responses()
    requests()
