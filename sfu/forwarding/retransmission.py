"""Retransmissions: which lost packets to send again to one viewer, when a second time, and how much in all."""

from __future__ import annotations

from collections import deque

RETRANSMISSION_BYTES_PER_SECOND = 500_000
"""Sent again to one viewer at most: all of a 4 Mbit/s stream. More would drown a link that loses that much."""
SECOND_COPY_RESERVE_BYTES = RETRANSMISSION_BYTES_PER_SECOND // 2
"""Left in the budget by second copies: where much is lost, the link is full, and each packet's first answer is worth
more."""
SECOND_COPY_DELAY_SECONDS = 0.03
"""Between the two copies of a retransmission: a frame's time, so that a burst that takes the one leaves the other. It
comes before the answer to a repeated NACK, and well within the 180 ms after which a picture counts as frozen."""
MAX_SECOND_COPIES_WAITING = 256
"""The packets of two large keyframes; beyond, a link loses so much that more would make it worse."""
MAX_RESENT_REMEMBERED = 512
"""Sequence numbers whose last retransmission is remembered, to answer a NACK once a round trip."""
DEFAULT_ROUND_TRIP_SECONDS = 0.05
"""Taken between two answers to NACKs for one packet while the viewer's round trip is unknown."""
ROUND_TRIP_PART = 0.8
"""Of the round trip for which a repeated NACK goes unanswered: the viewer has measured it too, and its own may be the
shorter one. A repeat that is passed over costs a further round trip."""


class RetransmissionBudget:
    """A bucket of bytes that fills with time."""

    __slots__ = ("_bytes", "_since")

    def __init__(self) -> None:
        self._bytes = float(RETRANSMISSION_BYTES_PER_SECOND)
        self._since = 0.0

    def take(self, size: int, now: float, *, reserve: int = 0) -> bool:
        """Take `size` bytes if they are there and at least `reserve` stay."""
        gained = (now - self._since) * RETRANSMISSION_BYTES_PER_SECOND
        self._bytes = min(self._bytes + gained, RETRANSMISSION_BYTES_PER_SECOND)
        self._since = now
        if self._bytes - reserve < size:
            return False
        self._bytes -= size
        return True


class Retransmissions:
    """Plan one viewer's retransmissions, by 16-bit sequence number; times are of one steady clock."""

    __slots__ = ("_resent", "_second_copies", "budget")

    def __init__(self) -> None:
        self.budget = RetransmissionBudget()
        self._resent: dict[int, float] = {}
        """When a packet was last asked for and answered, oldest first."""
        self._second_copies: deque[tuple[float, int]] = deque()
        """When which packet is to be sent a second time, soonest first."""

    def asked(self, sequence_number: int, now: float, round_trip: float | None) -> bool:
        """Tell whether a NACK is to be answered: not where the last answer may still be on its way."""
        before = self._resent.get(sequence_number)
        wait = DEFAULT_ROUND_TRIP_SECONDS if round_trip is None else round_trip
        if before is not None and now - before < wait * ROUND_TRIP_PART:
            return False
        self._resent.pop(sequence_number, None)
        self._resent[sequence_number] = now
        if len(self._resent) > MAX_RESENT_REMEMBERED:
            del self._resent[next(iter(self._resent))]
        return True

    def plan_second_copy(self, sequence_number: int, now: float) -> bool:
        """Have a packet that was sent again come once more a little later; return False where too many wait."""
        if len(self._second_copies) >= MAX_SECOND_COPIES_WAITING:
            return False
        self._second_copies.append((now + SECOND_COPY_DELAY_SECONDS, sequence_number))
        return True

    def clear(self) -> None:
        """Forget what was asked for and what is planned: the numbers begin to mean other packets."""
        self._resent.clear()
        self._second_copies.clear()

    def due(self, now: float) -> list[int]:
        """Return, once, the packets whose second copy is to be sent now."""
        numbers = []
        while self._second_copies and self._second_copies[0][0] <= now:
            numbers.append(self._second_copies.popleft()[1])
        return numbers

    def next_deadline(self) -> float | None:
        """Return when `due` next has something, or None while nothing waits."""
        return self._second_copies[0][0] if self._second_copies else None
