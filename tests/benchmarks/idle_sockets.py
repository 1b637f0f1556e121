"""Thousands of devices that do nothing but answer pings, in one process: real handshakes over plain sockets.

`python -m tests.benchmarks.idle_sockets HOST PORT COUNT FIRST` prints a line of JSON when all are welcomed, and one for
each line on its standard input: what has come since the last one. It ends with its input.
"""

from __future__ import annotations

import base64
import json
import select
import socket
import sys
import time
from typing import Any

MAX_CONNECTING = 64
"""Handshakes under way at once: a fleet that comes back takes some seconds, it does not come in one blow."""
READ_BYTES = 65536
CONNECT_TIMEOUT_SECONDS = 120.0

_KEY = base64.b64encode(b"0123456789abcdef").decode()
_OP_TEXT, _OP_CLOSE, _OP_PING = 1, 8, 9
_MASKED_PONG = 0x8A
_NAME_START = len('{"event":"')


class IdleSockets:
    """All of them and what they have got."""

    def __init__(self, host: str, port: int, count: int, first: int) -> None:
        self._address = (host, port)
        self._count = count
        self._first = first
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        """By descriptor: the beginning of what has not come whole."""
        self._connecting: set[int] = set()
        self._closed = 0
        self._pings = 0
        self._events: dict[str, tuple[int, float]] = {}
        """By name: how many have come, and when the last one."""

    def connect_all(self) -> None:
        """Connect and return when every socket has its `welcome`; raise `TimeoutError` where some do not get it."""
        deadline = time.monotonic() + CONNECT_TIMEOUT_SECONDS
        while self._events.get("welcome", (0, 0))[0] < self._count:
            while len(self._sockets) < self._count and len(self._connecting) < MAX_CONNECTING:
                self._connect(self._first + len(self._sockets))
            self.turn(0.1)
            if self._closed or time.monotonic() > deadline:
                raise TimeoutError(f"{self._closed} closed: {self.report()}")

    def _connect(self, number: int) -> None:
        sock = socket.create_connection(self._address, timeout=CONNECT_TIMEOUT_SECONDS)
        host, port = self._address
        sock.sendall(
            f"GET /ws/connect/DEVICE/idle-{number}/x HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        sock.setblocking(False)  # noqa: FBT003  the standard library's signature
        self._sockets[sock.fileno()] = sock
        self._connecting.add(sock.fileno())
        self._partial[sock.fileno()] = b""
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def turn(self, timeout: float, *, control: int | None = None) -> bool:
        """Handle what has come, or comes within `timeout` seconds; return whether `control` can be read."""
        is_controlled = False
        for descriptor, _ in self._epoll.poll(timeout):
            if descriptor == control:
                is_controlled = True
            else:
                self._read(descriptor)
        return is_controlled

    def watch(self, descriptor: int) -> None:
        """Have `turn` look at another descriptor too."""
        self._epoll.register(descriptor, select.EPOLLIN)

    def report(self) -> dict[str, Any]:
        """Return what has come since the last report; times are those of the machine's monotonic clock."""
        found = {"connected": len(self._sockets), "closed": self._closed, "pings": self._pings, "events": self._events}
        self._pings, self._events = 0, {}
        return found

    def close(self) -> None:
        """Close every socket."""
        for sock in self._sockets.values():
            sock.close()
        self._epoll.close()

    def _read(self, descriptor: int) -> None:
        try:
            data = self._sockets[descriptor].recv(READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._drop(descriptor)
            return
        if descriptor in self._partial:
            data = self._partial.pop(descriptor) + data
        if descriptor in self._connecting:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._partial[descriptor] = head
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self._drop(descriptor)
                return
            self._connecting.discard(descriptor)
        self._take_frames(descriptor, data)

    def _take_frames(self, descriptor: int, data: bytes) -> None:
        at = 0
        while len(data) - at >= 2:
            length, start = data[at + 1], at + 2
            if length >= 126:
                width = 2 if length == 126 else 8
                length, start = int.from_bytes(data[start : start + width], "big"), start + width
            if len(data) < start + length:
                break
            self._take_frame(descriptor, data[at] & 0x0F, data[start : start + length])
            at = start + length
        if at < len(data):
            self._partial[descriptor] = data[at:]

    def _take_frame(self, descriptor: int, opcode: int, payload: bytes) -> None:
        if opcode == _OP_TEXT:
            name = payload[_NAME_START : payload.index(b'"', _NAME_START)].decode()
            self._events[name] = (self._events.get(name, (0, 0.0))[0] + 1, time.monotonic())
        elif opcode == _OP_PING:
            self._pings += 1
            # A mask of zeros leaves the payload as it is (RFC 6455 section 5.3).
            self._sockets[descriptor].send(bytes((_MASKED_PONG, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
        elif opcode == _OP_CLOSE:
            self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        sock = self._sockets.pop(descriptor, None)
        if sock is not None:
            self._connecting.discard(descriptor)
            self._partial.pop(descriptor, None)
            self._epoll.unregister(descriptor)
            sock.close()
            self._closed += 1


def main() -> int:
    """Run until the input ends."""
    host, port, count, first = sys.argv[1:]
    sockets = IdleSockets(host, int(port), int(count), int(first))
    control = sys.stdin.fileno()
    try:
        sockets.connect_all()
        sockets.watch(control)
        print(json.dumps(sockets.report()), flush=True)  # noqa: T201  the output
        while True:
            if sockets.turn(1.0, control=control):
                if not sys.stdin.buffer.readline():
                    return 0
                print(json.dumps(sockets.report()), flush=True)  # noqa: T201  the output
    finally:
        sockets.close()


if __name__ == "__main__":
    sys.exit(main())
