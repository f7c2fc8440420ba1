# SPDX-License-Identifier: Apache-2.0
"""Runs inside a host: one delta ADS stream, driven by lines of JSON, so that a test can play a workload's agent.

The first line of standard input says how to connect: {"address", "name", "root", "token", "node": {"id", "metadata"}}.
Each further line is a request: {"type": URL, "subscribe": [names], "error": "text"}; the first one carries the node.
Standard output has a line for each response, {"type", "names", "removed"} (acknowledged at once), and
{"closed": CODE, "message"} as the last one. The stream ends with standard input.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import typing

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf import json_format
from google.rpc import status_pb2

INTERNAL = 13
_END = None


def request(order: dict, node: dict | None) -> discovery_pb2.DeltaDiscoveryRequest:
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=order["type"], resource_names_subscribe=order.get("subscribe", [])
    )
    if node is not None:
        message.node.CopyFrom(json_format.ParseDict(node, base_pb2.Node()))
    if "error" in order:
        message.error_detail.CopyFrom(status_pb2.Status(code=INTERNAL, message=order["error"]))
    return message


def requests(waiting: queue.SimpleQueue) -> typing.Iterator[discovery_pb2.DeltaDiscoveryRequest]:
    while (message := waiting.get()) is not _END:
        yield message


def read_orders(waiting: queue.SimpleQueue, node: dict) -> None:
    first: dict | None = node
    for line in sys.stdin:
        waiting.put(request(json.loads(line), first))
        first = None
    waiting.put(_END)


def say(fact: dict) -> None:
    print(json.dumps(fact), flush=True)


def main() -> None:
    how = json.loads(sys.stdin.readline())
    tls = grpc.ssl_channel_credentials(root_certificates=how["root"].encode())
    options = [
        ("grpc.ssl_target_name_override", how["name"]),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", -1),
    ]
    metadata = [("authorization", f"Bearer {how['token']}"), ("clusterid", "Kubernetes")] if how.get("token") else []
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=read_orders, args=(waiting, how["node"]), daemon=True).start()
    with grpc.secure_channel(how["address"], tls, options) as channel:
        stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources
        call = stream(requests(waiting), metadata=metadata)
        try:
            for response in call:
                ack = discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
                waiting.put(ack)
                names = [r.name for r in response.resources]
                say({"type": response.type_url, "names": names, "removed": list(response.removed_resources)})
        except grpc.RpcError as error:
            say({"closed": error.code().name, "message": error.details()})
        else:
            say({"closed": "OK", "message": ""})


if __name__ == "__main__":
    main()
