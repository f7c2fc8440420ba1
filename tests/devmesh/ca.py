# SPDX-License-Identifier: Apache-2.0
"""The mesh CA: root (and intermediate) in the state folder, leaves as Istio's CA makes them."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import secrets
import typing

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if typing.TYPE_CHECKING:
    from devmesh.config import Config

BACKDATE = datetime.timedelta(minutes=2)  # a slow clock on the other side still finds the leaf valid
ROOT_LIFETIME = datetime.timedelta(days=3650)


class BadRequest(ValueError):
    """A CSR or a lifetime that the CA doesn't sign."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    key: str
    chain: str
    roots: str


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def write_private(path: pathlib.Path, text: str) -> None:
    """0600 from its first moment, and whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def load_or_make_key(path: pathlib.Path) -> ec.EllipticCurvePrivateKey:
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(path, key_pem(key))
    return key


class CertificateAuthority:
    """Same folder, same CA: what is missing there is made, the rest is kept. Its roots have numbers, from 0."""

    def __init__(
        self, state_dir: pathlib.Path, *, intermediate: bool = False, signer: int = 0, roots: typing.Sequence[int] = (0,)
    ):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state_dir, self._intermediate = state_dir, intermediate
        self.use(signer, roots)

    @classmethod
    def of(cls, config: Config, *, signer: int | None = None) -> CertificateAuthority:
        """As this configuration has it now; `signer` signs instead of its own."""
        own = config.certificates
        signer = own.signer if signer is None else signer
        return cls(config.state_dir, intermediate=own.intermediate, signer=signer, roots=own.roots)

    def use(self, signer: int, roots: typing.Sequence[int]) -> None:
        """From now on root `signer` signs, and `roots` are told to be trusted."""
        self.roots = [self.root_of(number)[1] for number in roots]
        self.root_key, self.root = self.root_of(signer)
        self.signing_key, self.signer, self.intermediates = self.root_key, self.root, []
        if self._intermediate:
            self.signing_key = load_or_make_key(self._file("intermediate-key", signer))
            self.signer = _load_or_sign(
                self._file("intermediate-cert", signer), "Intermediate CA", self.signing_key, self.root, self.root_key
            )
            self.intermediates = [self.signer]

    def root_of(self, number: int) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = load_or_make_key(self._file("root-key", number))
        name = f"Root CA {number}" if number else "Root CA"
        return key, _load_or_sign(self._file("root-cert", number), name, key, None, key)

    def _file(self, name: str, number: int) -> pathlib.Path:
        return self._state_dir / (f"{name}-{number}.pem" if number else f"{name}.pem")

    @property
    def roots_pem(self) -> str:
        return "".join(pem(root) for root in self.roots)

    def crl(self, *revoked: x509.Certificate, number: int = 0, ttl: float = 3600) -> str:
        """Root `number`'s list; a negative `ttl` makes one that is out of date."""
        key, root = self.root_of(number)
        start = min(now(), now() + datetime.timedelta(seconds=ttl)) - BACKDATE
        builder = x509.CertificateRevocationListBuilder().issuer_name(root.subject).last_update(start)
        builder = builder.next_update(now() + datetime.timedelta(seconds=ttl))
        for certificate in revoked:
            one = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(start)
            builder = builder.add_revoked_certificate(one.build())
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, public_key, ttl: float, names: list[x509.GeneralName]) -> x509.Certificate:
        """Empty subject with a critical SAN; the end is never after the signer's own."""
        start = now()
        end = min(start + datetime.timedelta(seconds=ttl), self.signer.not_valid_after_utc)
        usage = dict.fromkeys(
            ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
             "encipher_only", "decipher_only"), False)  # fmt: skip
        # a lifetime that already ended must still make a well-formed certificate: tests ask for expired ones
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.signer.subject)
            .public_key(public_key)
            .serial_number(secrets.randbits(128) or 1)
            .not_valid_before(min(start, end) - BACKDATE)
            .not_valid_after(end)
            .add_extension(x509.KeyUsage(digital_signature=True, key_encipherment=True, **usage), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_authority_id(self.signer), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .sign(self.signing_key, hashes.SHA256())
        )

    def sign_csr(self, csr_pem: str, ttl: float, spiffe_id: str) -> x509.Certificate:
        """The CSR gives its key and nothing else: names come from the authenticated caller."""
        return self.sign(_checked_key(csr_pem), ttl, [x509.UniformResourceIdentifier(spiffe_id)])

    def chain_entries(self, leaf: x509.Certificate) -> list[str]:
        return [pem(leaf), *(pem(c) for c in self.intermediates), self.roots_pem]

    def issue(self, ttl: float, *, spiffe_id: str | None = None, dns: str | None = None) -> Leaf:
        """A certificate with a fresh key, for a workload or for the plane's own server."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = []
        if spiffe_id:
            names.append(x509.UniformResourceIdentifier(spiffe_id))
        if dns:
            names.append(x509.DNSName(dns))
        leaf = self.sign(key.public_key(), ttl, names)
        return Leaf(key_pem(key), pem(leaf) + "".join(pem(c) for c in self.intermediates), self.roots_pem)


def _checked_key(csr_pem: str):
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        key = csr.public_key()
        valid = csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise BadRequest(f"CSR can't be parsed: {error}") from error
    if not valid:
        raise BadRequest("CSR isn't signed by its own key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1)):
        return key
    raise BadRequest("CSR has an unsupported key")


def _authority_id(signer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _load_or_sign(path: pathlib.Path, name: str, key, issuer: x509.Certificate | None, issuer_key) -> x509.Certificate:
    if path.exists():
        return x509.load_pem_x509_certificate(path.read_bytes())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "devmesh"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    signs = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False)  # fmt: skip
    start = now() - BACKDATE
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(128) or 1)
        .not_valid_before(start)
        .not_valid_after(issuer.not_valid_after_utc if issuer else start + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **signs), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        builder = builder.add_extension(_authority_id(issuer), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(pem(certificate))
    fresh.replace(path)
    return certificate
