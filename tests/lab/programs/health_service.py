# SPDX-License-Identifier: Apache-2.0
"""A gRPC server with grpc.health.v1.Health/Check. Usage: health_service.py ADDRESS:PORT FILE

FILE has a line SERVICE=STATUS for each service, read at each call: SERVING or NOT_SERVING; others are NOT_FOUND.
"""

import concurrent.futures
import pathlib
import signal
import sys

import grpc

STATUS = {"SERVING": 1, "NOT_SERVING": 2}


def service_of(request: bytes) -> str:
    """HealthCheckRequest{service = 1}; lengths below 128 are one byte."""
    return request[2 : 2 + request[1]].decode() if request[:1] == b"\x0a" else ""


def main() -> None:
    where, states = sys.argv[1], pathlib.Path(sys.argv[2])

    def check(request: bytes, context: grpc.ServicerContext) -> bytes:
        known = dict(line.split("=") for line in states.read_text().split())
        service = service_of(request)
        if service not in known:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return bytes([0x08, STATUS[known[service]]])

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
    method = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),))
    if server.add_insecure_port(where) == 0:
        sys.exit(f"can't listen on {where}")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(None))
    server.wait_for_termination()


main()
