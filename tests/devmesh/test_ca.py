# SPDX-License-Identifier: Apache-2.0
"""CSR service, tokens, client certificates, bundle: what a CA client sees."""

from __future__ import annotations

import datetime
import json
import pathlib
import stat
import time
import typing

import grpc
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from devmesh import bundle, config, protos, view_client
from devmesh.ca import CertificateAuthority
from devmesh.client import make_csr
from devmesh.fixtures import SPIFFE, Mesh
from devmesh.tokens import TokenIssuer


def leaf_of(entries: list[str]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(entries[0].encode())


def uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)


def refusal(client, *args, **kwargs) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        client.create_certificate(*args, **kwargs)
    return error.value.code(), error.value.details()


def test_a_token_gets_its_own_identity_whatever_the_csr_says(mesh: Mesh) -> None:
    with mesh.client(mesh.token()) as client:
        entries = client.create_certificate(make_csr("spiffe://cluster.local/ns/kube-system/sa/admin"))
    leaf = leaf_of(entries)
    assert uris(leaf) == [SPIFFE]
    assert entries[1:] == [mesh.roots]
    leaf.verify_directly_issued_by(mesh.mesh.authority.root)


def test_the_leaf_is_as_istio_makes_it(mesh: Mesh) -> None:
    with mesh.client(mesh.token()) as client:
        leaf = leaf_of(client.create_certificate(make_csr(), 0))
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == datetime.timedelta(hours=24, minutes=2)
    assert leaf.subject == x509.Name([])
    extensions = leaf.extensions
    assert extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and usage.key_encipherment and not usage.key_cert_sign
    extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.serial_number.bit_length() <= 128


def test_lifetimes_are_kept_and_bounded(mesh: Mesh) -> None:
    with mesh.client(mesh.token()) as client:
        leaf = leaf_of(client.create_certificate(make_csr(), 90))
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == datetime.timedelta(seconds=90 + 120)
        assert refusal(client, make_csr(), 90 * 86400 + 1)[0] == grpc.StatusCode.INVALID_ARGUMENT
        client.create_certificate(make_csr(), 90 * 86400)


def test_a_leaf_never_outlives_its_signer(tmp_path: pathlib.Path) -> None:
    authority = CertificateAuthority(tmp_path)
    leaf = x509.load_pem_x509_certificate(authority.issue(1e9, spiffe_id=SPIFFE).chain.encode())
    assert leaf.not_valid_after_utc == authority.root.not_valid_after_utc


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_usual_keys_are_signed(mesh: Mesh, key) -> None:
    with mesh.client(mesh.token()) as client:
        assert leaf_of(client.create_certificate(make_csr(key=key))).public_key() == key.public_key()


def test_bad_csrs_are_invalid_arguments(mesh: Mesh) -> None:
    good = make_csr()
    lines = good.splitlines()
    lines[-2] = ("B" if lines[-2][0] == "A" else "A") + lines[-2][1:]
    small = rsa.generate_private_key(65537, 1024)
    with mesh.client(mesh.token()) as client:
        for csr in ("", "no PEM", "\n".join(lines) + "\n", make_csr(key=small)):
            assert refusal(client, csr)[0] == grpc.StatusCode.INVALID_ARGUMENT, csr


def test_an_ed25519_key_is_unsupported(mesh: Mesh) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(serialization.Encoding.PEM).decode()
    with mesh.client(mesh.token()) as client:
        code, text = refusal(client, csr)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "unsupported" in text


def test_bad_tokens_are_unauthenticated(mesh: Mesh, tmp_path: pathlib.Path) -> None:
    good = mesh.token()
    head, claims, signature = good.split(".")
    bad = {
        "none": None,
        "expired": mesh.token(ttl=-1),
        "wrong audience": mesh.token(audience="vault"),
        "other issuer's key": TokenIssuer(tmp_path / "other").issue("demo", "vm-app", 60),
        "changed": f"{head}.{claims[:-2]}AA.{signature}",
        "no JWT": "hello",
        "bad base64": "!.!.!",
    }
    for what, token in bad.items():
        with mesh.client(token) as client:
            code, text = refusal(client, make_csr())
        assert code == grpc.StatusCode.UNAUTHENTICATED, what
        assert "request authenticate failure" in text, what


def test_a_certificate_authenticates_without_a_token(mesh: Mesh) -> None:
    own = mesh.mesh.authority.issue(60, spiffe_id="spiffe://cluster.local/ns/demo/sa/reviews")
    with mesh.client(key=own.key, chain=own.chain) as client:
        leaf = leaf_of(client.create_certificate(make_csr()))
    assert uris(leaf) == ["spiffe://cluster.local/ns/demo/sa/reviews"]
    assert mesh.call(lambda m: m.csr.last["how"]) == "certificate"


