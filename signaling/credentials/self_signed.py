"""A certificate that the server makes itself, for a first try on a LAN: cameras in browsers need https.

It is kept between starts, so that what was clicked in a browser, or pinned by a device, holds for its whole life.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .tls import TlsError, describe_file, new_server_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VALID_DAYS = 365
"""Apple's systems refuse server certificates of more than 825 days, and public ones of more than 398."""
RENEW_DAYS = 30
"""A certificate with less left is made anew at the next start."""
MAX_NAMES = 64
"""A machine with many addresses, as one with containers, need not name them all."""


class Pair(NamedTuple):
    """Two PEM files."""

    cert: Path
    key: Path


def state_directory(environ: Mapping[str, str]) -> Path:
    """Return where the pair is kept: systemd's `STATE_DIRECTORY`, or `aiosfu` in the user's state directory (XDG)."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    base = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "/") / ".local" / "state"
    return Path(base) / "aiosfu"


def obtain(directory: Path, names: Iterable[str], now: float) -> Pair:
    """Return the pair kept in `directory` if it covers `names` and is good for a while yet, else a new one.

    `names` are DNS names and IP addresses, `now` is in seconds since 1970. Raises `TlsError` where it cannot be kept.
    """
    wanted = list(dict.fromkeys(names))[:MAX_NAMES]
    pair = Pair(directory / "self-signed-cert.pem", directory / "self-signed-key.pem")
    with contextlib.suppress(TlsError):
        new_server_context(pair.cert, pair.key)
        info = describe_file(pair.cert)
        if info.days_left(now) > RENEW_DAYS and set(wanted) <= set(info.names):
            return pair
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _make(key, wanted, datetime.fromtimestamp(now, UTC))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(pair.key, private)
        _write(pair.cert, certificate.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise TlsError(
            f"cannot keep a self-signed certificate in {directory}: {error.strerror or error}; "
            "XDG_STATE_HOME names another place"
        ) from None
    return pair


def machine_names(addresses: Iterable[str]) -> list[str]:
    """Return by what a browser may call this machine: its host name, also as mDNS has it, `localhost`, addresses."""
    host = socket.gethostname().lower()
    names = ["localhost", host, *([] if "." in host else [f"{host}.local"])]
    return [*(name for name in names if name.isascii() and name), "127.0.0.1", "::1", *addresses]


def _make(key: ec.EllipticCurvePrivateKey, names: Iterable[str], now: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aiosfu, self-signed")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks on a LAN differ
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes) -> None:
    """Put a file in place at once, readable by its owner only, as a temporary file is made."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
