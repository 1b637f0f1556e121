"""Faults: bugs of ours that are kept from what they do not concern. Each is logged with its context, and counted."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

logger = logging.getLogger("aiosfu.faults")

MAX_LOGGED_PER_MINUTE: Final = 60
"""A packet that finds a bug can be sent again and again; a log full of one traceback helps nobody. All are counted."""


class Faults:
    """Count faults by what failed."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._now = now
        self._minute = 0
        self._logged = 0

    def report(self, what: str, error: BaseException, **fields: object) -> None:
        """Count a fault, and log it with its traceback unless many have been in this minute."""
        self.counts[what] += 1
        minute = int(self._now() // 60)
        if minute != self._minute:
            self._minute, self._logged = minute, 0
        self._logged += 1
        if self._logged <= MAX_LOGGED_PER_MINUTE:
            logger.error(what, extra={"fields": {**fields, "count": self.counts[what]}}, exc_info=error)

    def shield(self, what: str, call: Callable[P, None]) -> Callable[P, None]:
        """Return `call` such that what it raises is reported and goes no further."""

        def shielded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                call(*args, **kwargs)
            except Exception as exc:  # noqa: BLE001  any bug is meant
                self.report(what, exc)

        return shielded
