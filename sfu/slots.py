"""Slots: the m-lines of one subscription, offered again and again as its feed's tracks change. Pure.

An m-line that was offered once stays in every later offer (RFC 3264 section 8). A track that is removed leaves it
rejected, and once the viewer has rejected it too another track of its kind may have it, under another mid (RFC 8829
section 5.2.2). Stock aiortc never rejects one, so there further tracks get further m-lines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .descriptions import MAX_SECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .parameters import AcceptedTrack, SentTrack, SubscriberAnswer
    from .producer import Producer


@dataclass(slots=True, eq=False)
class Slot:
    """One m-line."""

    sent: SentTrack
    producer: Producer | None
    """Whose track it has; None once that is removed or was refused."""
    accepted: AcceptedTrack | None = None
    """What the viewer made of it; None while it has not answered, or does not take it."""
    free: bool = False
    """Whether both sides have rejected it."""


class Slots:
    """Keep the m-lines of one subscription."""

    def __init__(self, make: Callable[[Producer], SentTrack], limit: int = MAX_SECTIONS) -> None:
        self._make = make
        self._limit = limit
        self._slots: list[Slot] = []
        # What the viewer rejected for good, so that it is not offered in another m-line.
        self._refused: set[Producer] = set()
        self.tag: str | None = None
        """The mid whose m-line carries the bundle's transport; None before the first answer. It is never rejected."""
        self.left_out = 0
        """Tracks that could not be offered because every m-line is taken."""

    @property
    def offered(self) -> tuple[SentTrack, ...]:
        """The sections of the newest offer."""
        return tuple(slot.sent for slot in self._slots)

    def accepted(self) -> list[tuple[Producer, SentTrack, AcceptedTrack]]:
        """Return the tracks that are there and that the viewer takes."""
        return [
            (slot.producer, slot.sent, slot.accepted)
            for slot in self._slots
            if slot.producer is not None and slot.accepted is not None
        ]

    def arrange(self, producers: Sequence[Producer]) -> bool:
        """Give each producer an m-line and the others' theirs up; return whether there is something new to offer."""
        self._refused &= set(producers)
        changed = False
        for slot in self._slots:
            if slot.producer is not None and slot.producer not in producers:
                self._empty(slot)
                changed = True
        placed = {slot.producer for slot in self._slots} | self._refused
        for producer in producers:
            if producer not in placed:
                changed |= self._place(producer)
        return changed

    def answer(self, answer: SubscriberAnswer) -> None:
        """Take what the viewer made of the newest offer."""
        accepted = {track.mid: track for track in answer.tracks}
        for slot in self._slots:
            mid = slot.sent.parameters.mid
            slot.accepted = accepted.get(mid)
            slot.free = slot.sent.use == "gone" and mid in answer.rejected
            if self.tag is None and mid not in answer.rejected:
                self.tag = mid
            if slot.producer is not None and mid in answer.rejected:
                self._refused.add(slot.producer)
                self._empty(slot)

    def _empty(self, slot: Slot) -> None:
        """Take the track out of an m-line; the one that carries the bundle stays open."""
        slot.producer = slot.accepted = None
        slot.sent = replace(slot.sent, use="idle" if slot.sent.parameters.mid == self.tag else "gone")

    def _place(self, producer: Producer) -> bool:
        sent = self._make(producer)
        for slot in self._slots:
            if slot.free and slot.sent.parameters.kind == producer.kind:
                slot.sent, slot.producer, slot.free = sent, producer, False
                return True
        if len(self._slots) < self._limit:
            self._slots.append(Slot(sent, producer))
            return True
        self._refused.add(producer)
        self.left_out += 1
        return False
