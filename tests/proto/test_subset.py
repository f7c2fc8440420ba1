# SPDX-License-Identifier: Apache-2.0
"""Our hand-written subset of foreign messages against the official descriptors: it may lack, never differ."""

import importlib
import pathlib
import subprocess

import pytest
from google.protobuf import descriptor_pb2

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
CONTRIB = "private_key_providers"  # of Envoy's contrib extensions there is no package either
# No package has these for Python: by field number (reference: the protos themselves).
UNPACKAGED = {
    "istio/security/v1alpha1/ca.proto": (
        {
            "istio.v1.auth.IstioCertificateRequest": {
                "csr": (1, "string", "optional"),
                "validity_duration": (3, "int64", "optional"),
                "metadata": (4, ".google.protobuf.Struct", "optional"),
            },
            "istio.v1.auth.IstioCertificateResponse": {"cert_chain": (1, "string", "repeated")},
        },
        [("IstioCertificateService", ["CreateCertificate"])],
    ),
    "istio/security/v1alpha1/ca_service.proto": (
        {
            "istio.v1.auth.CsrRequest": {
                "csr_pem": (1, "bytes", "optional"),
                "node_agent_credential": (2, "bytes", "optional"),
                "credential_type": (3, "string", "optional"),
                "requested_ttl_minutes": (4, "int32", "optional"),
            },
            "istio.v1.auth.CsrResponse": {
                "is_approved": (1, "bool", "optional"),
                "status": (2, ".google.rpc.Status", "optional"),
                "signed_cert": (3, "bytes", "optional"),
                "cert_chain": (4, "bytes", "optional"),
            },
        },
        [("IstioCAService", ["HandleCSR"])],
    ),
    "google/security/meshca/v1/meshca.proto": (
        {
            "google.security.meshca.v1.MeshCertificateRequest": {
                "request_id": (1, "string", "optional"),
                "csr": (2, "string", "optional"),
                "validity": (3, ".google.protobuf.Duration", "optional"),
            },
            "google.security.meshca.v1.MeshCertificateResponse": {"cert_chain": (1, "string", "repeated")},
        },
        [("MeshCertificateService", ["CreateCertificate"])],
    ),
}
FOREIGN = sorted(
    path
    for path in (str(p.relative_to(PROTO)) for p in PROTO.rglob("*.proto"))
    if path.startswith(("envoy/", "google/")) and path not in UNPACKAGED and CONTRIB not in path
)

Field = descriptor_pb2.FieldDescriptorProto
TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in Field.Type.items()}
LABELS = {number: name.removeprefix("LABEL_").lower() for name, number in Field.Label.items()}


def compiled(tmp_path) -> descriptor_pb2.FileDescriptorSet:
    out = tmp_path / "set.pb"
    subprocess.run(
        ["protoc", f"-I{PROTO}", "--include_imports", f"--descriptor_set_out={out}", *FOREIGN, *UNPACKAGED],
        check=True,
    )
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def fields_of(message, oneofs):
    for field in message.field:
        kind = field.type_name or TYPES[field.type]
        oneof = oneofs[field.oneof_index].name if field.HasField("oneof_index") else None
        yield field.name, (field.number, kind, LABELS[field.label], oneof)


def messages_of(package, messages):
    for message in messages:
        name = f"{package}.{message.name}"
        yield name, message
        yield from messages_of(name, message.nested_type)


def official(path: str):
    module = importlib.import_module(path.removesuffix(".proto").replace("/", ".") + "_pb2")
    file = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


def difference(name, ours, theirs) -> list[str]:
    """A message relayed unread may be `bytes`: the same on the wire."""
    found = []
    for field, (number, kind, label, oneof) in ours.items():
        if field not in theirs:
            found.append(f"{name}.{field} does not exist")
            continue
        want = theirs[field]
        unread = kind == "bytes" and want[1].startswith(".")
        if (number, label, oneof) != (want[0], want[2], want[3]) or (kind != want[1] and not unread):
            found.append(f"{name}.{field} is {(number, kind, label, oneof)}, official {want}")
    return found


