"""Policer: how much of one kind one peer may send, and for how long it is not heard after it has sent more. Pure."""

from __future__ import annotations

from typing import Final

WINDOW_SECONDS: Final = 0.1
"""Over which packets are counted: a keyframe's burst is a small part of what it may hold."""
MAX_BLOCK_SECONDS: Final = 6.4
"""Of a peer that goes on flooding: each time it is heard again it costs the others a part of one window, so this makes
that less than 1 % of the time. Short enough that a peer that has come to its senses is soon heard again."""


class Policer:
    """Count one kind of packet from one peer by windows.

    What exceeds a window is refused until that window ends. A peer that exceeds the next one too is blocked for two
    windows, then four, up to `MAX_BLOCK_SECONDS`; one window within the limit and all is forgiven.
    """

    __slots__ = ("_count", "_in_a_row", "_limit", "blocked_until")

    def __init__(self, per_second: int) -> None:
        self.blocked_until = 0.0
        """When the present window, or the block that it has become, ends."""
        self._limit = max(1, int(per_second * WINDOW_SECONDS))
        self._count = 0
        self._in_a_row = 0

    @property
    def block_begins(self) -> bool:
        """Whether the packet just refused is the first of its block."""
        return self._count == self._limit + 1

    def refuses(self, now: float) -> bool:
        """Count one packet; tell whether it is one too many."""
        if now >= self.blocked_until:
            if self._count <= self._limit or now >= self.blocked_until + WINDOW_SECONDS:
                self._in_a_row = 0
            self._count = 0
            self.blocked_until = now + WINDOW_SECONDS
        self._count += 1
        if self._count <= self._limit:
            return False
        if self.block_begins:
            if self._in_a_row:
                self.blocked_until = now + min(WINDOW_SECONDS * 2**self._in_a_row, MAX_BLOCK_SECONDS)
            # Bounded: what it is the exponent of must stay a number.
            self._in_a_row = min(self._in_a_row + 1, 16)
        return True
