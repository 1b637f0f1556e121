"""Certificates for tests, with their keys, in files."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from signaling.credentials import self_signed as tls_self_signed

if TYPE_CHECKING:
    from pathlib import Path

    from signaling.credentials.self_signed import Pair

DAY_SECONDS = 86_400.0
NAMES = ("localhost", "127.0.0.1")


def make_pair(directory: Path, *, age_days: float = 0.0, names: tuple[str, ...] = NAMES) -> Pair:
    """Write a new self-signed pair that was made `age_days` ago; it is valid for a year."""
    directory.mkdir(exist_ok=True)
    for path in directory.glob("self-signed-*.pem"):
        path.unlink()
    return tls_self_signed.obtain(directory, names, time.time() - age_days * DAY_SECONDS)


def encrypt_key(path: Path) -> None:
    """Put a password on a key."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"hunter2")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))


def client_context(cert: Path) -> ssl.SSLContext:
    """Return a client's context that trusts one certificate and checks its names."""
    return ssl.create_default_context(cafile=str(cert))
