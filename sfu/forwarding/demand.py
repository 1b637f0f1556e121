"""Demand: which of a publisher's tracks somebody receives, as the publisher is to be told. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

TrackT = TypeVar("TrackT", bound="Hashable")


class Demand(Generic[TrackT]):
    """Decide when to tell a publisher which of its tracks are wanted.

    A track that nobody receives is wanted for `hold` seconds more, so that a page that is reloaded does not stop a
    camera, and so is one that was just added, until viewers have answered. Nothing is told before anybody ever received
    something.
    """

    __slots__ = ("_begun", "_hold", "_told", "_unreceived_since")

    def __init__(self, hold: float) -> None:
        self._hold = hold
        self._begun = False
        self._told: frozenset[TrackT] | None = None
        self._unreceived_since: dict[TrackT, float] = {}

    def update(self, tracks: Collection[TrackT], received: Collection[TrackT], now: float) -> frozenset[TrackT] | None:
        """Take the publisher's tracks and those that somebody receives; return the wanted ones if that is news."""
        since = self._unreceived_since
        self._begun = self._begun or bool(received)
        self._unreceived_since = {track: since.get(track, now) for track in tracks if track not in received}
        if not self._begun:
            # A device that waits for its first viewer is to be ready for it.
            self._unreceived_since.clear()
            return None
        wanted = frozenset(track for track in tracks if track in received or now < self._until(track))
        if wanted == self._told:
            return None
        self._told = wanted
        return wanted

    def forget(self) -> None:
        """Have the next update tell the wanted tracks in any case: the publisher began anew and cannot know them."""
        self._told = None

    def next_deadline(self) -> float | None:
        """Return when to update next though nothing changed; None for not at all."""
        told = self._told or frozenset()
        return min((self._until(track) for track in self._unreceived_since if track in told), default=None)

    def _until(self, track: TrackT) -> float:
        return self._unreceived_since[track] + self._hold
