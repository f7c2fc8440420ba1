# SPDX-License-Identifier: Apache-2.0
"""Who calls: the connection's verified client certificate first, else a bearer JWT, as istiod orders them."""

from __future__ import annotations

import dataclasses
import re

from cryptography import x509

from devmesh.tokens import Refused, TokenIssuer

_SPIFFE = re.compile(r"spiffe://(?P<domain>[^/]+)/ns/(?P<namespace>[^/]+)/sa/(?P<account>[^/]+)")


@dataclasses.dataclass(frozen=True)
class Caller:
    namespace: str
    service_account: str
    how: str  # "certificate" or "token"


def caller_of_certificate(der: bytes, trust_domain: str) -> Caller:
    """Of a certificate whose chain was verified already: exactly one URI SAN, in our trust domain."""
    leaf = x509.load_der_x509_certificate(der)
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    match = _SPIFFE.fullmatch(uris[0]) if len(uris) == 1 else None
    if not match or match["domain"] != trust_domain:
        raise Refused(f"client certificate has no single SPIFFE id of {trust_domain}")
    return Caller(match["namespace"], match["account"], "certificate")


def caller_of_metadata(metadata, issuer: TokenIssuer) -> Caller:
    for key, value in metadata or ():
        if key == "authorization":
            scheme, _, token = str(value).partition(" ")
            if scheme.lower() != "bearer":
                raise Refused("authorization isn't a bearer token")
            return Caller(*issuer.verify(token.strip()), "token")
    raise Refused("neither a client certificate nor a token")
