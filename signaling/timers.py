"""Timers: what is due when, the earliest first. Pure: times are seconds of any steady clock."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

KeyT = TypeVar("KeyT", bound="Hashable")

MAX_STALE_ENTRIES = 64
"""Cancelled entries that the heap may hold beyond twice what is due before it is built anew."""


class Timers(Generic[KeyT]):
    """One due time for each key."""

    __slots__ = ("_due", "_heap", "_serial")

    def __init__(self) -> None:
        self._due: dict[KeyT, tuple[float, int]] = {}
        # Entries whose key has another due time by now, or none, are passed over.
        self._heap: list[tuple[float, int, KeyT]] = []
        self._serial = 0

    def __contains__(self, key: KeyT) -> bool:
        return key in self._due

    def __len__(self) -> int:
        return len(self._due)

    def __repr__(self) -> str:
        return f"Timers({ {key: due for key, (due, _) in self._due.items()} })"

    def set(self, key: KeyT, due: float) -> None:
        """Set when `key` is due, instead of any earlier setting."""
        self._serial += 1
        self._due[key] = (due, self._serial)
        heapq.heappush(self._heap, (due, self._serial, key))
        if len(self._heap) > 2 * len(self._due) + MAX_STALE_ENTRIES:
            self._heap = [(when, serial, old) for old, (when, serial) in self._due.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: KeyT) -> None:
        """Forget `key`. Harmless when it is not set."""
        self._due.pop(key, None)

    def clear(self) -> None:
        """Forget every key."""
        self._due.clear()
        self._heap.clear()

    def next(self) -> float | None:
        """Return when the next key is due, or None."""
        while self._heap:
            due, serial, key = self._heap[0]
            if self._due.get(key) == (due, serial):
                return due
            heapq.heappop(self._heap)
        return None

    def pop(self, now: float) -> KeyT | None:
        """Take out the key that has been due for longest at `now`, or return None."""
        due = self.next()
        if due is None or due > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        return key
