# SPDX-License-Identifier: Apache-2.0
"""The messages of Istio's own protocols, built here because no package has them: the only place with their field numbers."""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

PACKAGE = "istio.v1.auth"
SERVICE = f"{PACKAGE}.IstioCertificateService"
PROXY_CONFIG_TYPE = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig"
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


_pool = descriptor_pool.Default()
_pool.AddSerializedFile(_file().SerializeToString())
_pool.AddSerializedFile(_mesh_file().SerializeToString())

CertificateRequest = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.IstioCertificateRequest"))
CertificateResponse = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.IstioCertificateResponse"))
ProxyConfig = message_factory.GetMessageClass(_pool.FindMessageTypeByName("istio.mesh.v1alpha1.ProxyConfig"))
