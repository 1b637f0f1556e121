"""Heartbeat: one timer for the pings of all sessions. A timer each, ten thousand times, would be most of their cost."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from signaling.timers import Timers

SLACK_SECONDS = 0.05
"""What is due within this time goes now: 20 wake-ups a second for any number of clients."""
MAX_BEATS_PER_TURN = 50
"""A ping takes some 15 us: below a millisecond in a turn of the event loop, on which media runs too."""


class Beating(Protocol):
    """What is to beat."""

    def __hash__(self) -> int: ...

    def beat(self, now: float) -> float:
        """Ask for a sign of life; return after how many seconds to do so again, 0 for never."""
        ...

    def failed(self, error: Exception) -> None:
        """End: asking has failed, by a bug of ours."""
        ...


class Heartbeat:
    """Call `beat` of all that were added, each at its time."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        # Whoever beats at the interval goes to the end of a queue, which so stays in order.
        self._regular: OrderedDict[Beating, float] = OrderedDict()
        self._sooner: Timers[Beating] = Timers()
        """Those whose time is nearly over."""
        self._timer: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._regular) + len(self._sooner)

    def add(self, beating: Beating) -> None:
        """Have something beat, for the first time after the interval."""
        self._regular[beating] = asyncio.get_running_loop().time() + self._interval_seconds
        self._arm()

    def remove(self, beating: Beating) -> None:
        """Have it beat no more. Harmless when it is not there."""
        self._regular.pop(beating, None)
        self._sooner.cancel(beating)
        if not len(self) and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> float | None:
        first = next(iter(self._regular.values()), None)
        sooner = self._sooner.next()
        return sooner if first is None else first if sooner is None else min(first, sooner)

    def _arm(self) -> None:
        due = self._due()
        if self._timer is None and due is not None:  # what is overdue runs in the next turn
            self._timer = asyncio.get_running_loop().call_at(due, self._run)

    def _run(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for _ in range(MAX_BEATS_PER_TURN):
            beating = self._sooner.pop(now) or self._pop_regular(now + SLACK_SECONDS)
            if beating is None:
                break
            self._beat(beating, now)
        self._arm()

    def _pop_regular(self, latest: float) -> Beating | None:
        beating, due = next(iter(self._regular.items()), (None, latest + 1))
        if beating is None or due > latest:
            return None
        del self._regular[beating]
        return beating

    def _beat(self, beating: Beating, now: float) -> None:
        try:
            seconds = beating.beat(now)
        except Exception as error:  # noqa: BLE001  all the others' heartbeats would end with it
            beating.failed(error)
            return
        if seconds >= self._interval_seconds:
            self._regular[beating] = now + self._interval_seconds
        elif seconds > 0:
            self._sooner.set(beating, now + seconds)
