"""How long to wait before trying again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INITIAL_SECONDS = 0.5
MAXIMUM_SECONDS = 15.0
"""A camera is to be back soon after its server, however long that was away."""
FACTOR = 2.0
JITTER = 0.5
"""Share of the wait that is random, so that a thousand devices do not return in the same instant."""
STABLE_SECONDS = 10.0
"""What has lasted this long counts as a success; what ends sooner is a failure like any other."""


class Backoff:
    """Exponential backoff with jitter. Pure: `random` returns numbers in [0, 1)."""

    def __init__(
        self,
        *,
        initial: float = INITIAL_SECONDS,
        maximum: float = MAXIMUM_SECONDS,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._initial = initial
        self._maximum = maximum
        self._random = random
        self._ceiling = initial

    def next(self, lasted: float = 0.0) -> float:
        """Return the seconds to wait after an attempt that `lasted` so many seconds."""
        if lasted >= STABLE_SECONDS:
            self._ceiling = self._initial
        delay = self._ceiling * (1.0 - JITTER * self._random())
        self._ceiling = min(self._ceiling * FACTOR, self._maximum)
        return delay
