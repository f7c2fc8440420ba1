# SPDX-License-Identifier: Apache-2.0
"""A gRPC service and its client, for the interpreter that has grpcio.

`greeter.py serve ADDRESS NAME` answers /lab.Greeter/Hello with NAME.
`greeter.py call TARGET` calls it once for each line of standard input and prints one line of JSON each: {"said"} or
{"error", "details"}. With an xds:/// target it finds the service as GRPC_XDS_BOOTSTRAP says.
"""

from __future__ import annotations

import concurrent.futures
import json
import sys

import grpc

METHOD = "/lab.Greeter/Hello"


def serve(address: str, name: str) -> None:
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: name.encode())
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Greeter", {"Hello": handler}),))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def call(target: str) -> None:
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        hello = channel.unary_unary(METHOD)
        for _ in sys.stdin:
            try:
                answer = {"said": hello(b"", timeout=5, wait_for_ready=False).decode()}
            except grpc.RpcError as error:
                answer = {"error": error.code().name, "details": error.details()}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
