"""Outbox: the messages of one session, in order and once each, however many sockets they take. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MAX_RETAINED_MESSAGES = 128
"""Written messages that may be sent again: far more than arrive between two heartbeats of a client in use."""
MAX_RETAINED_BYTES = 256 * 1024
"""As much of them; the newest is kept whatever its size."""


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait for a client."""

    messages: int = 1024
    """Far above what an hour of a busy room amounts to."""
    bytes: int = 4 * 1024 * 1024
    """A hundred offers with every codec, or a few lists of ten thousand devices."""
    retain: bool = True
    """Whether written messages are kept: a socket that dies takes with it what its client has not read."""


class Outbox:
    """A queue whose written end can be taken back.

    Messages are counted from the session's beginning. What a client has received, by its own count or by answering a
    ping, is dropped; what was written to a socket and may be lost with it is kept within limits.
    """

    __slots__ = ("_acknowledged", "_limits", "_retained", "_retained_bytes", "_waiting", "_waiting_bytes", "written")

    def __init__(self, limits: OutboxLimits) -> None:
        self.written = 0
        """How many messages have been handed to a socket."""
        self._limits = limits
        self._acknowledged = 0
        self._retained: deque[str] = deque()
        self._retained_bytes = 0
        self._waiting: deque[str] = deque()
        self._waiting_bytes = 0

    def __len__(self) -> int:
        """Return how many messages wait to be written."""
        return len(self._waiting)

    def put(self, text: str) -> bool:
        """Queue a message and return True; return False, and queue nothing, when too much waits already.

        A message finds its place when nothing else waits, whatever its size.
        """
        size = _size(text)
        too_many = len(self._waiting) >= self._limits.messages
        if too_many or (self._waiting and self._waiting_bytes + size > self._limits.bytes):
            return False
        self._waiting.append(text)
        self._waiting_bytes += size
        return True

    def take(self) -> str | None:
        """Return the next message to write, or None."""
        if not self._waiting:
            return None
        text = self._waiting.popleft()
        size = _size(text)
        self._waiting_bytes -= size
        self.written += 1
        if self._limits.retain:
            self._retained.append(text)
            self._retained_bytes += size
            while len(self._retained) > MAX_RETAINED_MESSAGES or (
                len(self._retained) > 1 and self._retained_bytes > MAX_RETAINED_BYTES
            ):
                self._drop_oldest()
        return text

    def put_back(self, text: str) -> None:
        """Undo the last `take`: the message was not written after all."""
        if self._retained:
            self._retained_bytes -= _size(self._retained.pop())
        self._waiting.appendleft(text)
        self._waiting_bytes += _size(text)
        self.written -= 1

    def acknowledge(self, count: int) -> None:
        """Take note that the client's end has the first `count` messages.

        Its program may be one step behind its end of the socket, so only what was acknowledged before goes now.
        """
        if not self._acknowledged <= count <= self.written:
            return
        while self._retained and self.written - len(self._retained) < self._acknowledged:
            self._drop_oldest()
        self._acknowledged = count

    def rewind(self, received: int | None) -> bool:
        """Go back to what the client has not received; return False, and do nothing, where that is not kept any more.

        `received` is the client's own count; with None all that was written counts as received.
        """
        lost = 0 if received is None else self.written - received
        if not 0 <= lost <= len(self._retained):
            return False
        for _ in range(lost):
            self.put_back(self._retained[-1])
        return True

    def _drop_oldest(self) -> None:
        self._retained_bytes -= _size(self._retained.popleft())


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
