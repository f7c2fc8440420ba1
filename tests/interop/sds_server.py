# SPDX-License-Identifier: Apache-2.0
"""Runs inside a host: a fixed SDS server on a Unix socket, in the agent's place, for a proxy tested without one.

Standard input is one JSON object: path, uid (the socket's owner), key, chain, roots (PEM). It says `ready` and serves
the secrets `default` and `ROOTCA` until it is ended.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import sys
import typing

import grpc
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.secret.v3 import sds_pb2_grpc

TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def secrets(identity: dict) -> dict[str, secret_pb2.Secret]:
    own, roots = secret_pb2.Secret(name="default"), secret_pb2.Secret(name="ROOTCA")
    own.tls_certificate.certificate_chain.inline_bytes = identity["chain"].encode()
    own.tls_certificate.private_key.inline_bytes = identity["key"].encode()
    roots.validation_context.trusted_ca.inline_bytes = identity["roots"].encode()
    return {secret.name: secret for secret in (own, roots)}


class Server(sds_pb2_grpc.SecretDiscoveryServiceServicer):
    def __init__(self, identity: dict) -> None:
        self._secrets = secrets(identity)

    def StreamSecrets(self, request_iterator: typing.Iterator, context: grpc.ServicerContext) -> typing.Iterator:
        for request in request_iterator:
            if request.response_nonce:  # an acknowledgement: nothing ever changes here
                continue
            response = discovery_pb2.DiscoveryResponse(type_url=TYPE, version_info="1", nonce="1")
            for name in request.resource_names:
                response.resources.add().Pack(self._secrets[name])
            yield response


def main() -> None:
    identity = json.loads(sys.stdin.readline())
    # a thread per open stream, and Envoy has one per secret and use
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=32))
    sds_pb2_grpc.add_SecretDiscoveryServiceServicer_to_server(Server(identity), server)
    server.add_insecure_port(f"unix:{identity['path']}")
    server.start()
    os.chown(identity["path"], identity["uid"], -1)
    print("ready", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
