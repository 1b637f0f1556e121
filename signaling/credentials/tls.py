"""TLS for https and wss: a certificate and its key in files, read again when they change."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from signaling.logs import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable

log = EventLog("signaling.tls")

CHECK_INTERVAL_SECONDS = 1.0
"""The files are looked at when a client connects, and at most this often: the look is two system calls."""
EXPIRES_SOON_DAYS = 14
"""Certificates of 90 days are renewed 30 days before their end: one that is this old was not."""
MAX_FILE_BYTES = 256 * 1024
"""A chain of certificates has some 6 kB."""

_Stamp = tuple[tuple[int, int, int], ...]


class TlsError(Exception):
    """A certificate or key that cannot be used; the text names the file and says why, without its content."""


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """What a certificate says of itself."""

    names: tuple[str, ...]
    """DNS names and IP addresses of its subjectAltName, the only place where browsers look."""
    begins: datetime
    expires: datetime
    fingerprint: str
    """SHA-256 over the whole certificate, as browsers show it: pairs of hexadecimal digits and colons."""
    is_self_signed: bool

    def days_left(self, now: float) -> float:
        """Return for how many days it is valid; below 0 when it has expired. `now` is in seconds since 1970."""
        return (self.expires.timestamp() - now) / 86_400


class TlsFiles:
    """A server's TLS context whose certificate follows the files.

    Files that have become unusable, or do not belong together because only one is new so far, are logged once and the
    last certificate stays.
    """

    def __init__(self, cert: str, key: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the files; without a `key` it is in the certificate's file. Raises `TlsError`."""
        self._cert, self._key = Path(cert), Path(key or cert)
        self._clock = clock
        self._problem: str | None = None
        self._next_check = clock() + CHECK_INTERVAL_SECONDS
        self._stamp, self._current, self.info = self._read()
        # The listening socket keeps one context. Each handshake takes the newest certificate in this callback, which
        # OpenSSL calls whether the client sends a server name or not.
        self.context = _new_context()
        self.context.load_cert_chain(self._cert, self._key, _no_password)
        self.context.sni_callback = self._choose

    def move(self, cert: str, key: str | None) -> None:
        """Go over to other files; raise `TlsError` and stay with the present ones where those cannot be used."""
        before = self._cert, self._key
        self._cert, self._key = Path(cert), Path(key or cert)
        try:
            self._stamp, self._current, self.info = self._read()
        except TlsError:
            self._cert, self._key = before
            raise

    def reload(self) -> None:
        """Read the files now."""
        try:
            self._stamp, self._current, self.info = self._read()
        except TlsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.warning("tls_certificate_unusable", problem=error)
            return
        self._problem = None
        log.info("tls_certificate_reloaded", path=self._cert, expires=self.info.expires.isoformat())

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        now = self._clock()
        if now >= self._next_check:
            self._next_check = now + CHECK_INTERVAL_SECONDS
            if self._look() != self._stamp:
                self.reload()
        connection.context = self._current

    def _look(self) -> _Stamp | None:
        try:
            return tuple(
                (status.st_mtime_ns, status.st_size, status.st_ino) for status in (self._cert.stat(), self._key.stat())
            )
        except OSError:
            return None

    def _read(self) -> tuple[_Stamp | None, ssl.SSLContext, CertificateInfo]:
        stamp = self._look()  # first: what is written after it is noticed at the next look
        context = new_server_context(self._cert, self._key)
        info = describe_file(self._cert)
        days = info.days_left(time.time())
        if days < EXPIRES_SOON_DAYS:
            log.warning("tls_certificate_expires", path=self._cert, expires=info.expires.isoformat(), days=round(days))
        return stamp, context, info


def new_server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Return a context with a certificate and its key, or raise `TlsError` with what to do."""
    context = _new_context()
    for path, what in ((cert, "certificate"), (key, "key")):
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            raise TlsError(f"cannot read the TLS {what} {path}: {error.strerror or error}") from None
    try:
        context.load_cert_chain(cert, key, _no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"the TLS key {key} is not that of the certificate {cert}") from None
        raise TlsError(f"expected PEM files with a certificate in {cert} and its key in {key}") from None
    except _EncryptedKeyError:
        raise TlsError(f"the TLS key {key} is encrypted; `openssl pkey -in KEY -out PLAIN` decrypts it") from None
    except OSError as error:
        raise TlsError(f"cannot read {cert} or {key}: {error.strerror or error}") from None
    return context


def describe_file(path: Path) -> CertificateInfo:
    """Return what the first certificate of a PEM file says; raise `TlsError`."""
    try:
        with path.open("rb") as file:
            return describe(x509.load_pem_x509_certificate(file.read(MAX_FILE_BYTES)))
    except OSError as error:
        raise TlsError(f"cannot read the TLS certificate {path}: {error.strerror or error}") from None
    except ValueError:
        raise TlsError(f"expected a certificate in PEM in {path}") from None


def describe(certificate: x509.Certificate) -> CertificateInfo:
    """Return what a certificate says of itself; raise `ValueError` where its names are unreadable."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names: tuple[str, ...] = ()
    else:
        addresses = (str(address) for address in found.get_values_for_type(x509.IPAddress))
        names = (*found.get_values_for_type(x509.DNSName), *addresses)
    return CertificateInfo(
        names=names,
        begins=certificate.not_valid_before_utc.astimezone(UTC),
        expires=certificate.not_valid_after_utc.astimezone(UTC),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        is_self_signed=certificate.issuer == certificate.subject,
    )


class _EncryptedKeyError(Exception):
    pass


def _no_password() -> str:
    """Refuse: OpenSSL would ask on the terminal, and a service has none."""
    raise _EncryptedKeyError


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # older ones are broken (RFC 8996)
    context.set_alpn_protocols(["http/1.1"])
    return context
