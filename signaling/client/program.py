"""What the `device` and `view` commands share: options, signals, lines on the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, TextIO, TypeVar

import jwt

from signaling.logs import LEVELS, configure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

SERVER_VARIABLE = "AIOSFU_SERVER"
FINGERPRINT_VARIABLE = "AIOSFU_TLS_FINGERPRINT"
TOKEN_VARIABLE = "AIOSFU_TOKEN"  # noqa: S105 - a variable's name
LOG_LEVEL_VARIABLE = "AIOSFU_LOG_LEVEL"
DEFAULT_SERVER = "ws://127.0.0.1:8002"

_STDIN_BYTES = 4096
"""Read at once of what is not looked at."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_SETTING = 2


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every client takes; the environment's token is read later: no help text may show it."""
    parser.add_argument(
        "--server",
        metavar="URL",
        default=os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER,
        help=f"where the server is, ws://HOST:PORT or wss://HOST (env {SERVER_VARIABLE}, default {DEFAULT_SERVER})",
    )
    parser.add_argument(
        "--token", help=f"auth token; better given as {TOKEN_VARIABLE}, where other users do not see it"
    )
    parser.add_argument(
        "--token-in-url",
        action="store_true",
        help="send the token in the URL, where proxies log it, and not in a header: for servers that know no other way",
    )
    parser.add_argument(
        "--tls-fingerprint",
        metavar="SHA256",
        default=os.environ.get(FINGERPRINT_VARIABLE) or "",
        help="take this certificate and no other, for a server with a self-signed one, which prints it at its start "
        f"(env {FINGERPRINT_VARIABLE})",
    )
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        default=os.environ.get(LOG_LEVEL_VARIABLE, "").lower() or "error",
        help=f"how much to say on standard error (env {LOG_LEVEL_VARIABLE}, default error)",
    )
    parser.add_argument(
        "--until-stdin-ends",
        action="store_true",
        help="end when standard input does: for a program that starts this one with a pipe, and may die",
    )


def configure_logs(args: argparse.Namespace) -> None:
    """Send logs to standard error, where they do not mix with the status."""
    configure(args.log_level)


def token_of(args: argparse.Namespace) -> str:
    """Return the token from the option or the environment."""
    token: str | None = args.token
    return os.environ.get(TOKEN_VARIABLE, "") if token is None else token


def id_of(args: argparse.Namespace) -> str | None:
    """Return the id from the option or, as a server with auth on lets in no other, the token's subject (RFC 7519).

    None where neither is there. The token is not checked: that is the server's.
    """
    if args.id is not None:
        return str(args.id)
    try:
        subject = jwt.decode(token_of(args), options={"verify_signature": False}).get("sub")
    except jwt.InvalidTokenError:  # tokens of other servers may be anything
        return None
    return subject if isinstance(subject, str) else None


async def until_stopped(work: Coroutine[object, object, T], *, stdin_ends: bool = False) -> T | None:
    """Run `work` until it ends, or until SIGINT or SIGTERM (or the end of standard input) cancels it: then None."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        # Windows' loops have no signal handlers; there SIGINT arrives as KeyboardInterrupt.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, task.cancel)
    if stdin_ends:
        loop.add_reader(sys.stdin.fileno(), _read_stdin, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        if not task.done():  # it was we who were cancelled
            task.cancel()
            await asyncio.wait([task])
            raise
        return None
    finally:
        for number in numbers:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
        if stdin_ends:
            loop.remove_reader(sys.stdin.fileno())


def _read_stdin(ended: Callable[[], object]) -> None:
    if not os.read(sys.stdin.fileno(), _STDIN_BYTES):
        ended()


def complain(text: str) -> None:
    """Write an error for a person."""
    sys.stderr.write(f"aiosfu: {text}\n")


class StatusLine:
    """A line that is rewritten in place on a terminal, and printed when it changes elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._in_place = self._stream.isatty()
        self._length = 0

    @property
    def in_place(self) -> bool:
        """Whether the line can be rewritten, so that showing it often is no nuisance."""
        return self._in_place

    def show(self, text: str) -> None:
        """Show `text` instead of, or after, what was shown before."""
        with contextlib.suppress(BrokenPipeError):  # nobody reads us any more, which is no reason to stop streaming
            if self._in_place:
                self._stream.write("\r" + text.ljust(self._length))
                self._length = len(text)
            else:
                self._stream.write(text + "\n")
            self._stream.flush()

    def end(self) -> None:
        """Leave the line as it is and go on below it."""
        if self._in_place and self._length:
            self._stream.write("\n")
            self._stream.flush()


def megabits(bits: float) -> str:
    """Return a bitrate as a person reads it."""
    return f"{bits / 1e6:.2f} Mbit/s" if bits >= 1e6 else f"{bits / 1e3:.0f} kbit/s"
