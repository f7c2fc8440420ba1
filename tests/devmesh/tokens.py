# SPDX-License-Identifier: Apache-2.0
"""JWT bearer tokens with the claims of a Kubernetes service account token, ES256, and their JWKS."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import pathlib
import time
import uuid

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from devmesh import ca

AUDIENCE = "istio-ca"
ISSUER = "https://kubernetes.default.svc"
_SIZE = 32  # bytes of r and of s on P-256


class Refused(ValueError):
    """The token doesn't authenticate; the text says why."""


class TokenIssuer:
    def __init__(self, state_dir: pathlib.Path):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = ca.load_or_make_key(state_dir / "token-key.pem")
        numbers = self._key.public_key().public_numbers()
        self._jwk = {"kty": "EC", "crv": "P-256", "x": _b64(numbers.x.to_bytes(_SIZE)), "y": _b64(numbers.y.to_bytes(_SIZE))}
        # RFC 7638: the thumbprint names the key
        thumb = json.dumps({k: self._jwk[k] for k in ("crv", "kty", "x", "y")}, separators=(",", ":"))
        self._kid = _b64(hashlib.sha256(thumb.encode()).digest())

    def jwks(self) -> dict:
        return {"keys": [{**self._jwk, "use": "sig", "alg": "ES256", "kid": self._kid}]}

    def issue(self, namespace: str, service_account: str, ttl: float, *, audience: str = AUDIENCE) -> str:
        issued = int(time.time())
        claims = {
            "aud": [audience],
            "exp": int(issued + ttl),
            "iat": issued,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": service_account}},
            "nbf": min(issued, int(issued + ttl)),
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
        }
        head = {"alg": "ES256", "kid": self._kid, "typ": "JWT"}
        signed = ".".join(_b64(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_b64(r.to_bytes(_SIZE) + s.to_bytes(_SIZE))}"

    def verify(self, token: str) -> tuple[str, str]:
        """(namespace, service account) of a good token."""
        try:
            head, claims, signature = token.split(".")
            header, body, raw = json.loads(_unb64(head)), json.loads(_unb64(claims)), _unb64(signature)
        except (ValueError, binascii.Error) as error:
            raise Refused("token isn't a JWT") from error
        if not isinstance(header, dict) or not isinstance(body, dict):
            raise Refused("token isn't a JWT")
        if header.get("alg") != "ES256" or header.get("kid") != self._kid or len(raw) != 2 * _SIZE:
            raise Refused("token isn't signed by this issuer")
        der = encode_dss_signature(int.from_bytes(raw[:_SIZE]), int.from_bytes(raw[_SIZE:]))
        try:
            self._key.public_key().verify(der, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise Refused("token has a bad signature") from error
        return _checked(body)


def _checked(claims: dict) -> tuple[str, str]:
    if claims.get("iss") != ISSUER:
        raise Refused("token has another issuer")
    audiences = claims.get("aud")
    if AUDIENCE not in (audiences if isinstance(audiences, list) else [audiences]):
        raise Refused(f"token's audience isn't {AUDIENCE}")
    clock = time.time()
    if not isinstance(claims.get("exp"), (int, float)) or claims["exp"] <= clock:
        raise Refused("token has expired")
    if claims.get("nbf", 0) > clock:
        raise Refused("token isn't valid yet")
    parts = str(claims.get("sub")).split(":")
    if len(parts) != 4 or parts[:2] != ["system", "serviceaccount"]:
        raise Refused("token's subject isn't a service account")
    return parts[2], parts[3]


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
