"""The common clock of a source's tracks: what keeps picture and sound together."""

from __future__ import annotations

import asyncio

STALL_SECONDS = 2.0
"""Lateness after which a source goes on from where it is: bursting out seconds of media would help nobody."""


class Timeline:
    """Map media time, in seconds from the source's beginning, to the event loop's clock.

    The tracks of one source share one timeline. It starts with the first `elapsed` or `wait_until`.
    """

    def __init__(self) -> None:
        self._origin: float | None = None

    def elapsed(self) -> float:
        """Return the seconds since the start, starting now if it has not."""
        now = asyncio.get_running_loop().time()
        if self._origin is None:
            self._origin = now
        return now - self._origin

    async def wait_until(self, seconds: float) -> float:
        """Sleep until media time `seconds`; return by how many seconds the call came late (0.0 when in time).

        A lateness above `STALL_SECONDS` moves the whole timeline instead, for all its tracks alike.
        """
        late = self.elapsed() - seconds
        if late > STALL_SECONDS and self._origin is not None:
            self._origin += late
            late = 0.0
        if late < 0.0:
            await asyncio.sleep(-late)
        return max(late, 0.0)
