# SPDX-License-Identifier: Apache-2.0
"""Runs inside a host: asks a CA by istio.v1.auth.IstioCertificateService/CreateCertificate, prints its answer as JSON.

Standard input is one JSON object: address, name (the TLS server's), root (PEM), csr (PEM), and optionally token and
seconds. The answer is {"chain": [PEM…]} or {"code": "UNAUTHENTICATED", "message": "…"}; the exit status is 0 for both.
"""

from __future__ import annotations

import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
TIMEOUT = 10.0


def _messages() -> tuple[type, type]:
    """The two messages, declared here from their public field numbers: no generated code, no protoc."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="ca.proto", package="istio.v1.auth", syntax="proto3")
    request = file.message_type.add(name="IstioCertificateRequest")
    request.field.add(name="csr", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    request.field.add(name="validity_duration", number=3, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    response = file.message_type.add(name="IstioCertificateResponse")
    response.field.add(name="cert_chain", number=1, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("istio.v1.auth.IstioCertificateRequest", "istio.v1.auth.IstioCertificateResponse")
    return tuple(message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names)


def create_certificate(order: dict) -> dict:
    request_class, response_class = _messages()
    credentials = grpc.ssl_channel_credentials(root_certificates=order["root"].encode())
    options = [("grpc.ssl_target_name_override", order["name"]), ("grpc.enable_http_proxy", 0)]
    metadata = [("clusterid", order.get("cluster", "Kubernetes"))]
    if order.get("token"):
        metadata.append(("authorization", f"Bearer {order['token']}"))
    with grpc.secure_channel(order["address"], credentials, options) as channel:
        call = channel.unary_unary(METHOD, request_class.SerializeToString, response_class.FromString)
        request = request_class(csr=order["csr"], validity_duration=order.get("seconds", 0))
        try:
            answer = call(request, metadata=metadata, timeout=TIMEOUT)
        except grpc.RpcError as error:
            return {"code": error.code().name, "message": error.details()}
    return {"chain": list(answer.cert_chain)}


if __name__ == "__main__":
    print(json.dumps(create_certificate(json.load(sys.stdin))))
