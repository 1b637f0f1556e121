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
RESTART_SECONDS = 0.4
"""Each wait for a server that has said that it ends: most are started anew, which takes a second or two."""
RESTART_ATTEMPTS = 30
"""So many of these, some ten seconds, before the waits grow."""
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
        self._restart_attempts = 0

    def expect_restart(self) -> None:
        """Let the next waits be short: the server has said that it ends, and will be back soon."""
        self._restart_attempts = RESTART_ATTEMPTS

    def next(self, lasted: float = 0.0) -> float:
        """Return the seconds to wait after an attempt that `lasted` so many seconds."""
        if lasted >= STABLE_SECONDS:
            self._ceiling = self._initial
        share = 1.0 - JITTER * self._random()
        if self._restart_attempts > 0:
            self._restart_attempts -= 1
            return RESTART_SECONDS * share
        delay = self._ceiling * share
        self._ceiling = min(self._ceiling * FACTOR, self._maximum)
        return delay
