"""Drain: the end of a server that is told to end while people watch; and the signals that tell it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from .rooms import Rooms

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Drain:
    """Whether a service is about to end, and whether it still has to wait for its streams."""

    def __init__(self, rooms: Rooms) -> None:
        self.has_begun = False
        self._rooms = rooms
        self._is_over: asyncio.Event | None = None
        """Set when nobody watches any more; there is one while somebody waits for that."""

    @property
    def streams(self) -> int:
        """How many feeds are received, or about to be: once for each of their viewers."""
        return len(self._rooms.state.subscriptions)

    @property
    def is_watched(self) -> bool:
        """Whether there are any. A device that streams to nobody holds nothing up."""
        return self.streams > 0

    def begin(self) -> None:
        """Take note that the end is near. Idempotent."""
        self.has_begun = True

    def look(self) -> None:
        """Look whether anybody still watches: after every event."""
        if self._is_over is not None and not self.is_watched:
            self._is_over.set()

    async def wait(self, seconds: float) -> bool:
        """Return True when nobody watches any more, or False after `seconds`."""
        self._is_over = over = asyncio.Event()
        self.look()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await over.wait()
        return over.is_set()


class StopSignals:
    """SIGINT and SIGTERM: the first asks for an orderly end, the second for one at once, a third is as without us."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self._second = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            # Windows' loops have no signal handlers; there SIGINT arrives as KeyboardInterrupt.
            with contextlib.suppress(NotImplementedError):
                self._loop.add_signal_handler(number, self._take)

    def _take(self) -> None:
        if not self.first.is_set():
            self.first.set()
            return
        self._second.set()
        for number in STOP_SIGNALS:
            self._loop.remove_signal_handler(number)

    async def unless_again(self, work: Coroutine[object, object, None]) -> None:
        """Run `work`; cancel it when another signal comes, also one that came before."""
        task = asyncio.create_task(work, name="until-next-signal")
        again = asyncio.create_task(self._second.wait(), name="next-signal")
        try:
            await asyncio.wait((task, again), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (task, again):
                each.cancel()
            await asyncio.wait((task, again))
        if not task.cancelled():
            task.result()
