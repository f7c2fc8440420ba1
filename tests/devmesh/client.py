# SPDX-License-Identifier: Apache-2.0
"""A client for tests: CSRs, and a delta ADS stream that is read message by message."""

from __future__ import annotations

import queue
import typing

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.rpc import status_pb2

from devmesh import protos

TIMEOUT = 10


def make_csr(spiffe_id: str | None = None, key=None) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if spiffe_id:
        name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)])
        builder = builder.add_extension(name, critical=True)
    csr = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


class Client:
    def __init__(
        self, address: str, roots: str, server_name: str, *, token: str | None = None, key: str | None = None,
        chain: str | None = None
    ):  # fmt: skip
        credentials = grpc.ssl_channel_credentials(
            roots.encode(), key.encode() if key else None, chain.encode() if chain else None
        )
        options = [("grpc.ssl_target_name_override", server_name), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.secure_channel(address, credentials, options)
        self._metadata = [("authorization", f"Bearer {token}")] if token else []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc) -> None:
        self._channel.close()

    def create_certificate(self, csr: str, validity: int = 0, metadata: dict[str, typing.Any] | None = None) -> list[str]:
        call = self._channel.unary_unary(
            f"/{protos.SERVICE}/CreateCertificate",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=protos.CertificateResponse.FromString,
        )
        request = protos.CertificateRequest(csr=csr, validity_duration=validity)
        request.metadata.update(metadata or {})
        return list(call(request, timeout=TIMEOUT, metadata=[*self._metadata, ("clusterid", "Kubernetes")]).cert_chain)

    def unary(self, path: str, request, answer, metadata: typing.Sequence[tuple[str, str]] = ()):
        """Any other method: `answer` is the class of its response."""
        call = self._channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return call(request, timeout=TIMEOUT, metadata=[*self._metadata, *metadata])

    def delta(self) -> DeltaStream:
        return DeltaStream(self._channel, self._metadata)

    def sotw(self) -> SotwStream:
        return SotwStream(self._channel, self._metadata)


class _Stream:
    def __init__(self, method, metadata):
        self._requests: queue.SimpleQueue = queue.SimpleQueue()
        self.call = method(iter(self._requests.get, None), timeout=60, metadata=metadata)

    def __enter__(self):
        return self

    def __exit__(self, *_exc) -> None:
        self._requests.put(None)
        self.call.cancel()

    def send(self, message) -> None:
        self._requests.put(message)

    def receive(self):
        """The next message; RpcError when the stream ended."""
        return next(self.call)


class DeltaStream(_Stream):
    def __init__(self, channel, metadata):
        super().__init__(ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources, metadata)

    def subscribe(self, type_url: str, *names: str, node=None, unsubscribe: tuple[str, ...] = (), versions=None) -> None:
        self.send(
            discovery_pb2.DeltaDiscoveryRequest(
                node=node,
                type_url=type_url,
                resource_names_subscribe=names,
                resource_names_unsubscribe=unsubscribe,
                initial_resource_versions=versions or {},
            )
        )

    def answer(self, response, nack: str | None = None) -> None:
        error = status_pb2.Status(code=13, message=nack) if nack else None
        self.send(
            discovery_pb2.DeltaDiscoveryRequest(
                type_url=response.type_url, response_nonce=response.nonce, error_detail=error
            )
        )

    def receive_acked(self):
        response = self.receive()
        self.answer(response)
        return response

    def report_health(self, error: str | None = None) -> None:
        detail = status_pb2.Status(code=13, message=error) if error else None
        self.send(discovery_pb2.DeltaDiscoveryRequest(type_url=protos.HEALTH_TYPE, error_detail=detail))


class SotwStream(_Stream):
    def __init__(self, channel, metadata):
        super().__init__(ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources, metadata)

    def request(self, type_url: str, *names: str, node=None, answers=None) -> None:
        self.send(
            discovery_pb2.DiscoveryRequest(
                node=node,
                type_url=type_url,
                resource_names=names,
                response_nonce=answers.nonce if answers else "",
                version_info=answers.version_info if answers else "",
            )
        )
