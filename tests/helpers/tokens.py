"""Keys and tokens for tests: good ones by the server's own code, bad ones made by hand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECRET = "correct-horse-battery-staple-0123456789"  # noqa: S105  a test's
OTHER_SECRET = "another-secret-of-more-than-32-bytes!!"  # noqa: S105  a test's


def claims(sub: str = "web", role: str = "WEB", **more: Any) -> dict[str, Any]:
    """Return good claims, changed by `more`; None takes a claim out."""
    found = {"sub": sub, "role": role, "exp": int(time.time()) + 86_400} | more
    return {name: value for name, value in found.items() if value is not None}


def token(sub: str = "web", role: str = "WEB", *, secret: str = SECRET, **more: Any) -> str:
    return jwt.encode(claims(sub, role, **more), secret, "HS256")


def by_hand(header: dict[str, Any], payload: dict[str, Any], secret: bytes = b"") -> str:
    """Return what PyJWT would refuse to make: any header, an HMAC under any bytes."""
    signed = f"{_encoded(header)}.{_encoded(payload)}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest() if secret else b""
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve: str = "P-256") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1() if curve == "P-256" else ec.SECP384R1())


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
