"""TLS, tokens, and files that others on the machine may read."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from signaling.config.model import flag_name, is_loopback
from signaling.credentials.keyfiles import KeyFileError, KeyRing
from signaling.credentials.tls import (
    EXPIRES_SOON_DAYS,
    CertificateInfo,
    TlsError,
    describe_file,
    new_server_context,
)

from .findings import fail, note, ok, warn
from .network import shown_certificate
from .told import UntoldError, welcomes_strangers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signaling.config.model import ServerConfig

    from .findings import Finding, Subject


async def check_tls(subject: Subject) -> Sequence[Finding]:
    """Look whether browsers get https, by a certificate that is good and is the one in the files."""
    settings = subject.settings
    shown = await shown_certificate(subject.url)
    if not subject.is_local:
        return _of_another(subject, shown)
    if not settings.serves_tls:
        return [_without_tls(settings)]
    if settings.tls_cert is None:
        text = "the certificate is the server's own: browsers warn once"
        advice = f"for more than a first try get one by ACME, for {flag_name('tls_cert')} or a proxy"
        return [note("tls", text, advice), *([] if shown is None else _validity(shown))]
    return _files(settings, shown)


def _of_another(subject: Subject, shown: CertificateInfo | None) -> list[Finding]:
    """Return what is to be said of a server that is not described by settings."""
    if shown is not None:
        return _validity(shown)
    parts = urlsplit(subject.url)
    if parts.scheme == "https":
        return []  # it does not answer, or not so; that is told under `server`
    if parts.hostname == "localhost" or is_loopback(parts.hostname or ""):
        return [ok("tls", "none: pages from localhost get cameras without")]
    advice = "give the https address if it has one; else the server needs a certificate or a proxy in front"
    return [warn("tls", "no https: browsers give cameras to pages from https only", advice)]


def _files(settings: ServerConfig, shown: CertificateInfo | None) -> list[Finding]:
    cert = Path(settings.tls_cert or "")
    key = Path(settings.tls_key or cert)
    try:
        new_server_context(cert, key)
        info = describe_file(cert)
    except TlsError as error:
        return [fail("tls", str(error), f"mend the file, or name another by {flag_name('tls_cert')}")]
    found = _validity(info)
    if shown is not None and shown.fingerprint != info.fingerprint:
        text = f"the server shows another certificate than that in {cert}"
        found.append(warn("tls", text, "`kill -HUP` the server, and look for tls_certificate_unusable in its log"))
    found += _others_may_read(key, "a TLS key")
    return found


def _validity(info: CertificateInfo) -> list[Finding]:
    now = time.time()
    days, until = info.days_left(now), f"{info.expires:%Y-%m-%d}"
    names = ", ".join(info.names) or "no name"
    if days <= 0:
        return [
            fail("tls", f"the certificate for {names} expired on {until}", "renew it; the server reads it by itself")
        ]
    if info.begins.timestamp() > now:
        return [fail("tls", f"the certificate is valid only from {info.begins:%Y-%m-%d}", "set this machine's clock")]
    if not info.names:
        advice = "get one with a subjectAltName: browsers look nowhere else"
        return [fail("tls", "the certificate has no name in subjectAltName", advice)]
    if days < EXPIRES_SOON_DAYS:
        return [warn("tls", f"the certificate for {names} expires in {days:.0f} days", "look why it was not renewed")]
    return [ok("tls", f"certificate for {names}, good until {until}")]


def _without_tls(settings: ServerConfig) -> Finding:
    if settings.trusted_proxy:
        return ok("tls", f"left to the proxy at {', '.join(settings.trusted_proxy)}")
    if is_loopback(settings.host):
        return ok("tls", "none: pages from localhost get cameras without")
    advice = f"{flag_name('tls_cert')} or a proxy in front; for a first try {flag_name('tls_self_signed')}"
    return warn("tls", "no https: browsers give cameras to pages from https only", advice)


async def check_tokens(subject: Subject) -> Sequence[Finding]:
    """Look who may connect, and whether secrets are secret."""
    settings = subject.settings
    if not subject.is_local:
        return []
    found = [finding for path in subject.files for finding in _others_may_read(Path(path), "secrets")]
    if not (settings.auth_secret or settings.auth_secret_file or settings.auth_public_key_file):
        if is_loopback(settings.host) and not settings.trusted_proxy:
            return [*found, ok("tokens", "none: only this machine reaches the server")]
        advice = f"{flag_name('auth_secret_file')} and `aiosfu token`; docs/security.md has the rest"
        return [*found, warn("tokens", "auth is off: whoever reaches the server may watch and publish", advice)]
    try:
        ring = KeyRing(settings.auth_secret, settings.auth_secret_file, settings.auth_public_key_file)
    except KeyFileError as error:
        return [*found, fail("tokens", str(error), "mend the file; the server reads it by itself")]
    if await _lets_anybody_in(subject):
        text = "the settings given here ask for tokens, and the running server lets clients in without"
        advice = "start it with the same settings: auth is turned on by a restart only"
        return [*found, fail("tokens", text, advice)]
    kinds = sorted({key.algorithm for key in ring.current()})
    found.append(ok("tokens", f"asked for: {len(ring.current())} keys, {', '.join(kinds)}"))
    for path in settings.auth_secret_file:
        found += _others_may_read(Path(path), "secrets")
    if not is_loopback(settings.host) and not settings.serves_tls and not settings.trusted_proxy:
        advice = f"{flag_name('tls_cert')}, or a proxy named by {flag_name('trusted_proxy')}"
        found.append(warn("tokens", "they cross the network unencrypted, for anybody on the way to use", advice))
    return found


async def _lets_anybody_in(subject: Subject) -> bool:
    try:
        return await welcomes_strangers(subject)
    except UntoldError:
        return False  # it does not run, which is told elsewhere


def _others_may_read(path: Path, what: str) -> list[Finding]:
    try:
        mode = path.stat().st_mode
    except OSError:
        return []  # its reader has told
    if not mode & stat.S_IROTH:
        return []
    return [warn("files", f"{path} holds {what}, and everybody on this machine may read it", f"chmod o-r {path}")]
