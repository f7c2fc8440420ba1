# SPDX-License-Identifier: Apache-2.0
"""A SPIFFE agent: the X.509 part of the Workload API, by the field numbers of the SPIFFE specification, with grpcio."""

from __future__ import annotations

import concurrent.futures
import threading
import typing

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lab.plane import Identity

METHOD = "FetchX509SVID"
SERVICE = "SpiffeWorkloadAPI"  # it has no package
_Field = descriptor_pb2.FieldDescriptorProto


def _messages() -> tuple[type, type]:
    file = descriptor_pb2.FileDescriptorProto(name="lab/workload.proto", package="lab.spiffe", syntax="proto3")
    svid = file.message_type.add(name="X509SVID")
    for number, (name, kind) in enumerate(
        [
            ("spiffe_id", _Field.TYPE_STRING),
            ("x509_svid", _Field.TYPE_BYTES),
            ("x509_svid_key", _Field.TYPE_BYTES),
            ("bundle", _Field.TYPE_BYTES),
            ("hint", _Field.TYPE_STRING),
        ],
        start=1,
    ):
        svid.field.add(name=name, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
    response = file.message_type.add(name="X509SVIDResponse")
    many = _Field.LABEL_REPEATED
    response.field.add(name="svids", number=1, type=_Field.TYPE_MESSAGE, type_name=".lab.spiffe.X509SVID", label=many)
    response.field.add(name="crl", number=2, type=_Field.TYPE_BYTES, label=many)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    get = message_factory.GetMessageClass
    return tuple(get(pool.FindMessageTypeByName(f"lab.spiffe.{name}")) for name in ("X509SVID", "X509SVIDResponse"))


Svid, Response = _messages()


def _der(pem: str) -> bytes:
    certificates = x509.load_pem_x509_certificates(pem.encode())
    return b"".join(c.public_bytes(serialization.Encoding.DER) for c in certificates)


def svid(identity: Identity, hint: str = "") -> typing.Any:
    key = serialization.load_pem_private_key(identity.key.encode(), password=None)
    leaf = x509.load_pem_x509_certificates(identity.chain.encode())[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    encoding = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Svid(
        spiffe_id=names.get_values_for_type(x509.UniformResourceIdentifier)[0],
        x509_svid=_der(identity.chain),
        x509_svid_key=key.private_bytes(*encoding),
        bundle=_der(identity.roots),
        hint=hint,
    )


class Agent(grpc.GenericRpcHandler):
    """`offer` replaces what every stream is told; with nothing offered callers have no registration entry."""

    def __init__(self, path: str) -> None:
        self._changed = threading.Condition()
        self._offered: list[typing.Any] = []
        self._version = 0
        self._ended = False
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=(self,))
        self._server.add_insecure_port(f"unix://{path}")
        self._server.start()

    def offer(self, *svids: typing.Any) -> None:
        with self._changed:
            self._offered = list(svids)
            self._version += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._server.stop(None).wait(5)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != f"/{SERVICE}/{METHOD}":
            return None
        serializer = Response.SerializeToString
        return grpc.unary_stream_rpc_method_handler(self._fetch, lambda data: data, serializer)

    def _fetch(self, request: bytes, context: grpc.ServicerContext) -> typing.Iterator[typing.Any]:
        if ("workload.spiffe.io", "true") not in [(key, value) for key, value in context.invocation_metadata()]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        told = -1
        while context.is_active():
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._version != told, timeout=0.2)
                if self._ended:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the agent is stopped")
                if not self._offered:
                    context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
                if self._version == told:
                    continue
                told = self._version
                response = Response(svids=self._offered)
            yield response
