"""How often something may happen. Pure: every call takes `now`, in seconds of any steady clock."""

from __future__ import annotations


class TokenBucket:
    """Allow `rate` things a second on average and `burst` at once."""

    __slots__ = ("_burst", "_level", "_rate", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._updated = now

    def take(self, now: float) -> bool:
        """Take one token and return True, or return False when there is none. A clock that steps back gives none."""
        self._level = min(self._burst, self._level + max(0.0, now - self._updated) * self._rate)
        self._updated = max(self._updated, now)
        if self._level < 1:
            return False
        self._level -= 1
        return True
