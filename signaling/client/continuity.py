"""Timestamps that go on when the media connection behind a track is replaced. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

SETTLE_SECONDS = 1.0
"""A subscription begins with a burst of what was; after so long the frames are of now."""


@dataclass(slots=True)
class _Joint:
    """Where the last connection ended, in seconds of arrival and of media."""

    arrival: float
    seconds: float
    settled_at: float | None = None


class Continuity:
    """Map the timestamps of one media connection after the other, each beginning anywhere, onto one time line.

    A pause between them is as long in media time as it was by the clock.
    """

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        """Arrival and mapped timestamp, in seconds, of the newest frame."""
        self._joint: _Joint | None = None
        self._shift = 0
        """Added to timestamps, in their own units."""

    def switch(self) -> None:
        """Expect the timestamps of another connection."""
        if self._last is not None:
            self._joint = _Joint(*self._last)

    def shifted(self, pts: int, time_base: Fraction, now: float) -> int:
        """Return the timestamp to use for a frame that arrives `now`; it is above the one before."""
        joint = self._joint
        if joint is not None:
            # The frames of the burst are late, the first the most: the least late is the measure.
            shift = round((joint.seconds + now - joint.arrival) / time_base) - pts
            if joint.settled_at is None:
                joint.settled_at = now + SETTLE_SECONDS
                self._shift = shift
            self._shift = min(shift, self._shift)
            if now >= joint.settled_at:
                self._joint = None
        pts += self._shift
        if self._last is not None:
            pts = max(pts, round(self._last[1] / time_base) + 1)
        self._last = now, float(pts * time_base)
        return pts
