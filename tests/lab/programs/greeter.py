# SPDX-License-Identifier: Apache-2.0
"""A gRPC service and its client, for the interpreter that has grpcio.

`greeter.py serve ADDRESS NAME [FOLDER]` answers /lab.Greeter/Hello with NAME; with FOLDER by mTLS, with what lies there,
and then the answer ends with the caller's SPIFFE id.
`greeter.py call TARGET` calls it once for each line of standard input and prints one line of JSON each: {"said"} or
{"error", "details"}. With an xds:/// target it finds the service as GRPC_XDS_BOOTSTRAP says.
"""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import sys

import grpc
import grpc.experimental

METHOD = "/lab.Greeter/Hello"


def serve(address: str, name: str, folder: str | None = None) -> None:
    def hello(request: bytes, context: grpc.ServicerContext) -> bytes:
        return b" for ".join([name.encode(), *(context.peer_identities() or [])])

    handler = grpc.unary_unary_rpc_method_handler(hello)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Greeter", {"Hello": handler}),))
    if folder is None:
        server.add_insecure_port(address)
    else:
        key, chain, roots = (
            (pathlib.Path(folder) / file).read_bytes()
            for file in ("private_key.pem", "certificates.pem", "ca_certificates.pem")
        )
        server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)], roots, require_client_auth=True))
    server.start()
    server.wait_for_termination()


def call(target: str) -> None:
    credentials = grpc.xds_channel_credentials(grpc.experimental.insecure_channel_credentials())
    with grpc.secure_channel(target, credentials, [("grpc.enable_http_proxy", 0)]) as channel:
        hello = channel.unary_unary(METHOD)
        for _ in sys.stdin:
            try:
                answer = {"said": hello(b"", timeout=5, wait_for_ready=False).decode()}
            except grpc.RpcError as error:
                answer = {"error": error.code().name, "details": error.details()}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