def test_a_bad_certificate_fails_although_the_token_is_good(mesh: Mesh, tmp_path: pathlib.Path) -> None:
    own, stranger = mesh.mesh.authority, CertificateAuthority(tmp_path / "stranger")
    bad = {
        "expired": own.issue(-10, spiffe_id=SPIFFE),
        "another root": stranger.issue(60, spiffe_id=SPIFFE),
        "another trust domain": own.issue(60, spiffe_id="spiffe://elsewhere/ns/demo/sa/vm-app"),
        "no SPIFFE id": own.issue(60, dns="vm.example"),
    }
    for what, pair in bad.items():
        with mesh.client(mesh.token(), key=pair.key, chain=pair.chain) as client:
            assert refusal(client, make_csr())[0] == grpc.StatusCode.UNAVAILABLE, what


def test_impersonation_is_refused(mesh: Mesh) -> None:
    with mesh.client(mesh.token()) as client:
        code, _ = refusal(client, make_csr(), metadata={"ImpersonatedIdentity": SPIFFE})
        assert code == grpc.StatusCode.UNAUTHENTICATED
        client.create_certificate(make_csr(), metadata={"CertSigner": ""})


def test_an_intermediate_is_an_entry_of_its_own(mesh: Mesh, tmp_path: pathlib.Path) -> None:
    second = Mesh(tmp_path / "second" / "devmesh.yaml")
    second.data["certificates"] = {"intermediate": True}
    second.file.parent.mkdir()
    second.write()
    with second:
        with second.client(second.token()) as client:
            entries = client.create_certificate(make_csr())
        assert len(entries) == 3 and entries[-1] == second.roots
        leaf, signer, root = (x509.load_pem_x509_certificate(e.encode()) for e in entries)
        leaf.verify_directly_issued_by(signer)
        signer.verify_directly_issued_by(root)
        own = second.mesh.authority.issue(60, spiffe_id=SPIFFE)
        with second.client(key=own.key, chain=own.chain) as client:
            client.create_certificate(make_csr())


def test_the_ca_misbehaves_on_request(mesh: Mesh) -> None:
    with mesh.client(mesh.token()) as client:
        mesh.faults(csr_code="UNAVAILABLE", csr_times=2)
        codes = [refusal(client, make_csr())[0] for _ in range(2)]
        assert codes == [grpc.StatusCode.UNAVAILABLE] * 2
        client.create_certificate(make_csr())
        mesh.faults(csr_code=None, csr_single_entry=True)
        assert len(client.create_certificate(make_csr())) == 1
        mesh.faults(csr_single_entry=False, csr_spiffe="spiffe://cluster.local/ns/demo/sa/other")
        assert uris(leaf_of(client.create_certificate(make_csr()))) == ["spiffe://cluster.local/ns/demo/sa/other"]
        mesh.faults(csr_spiffe=None, csr_ttl=-5)
        assert leaf_of(client.create_certificate(make_csr())).not_valid_after_utc < datetime.datetime.now(datetime.timezone.utc)
        mesh.faults(csr_ttl=None, csr_garbage=True)
        with pytest.raises(ValueError):
            leaf_of(client.create_certificate(make_csr()))
        mesh.faults(csr_garbage=False, csr_delay=0.2)
        begin = time.monotonic()
        client.create_certificate(make_csr())
        assert time.monotonic() - begin >= 0.2
        with pytest.raises(ValueError, match="unknown fault"):
            mesh.faults(csr_typo=1)


def test_another_server_name_fails_the_clients_check(mesh: Mesh) -> None:
    mesh.faults(server_name="somebody.else")
    with mesh.client(mesh.token()) as client:
        assert refusal(client, make_csr())[0] == grpc.StatusCode.UNAVAILABLE
    mesh.faults(server_name=None)
    with mesh.client(mesh.token()) as client:
        client.create_certificate(make_csr())


def test_the_ca_and_its_tokens_outlive_a_restart(mesh_file: pathlib.Path) -> None:
    with Mesh(mesh_file) as first:
        token, roots = first.token(), first.roots
    with Mesh(mesh_file) as again, again.client(token, roots=roots) as client:
        client.create_certificate(make_csr())


