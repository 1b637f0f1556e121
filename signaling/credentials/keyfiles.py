"""Keys and secrets in files: read at the start, and again when a file changes, so that rotating needs no restart."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from signaling import tokens
from signaling.logs import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = EventLog("signaling.keyfiles")

MAX_FILE_BYTES = 64 * 1024
"""Eight RSA keys have 7 kB."""
CHECK_INTERVAL_SECONDS = 1.0
"""A file is looked at when it is needed, and at most this often: the look is one system call."""

T = TypeVar("T")
_Stamp = tuple[int, int, int]


class KeyFileError(Exception):
    """A file that cannot be used; names it and says why, without its content."""


def read_turn_secret(text: str) -> bytes:
    """Return the first line of `text`; raise `ValueError` when it is empty."""
    secret = text.strip().partition("\n")[0].strip()
    if not secret:
        raise ValueError("expected a secret, got an empty file")
    return secret.encode()


class WatchedFile(Generic[T]):
    """The value of a file, read again when the file has changed.

    A file that has become unusable, or is gone, is logged once and its last value stays: half a write must not
    lock everybody out. `parse` raises `ValueError`, with a text that does not repeat the content.
    """

    def __init__(self, path: str, parse: Callable[[str], T], clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file; raise `KeyFileError`."""
        self._path = Path(path)
        self._parse = parse
        self._clock = clock
        self._stamp, self._value = self._read()
        self._next_check = clock() + CHECK_INTERVAL_SECONDS
        self._problem: str | None = None

    def get(self) -> T:
        """Return the value, after a look at the file when the last one is a while ago."""
        now = self._clock()
        if now >= self._next_check:
            self._next_check = now + CHECK_INTERVAL_SECONDS
            if self._current_stamp() != self._stamp:
                self.reload()
        return self._value

    def reload(self) -> None:
        """Read the file now."""
        try:
            self._stamp, value = self._read()
        except KeyFileError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.warning("key_file_unusable", path=self._path, problem=error)
            return
        self._problem = None
        if value != self._value:
            self._value = value
            log.info("key_file_reloaded", path=self._path)

    def _current_stamp(self) -> _Stamp | None:
        try:
            return _stamp(self._path.stat())
        except OSError:
            return None

    def _read(self) -> tuple[_Stamp, T]:
        try:
            with self._path.open("rb") as file:
                # The stamp first: what is written after it is noticed at the next look.
                stamp = _stamp(os.fstat(file.fileno()))
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise KeyFileError(f"cannot read {self._path}: {error.strerror or error}") from None
        if len(content) > MAX_FILE_BYTES:
            raise KeyFileError(f"{self._path}: expected at most {MAX_FILE_BYTES} bytes")
        try:
            return stamp, self._parse(content.decode())
        except UnicodeDecodeError:
            raise KeyFileError(f"{self._path}: expected text") from None
        except ValueError as error:
            raise KeyFileError(f"{self._path}: {error}") from None


class KeyRing:
    """The keys of settings and files together, as they are now."""

    def __init__(self, secret: str | None, secret_files: Iterable[str], public_key_files: Iterable[str]) -> None:
        """Read the files; raise `KeyFileError`, or `tokens.KeyFormatError` for the secret."""
        self._fixed = () if secret is None else (tokens.secret_key(secret),)
        self._files = [WatchedFile(path, tokens.read_secrets) for path in secret_files]
        self._files += [WatchedFile(path, tokens.read_public_keys) for path in public_key_files]

    def __bool__(self) -> bool:
        return bool(self._fixed or self._files)

    def current(self) -> tuple[tokens.Key, ...]:
        """Return the keys, the settings' first; what is above `tokens.MAX_KEYS` is left out."""
        return (*self._fixed, *(key for file in self._files for key in file.get()))[: tokens.MAX_KEYS]

    def reload(self) -> None:
        """Read every file now."""
        for file in self._files:
            file.reload()


def _stamp(status: os.stat_result) -> _Stamp:
    """Return what differs after a change: an edit changes the first two, a file put in its place the last."""
    return status.st_mtime_ns, status.st_size, status.st_ino
