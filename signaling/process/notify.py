"""Tell the service manager that started the server how it fares: systemd's protocol, sd_notify(3).

Without a manager (no `NOTIFY_SOCKET`) everything here does nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from signaling.logs import EventLog

if TYPE_CHECKING:
    from collections.abc import Mapping

log = EventLog("signaling.notify")

WATCHDOG_SHARE = 0.5
"""Of the manager's limit between two signs of life, as sd_watchdog_enabled(3) recommends: one may come late."""


class Notifier:
    """Speaks for one server, from the event loop that it lives in.

    The signs of life are a timer of that loop: a loop that hangs is silent, and the manager restarts the process.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """Read `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` from `environ`, by default the process's own."""
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        # An @ stands for the zero byte of Linux's abstract names; systemd has no third form (vsock is for machines).
        self._address = ("\0" + address[1:]) if address.startswith("@") else address
        self._interval = _watchdog_seconds(environ) * WATCHDOG_SHARE
        self._timer: asyncio.TimerHandle | None = None
        self._socket: socket.socket | None = None
        self._is_told = False

    def ready(self, status: str) -> None:
        """Say that clients are served, with a line for `systemctl status`; begin with the signs of life."""
        self._send("READY=1", f"STATUS={status}")
        self._tick()

    def stopping(self, seconds: float | None = None) -> None:
        """Say that the end has begun; with `seconds` that it may take so long. Signs of life go on until `close`."""
        limit = () if seconds is None else (f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}",)
        self._send("STOPPING=1", "STATUS=stopping", *limit)

    def close(self) -> None:
        """End the signs of life. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tick(self) -> None:
        if self._interval > 0 and self._address:
            self._send("WATCHDOG=1")
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)  # noqa: FBT003  its only argument; a manager that hangs stops nobody
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except (OSError, AttributeError) as error:  # AttributeError: no AF_UNIX, as on Windows
            if not self._is_told:  # once: the next sign of life fails the same way
                self._is_told = True
                log.warning("service_manager_unreachable", reason=str(error))


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return within what time the manager wants a sign of life; 0 where it wants none of this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() else 0.0