def test_the_jwks_verifies_the_tokens(mesh: Mesh) -> None:
    status, body = view_client.request(mesh.mesh.config.view_socket, "GET", "/jwks")
    key = json.loads(body)["keys"][0]
    assert status == 200 and key["alg"] == "ES256" and "d" not in key


def test_the_bundle_has_istioctls_five_files(mesh: Mesh, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "bundle"
    bundle.write(config.load(mesh.file), target)
    assert sorted(p.name for p in target.iterdir()) == ["cluster.env", "hosts", "istio-token", "mesh.yaml", "root-cert.pem"]
    assert stat.S_IMODE((target / "istio-token").stat().st_mode) == 0o600
    assert (target / "hosts").read_text() == "127.0.0.1 istiod.istio-system.svc\n"
    assert (target / "root-cert.pem").read_text() == mesh.roots
    proxy = yaml.safe_load((target / "mesh.yaml").read_text())["defaultConfig"]
    assert proxy["discoveryAddress"] == "istiod.istio-system.svc:15012"
    assert proxy["readinessProbe"] == {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1}
    metadata = proxy["proxyMetadata"]
    assert metadata["ISTIO_META_AUTO_REGISTER_GROUP"] == "vm-app" and metadata["ISTIO_META_DNS_CAPTURE"] == "true"
    assert json.loads(metadata["ISTIO_META_POD_PORTS"]) == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
    lines = (target / "cluster.env").read_text().splitlines()
    assert lines == sorted(lines)
    environment = dict(line.split("=", 1) for line in lines)
    assert environment["ISTIO_LOCAL_EXCLUDE_PORTS"] == "'22,15090,15021,15020'"
    assert environment["ISTIO_INBOUND_PORTS"] == "'8080'" and environment["SERVICE_ACCOUNT"] == "'vm-app'"
    assert set(metadata) <= set(environment)
    with mesh.client((target / "istio-token").read_text()) as client:
        client.create_certificate(make_csr())


def test_the_root_is_rotated_while_the_plane_runs(mesh: Mesh) -> None:
    def certificates(**changes: typing.Any) -> None:
        mesh.data["certificates"] = changes
        assert mesh.reload()

    old = mesh.roots
    with mesh.client(mesh.token()) as client:
        assert client.create_certificate(make_csr(SPIFFE))[-1] == old
    certificates(roots=[0, 1], signer=1)
    with mesh.client(mesh.token(), roots=old) as client:
        entries = client.create_certificate(make_csr(SPIFFE))
    assert entries[-1].startswith(old) and entries[-1].count("BEGIN CERTIFICATE") == 2
    assert "Root CA 1" in leaf_of(entries).issuer.rfc4514_string()
    certificates(roots=[1], signer=1, serving=1)
    new = entries[-1].removeprefix(old)
    with mesh.client(mesh.token(), roots=new) as client:
        assert client.create_certificate(make_csr(SPIFFE))[-1] == new
    with mesh.client(mesh.token(), roots=old) as client:
        assert refusal(client, make_csr(SPIFFE))[0] == grpc.StatusCode.UNAVAILABLE


def test_the_legacy_citadel_signs_and_leaves_the_root_out(mesh: Mesh) -> None:
    request = protos.CsrRequest(csr_pem=make_csr().encode(), requested_ttl_minutes=2, credential_type="jwt")
    path = f"/{protos.CITADEL_SERVICE}/HandleCSR"
    with mesh.client(mesh.token()) as client:
        answer = client.unary(path, request, protos.CsrResponse)
    assert answer.is_approved and not answer.cert_chain
    leaf = leaf_of([answer.signed_cert.decode()])
    assert uris(leaf) == [SPIFFE]
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == datetime.timedelta(seconds=120 + 120)
    with mesh.client() as client, pytest.raises(grpc.RpcError) as error:
        client.unary(path, request, protos.CsrResponse)
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_mesh_ca_signs_and_notes_its_request_id(mesh: Mesh) -> None:
    request = protos.MeshCertificateRequest(request_id="3f1c", csr=make_csr())
    request.validity.FromSeconds(60)
    with mesh.client(mesh.token()) as client:
        answer = client.unary(
            f"/{protos.MESHCA_SERVICE}/CreateCertificate",
            request,
            protos.MeshCertificateResponse,
            [("x-goog-request-params", "location=locations/lab")],
        )
    assert list(answer.cert_chain)[1:] == [mesh.roots]
    assert uris(leaf_of(list(answer.cert_chain))) == [SPIFFE]
    last = mesh.call(lambda m: m.csr.last)
    assert (last["request_id"], last["params"], last["validity"]) == ("3f1c", "location=locations/lab", 60)
