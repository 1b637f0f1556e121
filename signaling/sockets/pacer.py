"""Pacer: wakes thousands of writers without holding up the event loop, on which media runs too."""

from __future__ import annotations

import asyncio
from typing import Protocol

MAX_WAKES_PER_TURN = 100
"""A writer takes some 15 us for a message: 1.5 ms in a turn of the loop."""


class Writer(Protocol):
    """What has something to write."""

    def flush(self) -> None:
        """Write what waits."""
        ...

    def failed(self, error: Exception) -> None:
        """End: writing has failed, by a bug of ours."""
        ...


class Pacer:
    """Have writers flush, so many in one turn of the event loop; the first come first."""

    def __init__(self) -> None:
        self._waiting: dict[Writer, None] = {}
        self._woken = 0
        self._is_scheduled = False

    def wake(self, writer: Writer) -> None:
        """Have `writer` flush, now or a few turns later."""
        if writer in self._waiting:
            return
        if self._woken < MAX_WAKES_PER_TURN and not self._waiting:
            self._woken += 1
            self._flush(writer)
        else:
            self._waiting[writer] = None
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._is_scheduled = False
        first = list(zip(self._waiting, range(MAX_WAKES_PER_TURN), strict=False))
        self._woken = len(first)
        for writer, _ in first:
            del self._waiting[writer]
            self._flush(writer)
        if first:
            self._schedule()

    @staticmethod
    def _flush(writer: Writer) -> None:
        try:
            writer.flush()
        except Exception as error:  # noqa: BLE001  the others wait behind it
            writer.failed(error)
