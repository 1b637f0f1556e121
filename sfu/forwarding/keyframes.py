"""KeyframeRequester: many viewers' wishes for a keyframe, one publisher's PLI at a time."""

from __future__ import annotations

MIN_INTERVAL_SECONDS = 0.5
"""Between two PLIs of a track: a keyframe is ten times a frame, and one serves every viewer."""
RETRY_SECONDS = (0.5, 1.0, 2.0)
"""After each PLI that brought no keyframe; the last goes on. An encoder that is slow needs no faster asking."""
MAX_TRIES = 8
"""PLIs for one wish, some 13 s; by then the publisher does not know PLI or is gone. The next wish begins anew."""


class KeyframeRequester:
    """Decide when to send a publisher's track a PLI.

    Wishes are coalesced: while one waits, further ones change nothing. A wish is met by the next keyframe that is seen,
    asked for or not; one that comes after a keyframe waits until the interval since the last PLI has passed.
    """

    __slots__ = ("_due_at", "_given_up", "_last_sent", "_tries")

    def __init__(self) -> None:
        self._due_at: float | None = None
        """When the next PLI may go; None while nobody waits."""
        self._last_sent: float | None = None
        self._tries = 0
        self._given_up = 0

    @property
    def pending(self) -> bool:
        """Whether somebody waits for a keyframe."""
        return self._due_at is not None

    @property
    def given_up(self) -> int:
        """Wishes that no keyframe answered, so far."""
        return self._given_up

    def request(self, now: float) -> None:
        """Ask for a keyframe that begins after `now`."""
        if self._due_at is None:
            self._tries = 0
            earliest = now if self._last_sent is None else self._last_sent + MIN_INTERVAL_SECONDS
            self._due_at = max(now, earliest)

    def keyframe_seen(self, now: float) -> None:  # noqa: ARG002 - every call of this package takes `now`
        """Note that a keyframe begins: nobody waits any more."""
        self._due_at = None

    def due(self, now: float) -> bool:
        """Tell whether to send a PLI now; True counts as sent."""
        if self._due_at is None or now < self._due_at:
            return False
        if self._tries >= MAX_TRIES:
            self._due_at = None
            self._given_up += 1
            return False
        self._due_at = now + RETRY_SECONDS[min(self._tries, len(RETRY_SECONDS) - 1)]
        self._tries += 1
        self._last_sent = now
        return True

    def next_deadline(self) -> float | None:
        """Return when to call `due` next, or None while nobody waits."""
        return self._due_at