@pytest.mark.parametrize("path", FOREIGN)
def test_each_declared_field_is_the_official_one(path, tmp_path):
    ours = next(f for f in compiled(tmp_path).file if f.name == path)
    theirs = dict(messages_of(official(path).package, official(path).message_type))
    assert ours.package == official(path).package
    problems = []
    for name, message in messages_of(ours.package, ours.message_type):
        if name not in theirs:
            problems.append(f"{name} does not exist")
            continue
        problems += difference(
            name, dict(fields_of(message, message.oneof_decl)), dict(fields_of(theirs[name], theirs[name].oneof_decl))
        )
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path", FOREIGN)
def test_services_and_their_streams_are_the_official_ones(path, tmp_path):
    ours = next(f for f in compiled(tmp_path).file if f.name == path)
    theirs = {s.name: {m.name: m for m in s.method} for s in official(path).service}
    for service in ours.service:
        for method in service.method:
            want = theirs[service.name][method.name]
            assert (method.input_type, method.output_type) == (want.input_type, want.output_type)
            assert (method.client_streaming, method.server_streaming) == (want.client_streaming, want.server_streaming)


@pytest.mark.parametrize("path", UNPACKAGED)
def test_messages_that_no_package_has_keep_their_numbers(path, tmp_path):
    messages, services = UNPACKAGED[path]
    file = next(f for f in compiled(tmp_path).file if f.name == path)
    found = {
        name: {field: spec[:3] for field, spec in fields_of(message, message.oneof_decl)}
        for name, message in messages_of(file.package, file.message_type)
    }
    assert found == messages
    assert [(s.name, [m.name for m in s.method]) for s in file.service] == services


def test_a_drifted_field_would_be_noticed():
    ours = {"name": (1, "string", "optional", None), "gone": (9, "string", "optional", None), "body": (2, "bytes", "optional", None)}
    theirs = {"name": (2, "string", "optional", None), "body": (2, ".google.protobuf.Any", "optional", None)}
    assert len(difference("M", ours, theirs)) == 2


# By the numbers of the specifications themselves: SPIFFE's workload.proto, Envoy's contrib protos.
_KEY = {
    "private_key": (1, ".envoy.config.core.v3.DataSource", "optional"),
    "poll_delay": (2, ".google.protobuf.Duration", "optional"),
}
BY_NUMBER = {
    "spiffe/workload/workload.proto": {
        "X509SVIDRequest": {},
        "X509SVIDResponse": {
            "svids": (1, ".X509SVID", "repeated"),
            "crl": (2, "bytes", "repeated"),
            "federated_bundles": (3, ".X509SVIDResponse.FederatedBundlesEntry", "repeated"),
        },
        "X509SVIDResponse.FederatedBundlesEntry": {"key": (1, "string", "optional"), "value": (2, "bytes", "optional")},
        "X509SVID": {
            "spiffe_id": (1, "string", "optional"),
            "x509_svid": (2, "bytes", "optional"),
            "x509_svid_key": (3, "bytes", "optional"),
            "bundle": (4, "bytes", "optional"),
            "hint": (5, "string", "optional"),
        },
    },
    "envoy/extensions/private_key_providers/cryptomb/v3alpha/cryptomb.proto": {
        "envoy.extensions.private_key_providers.cryptomb.v3alpha.CryptoMbPrivateKeyMethodConfig": _KEY
    },
    "envoy/extensions/private_key_providers/qat/v3alpha/qat.proto": {
        "envoy.extensions.private_key_providers.qat.v3alpha.QatPrivateKeyMethodConfig": _KEY
    },
}


@pytest.mark.parametrize("path", BY_NUMBER)
def test_messages_without_a_package_have_the_specified_numbers(path, tmp_path):
    out = tmp_path / "set.pb"
    subprocess.run(["protoc", f"-I{PROTO}", f"--descriptor_set_out={out}", path], check=True)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    found = {
        name.lstrip("."): {field: spec[:3] for field, spec in fields_of(message, message.oneof_decl)}
        for name, message in messages_of(file.package, file.message_type)
    }
    assert found == BY_NUMBER[path]
    if file.service:
        method = file.service[0].method[0]
        assert (file.service[0].name, method.name, method.server_streaming) == ("SpiffeWorkloadAPI", "FetchX509SVID", True)
