"""What a server reads from files and keeps to itself: keys for tokens, the TURN secret, the TLS certificate."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from signaling.config.model import is_loopback, machine_addresses

from . import self_signed as tls_self_signed
from .keyfiles import KeyFileError, KeyRing, WatchedFile, read_turn_secret
from .tls import TlsError, TlsFiles

if TYPE_CHECKING:
    from signaling.config.model import ServerConfig
    from signaling.tokens import Key

_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  compared, not bound


class CredentialsError(Exception):
    """A file that cannot be used; names it and says why, without its content."""


class Credentials:
    """One server's credentials, as they are in their files now. Raises `CredentialsError`."""

    def __init__(self, config: ServerConfig) -> None:
        self._ring, self._turn_secret = _read(config)
        try:
            self.tls = _tls(config)
        except TlsError as error:
            raise CredentialsError(str(error)) from None

    @property
    def has_keys(self) -> bool:
        """Whether tokens are asked for."""
        return bool(self._ring)

    def current_keys(self) -> tuple[Key, ...]:
        """Return the keys for tokens."""
        return self._ring.current()

    def turn_secret(self) -> bytes:
        """Return the secret shared with the TURN server; empty where there is none."""
        return self._turn_secret if isinstance(self._turn_secret, bytes) else self._turn_secret.get()

    def reload(self) -> None:
        """Read the files anew; one that cannot be used is logged and its last content stays."""
        self._ring.reload()
        if not isinstance(self._turn_secret, bytes):
            self._turn_secret.reload()
        if self.tls is not None:
            self.tls.reload()

    def move(self, config: ServerConfig) -> None:
        """Go over to the files of other settings; raise `CredentialsError` and change nothing when one is unusable."""
        ring, turn_secret = _read(config)
        if self.tls is not None and config.tls_cert is not None:
            try:
                self.tls.move(config.tls_cert, config.tls_key)
            except TlsError as error:
                raise CredentialsError(str(error)) from None
        self._ring, self._turn_secret = ring, turn_secret


def _read(config: ServerConfig) -> tuple[KeyRing, WatchedFile[bytes] | bytes]:
    try:
        ring = KeyRing(config.auth_secret, config.auth_secret_file, config.auth_public_key_file)
        if config.turn_secret_file is None:
            return ring, (config.turn_secret or "").encode()
        return ring, WatchedFile(config.turn_secret_file, read_turn_secret)
    except KeyFileError as error:
        raise CredentialsError(str(error)) from None


def _tls(config: ServerConfig) -> TlsFiles | None:
    if config.tls_cert is not None:
        return TlsFiles(config.tls_cert, config.tls_key)
    if not config.tls_self_signed:
        return None
    called = [] if config.host in _WILDCARDS or is_loopback(config.host) else [config.host]
    names = tls_self_signed.machine_names([*called, *config.announce, *machine_addresses()])
    pair = tls_self_signed.obtain(tls_self_signed.state_directory(os.environ), names, time.time())
    return TlsFiles(str(pair.cert), str(pair.key))
