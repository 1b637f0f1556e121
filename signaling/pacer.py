"""Pacer: wakes thousands of writers without holding up the event loop, on which media runs too."""

from __future__ import annotations

import asyncio

MAX_WAKES_PER_TURN = 100
"""A writer takes some 25 us for a message: 2.5 ms in a turn of the loop."""


class Pacer:
    """Set events, so many in one turn of the event loop; the first come first."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, None] = {}
        self._woken = 0
        self._is_scheduled = False

    def wake(self, event: asyncio.Event) -> None:
        """Set `event`, now or a few turns later."""
        if event.is_set() or event in self._waiting:
            return
        if self._woken < MAX_WAKES_PER_TURN and not self._waiting:
            self._woken += 1
            event.set()
        else:
            self._waiting[event] = None
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._is_scheduled = False
        first = list(zip(self._waiting, range(MAX_WAKES_PER_TURN), strict=False))
        self._woken = len(first)
        for event, _ in first:
            del self._waiting[event]
            event.set()
        if first:
            self._schedule()
