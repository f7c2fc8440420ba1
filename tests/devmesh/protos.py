# SPDX-License-Identifier: Apache-2.0
"""The messages of Istio's protocols and of other CAs, built here because no package has them: the only place with their field numbers."""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, struct_pb2
from google.rpc import status_pb2

PACKAGE = "istio.v1.auth"
SERVICE = f"{PACKAGE}.IstioCertificateService"
PROXY_CONFIG_TYPE = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig"
CITADEL_SERVICE = f"{PACKAGE}.IstioCAService"
MESHCA_PACKAGE = "google.security.meshca.v1"
MESHCA_SERVICE = f"{MESHCA_PACKAGE}.MeshCertificateService"
HEALTH_TYPE = "type.googleapis.com/istio.v1.HealthInformation"  # a bare marker: no message has this name

_Field = descriptor_pb2.FieldDescriptorProto


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="security/v1alpha1/ca.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[struct_pb2.DESCRIPTOR.name],
    )
    request = file.message_type.add(name="IstioCertificateRequest")
    one, many = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
    request.field.add(name="csr", number=1, type=_Field.TYPE_STRING, label=one)
    request.field.add(name="validity_duration", number=3, type=_Field.TYPE_INT64, label=one)
    struct = f".{struct_pb2.Struct.DESCRIPTOR.full_name}"
    request.field.add(name="metadata", number=4, type=_Field.TYPE_MESSAGE, type_name=struct, label=one)
    response = file.message_type.add(name="IstioCertificateResponse")
    response.field.add(name="cert_chain", number=1, type=_Field.TYPE_STRING, label=many)
    return file


def _mesh_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="mesh/v1alpha1/proxy.proto", package="istio.mesh.v1alpha1", syntax="proto3")
    config = file.message_type.add(name="ProxyConfig")
    config.field.add(name="ca_certificates_pem", number=34, type=_Field.TYPE_STRING, label=_Field.LABEL_REPEATED)
    return file


def _citadel_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="security/proto/ca_service.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[status_pb2.DESCRIPTOR.name],
    )
    one = _Field.LABEL_OPTIONAL
    request = file.message_type.add(name="CsrRequest")
    request.field.add(name="csr_pem", number=1, type=_Field.TYPE_BYTES, label=one)
    request.field.add(name="node_agent_credential", number=2, type=_Field.TYPE_BYTES, label=one)
    request.field.add(name="credential_type", number=3, type=_Field.TYPE_STRING, label=one)
    request.field.add(name="requested_ttl_minutes", number=4, type=_Field.TYPE_INT32, label=one)
    response = file.message_type.add(name="CsrResponse")
    status = f".{status_pb2.Status.DESCRIPTOR.full_name}"
    response.field.add(name="is_approved", number=1, type=_Field.TYPE_BOOL, label=one)
    response.field.add(name="status", number=2, type=_Field.TYPE_MESSAGE, type_name=status, label=one)
    response.field.add(name="signed_cert", number=3, type=_Field.TYPE_BYTES, label=one)
    response.field.add(name="cert_chain", number=4, type=_Field.TYPE_BYTES, label=one)
    return file


def _meshca_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="security/proto/providers/google/meshca.proto",
        package=MESHCA_PACKAGE,
        syntax="proto3",
        dependency=[duration_pb2.DESCRIPTOR.name],
    )
    one = _Field.LABEL_OPTIONAL
    request = file.message_type.add(name="MeshCertificateRequest")
    duration = f".{duration_pb2.Duration.DESCRIPTOR.full_name}"
    request.field.add(name="request_id", number=1, type=_Field.TYPE_STRING, label=one)
    request.field.add(name="csr", number=2, type=_Field.TYPE_STRING, label=one)
    request.field.add(name="validity", number=3, type=_Field.TYPE_MESSAGE, type_name=duration, label=one)
    response = file.message_type.add(name="MeshCertificateResponse")
    response.field.add(name="cert_chain", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_REPEATED)
    return file


_pool = descriptor_pool.Default()
for _each in (_file(), _mesh_file(), _citadel_file(), _meshca_file()):
    _pool.AddSerializedFile(_each.SerializeToString())


def _class(name: str):
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name))


CertificateRequest = _class(f"{PACKAGE}.IstioCertificateRequest")
CertificateResponse = _class(f"{PACKAGE}.IstioCertificateResponse")
CsrRequest = _class(f"{PACKAGE}.CsrRequest")
CsrResponse = _class(f"{PACKAGE}.CsrResponse")
MeshCertificateRequest = _class(f"{MESHCA_PACKAGE}.MeshCertificateRequest")
MeshCertificateResponse = _class(f"{MESHCA_PACKAGE}.MeshCertificateResponse")
ProxyConfig = _class("istio.mesh.v1alpha1.ProxyConfig")
