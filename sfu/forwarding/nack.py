"""NackGenerator: which packets of a publisher are missing and when to ask for them (RFC 4585 section 6.2.1)."""

from __future__ import annotations

import math

MAX_MISSING_PACKETS = 512
"""Waited for at once. A larger hole is an outage; a keyframe mends it sooner than so many retransmissions."""
MAX_TRIES = 10
"""Requests for one packet, as libwebrtc has it."""
MAX_WAIT_SECONDS = 2.0
"""For one packet, whatever the round trip: viewers' jitter buffers have long gone on by then."""
MAX_NACKED_AT_ONCE = 256
"""Numbers in one answer of `due`: 1 kB of NACK when no two share an entry, so it fits any path."""
REORDER_ALLOWANCE_SECONDS = 0.01
"""Between seeing a gap and the first request. Packets that overtake one another (Wi-Fi, multi-queue cards) come within
a few milliseconds and then cost no retransmission; later holes of the same burst join the same request; and it is a
small part of the 40 ms and more that jitter buffers hold."""
MIN_RETRY_SECONDS = 0.02
"""Between two requests for one packet; on a local network a round trip alone would be a busy loop."""
MAX_RETRY_SECONDS = 0.5
"""Likewise, in case the measured round trip is absurd."""
ROUND_TRIP_GAIN = 0.125
"""Weight of a new measurement, as in RFC 6298."""


class _Missing:
    """One packet that has not come."""

    __slots__ = ("asked_at", "due_at", "give_up_at", "tries")

    def __init__(self, due_at: float, give_up_at: float) -> None:
        self.due_at = due_at
        self.give_up_at = give_up_at
        self.tries = 0
        self.asked_at = 0.0
        """When it was last asked for."""


class NackGenerator:
    """Note gaps in a source's extended sequence numbers and tell when to ask for what is missing.

    `max_missing` packets are waited for at most; each is asked for `max_tries` times and no longer than `max_wait`
    seconds, the first time `reorder_allowance` seconds after its gap was seen.
    """

    __slots__ = (
        "_deadline",
        "_given_up",
        "_highest",
        "_max_missing",
        "_max_tries",
        "_max_wait",
        "_missing",
        "_reorder_allowance",
        "_round_trip",
    )

    def __init__(
        self,
        max_missing: int = MAX_MISSING_PACKETS,
        max_tries: int = MAX_TRIES,
        max_wait: float = MAX_WAIT_SECONDS,
        reorder_allowance: float = REORDER_ALLOWANCE_SECONDS,
    ) -> None:
        self._max_missing = max_missing
        self._max_tries = max_tries
        self._max_wait = max_wait
        self._reorder_allowance = reorder_allowance
        self._highest = -1
        self._missing: dict[int, _Missing] = {}
        """In ascending order: numbers are only ever added above the highest."""
        self._deadline = math.inf
        """Not after the earliest time at which something is due; arrivals leave it early, `due` mends it."""
        self._given_up = 0
        self._round_trip: float | None = None

    @property
    def round_trip(self) -> float | None:
        """The smoothed time from a request to its answer, in seconds; None before the first."""
        return self._round_trip

    @property
    def missing(self) -> int:
        """Packets waited for."""
        return len(self._missing)

    def add(self, sequence: int, now: float, *, recovered: bool = False) -> bool:
        """Note that the packet of this extended number has come, and as missing those skipped before it.

        `recovered` says that it is certainly a retransmission: then it tells the round trip. Returns whether packets
        were skipped, so that `next_deadline` may be nearer.
        """
        highest = self._highest
        if sequence <= highest:
            if self._missing:
                found = self._missing.pop(sequence, None)
                # Of a packet asked for twice nobody knows which request was answered (Karn's algorithm).
                if recovered and found is not None and found.tries == 1:
                    self._measure(now - found.asked_at)
            return False
        self._highest = sequence
        if sequence != highest + 1 and highest >= 0:
            self._note_gap(highest + 1, sequence, now)
            return True
        return False

    def _measure(self, round_trip: float) -> None:
        if self._round_trip is None:
            self._round_trip = round_trip
        else:
            self._round_trip += (round_trip - self._round_trip) * ROUND_TRIP_GAIN

    def _note_gap(self, start: int, end: int, now: float) -> None:
        if end - start > self._max_missing:
            self._given_up += len(self._missing) + end - start
            self._missing.clear()
            return
        if not self._missing:
            self._deadline = math.inf
        due_at = now + self._reorder_allowance
        for sequence in range(start, end):
            self._missing[sequence] = _Missing(due_at, now + self._max_wait)
        while len(self._missing) > self._max_missing:
            del self._missing[next(iter(self._missing))]
            self._given_up += 1
        self._deadline = min(self._deadline, due_at)

    def due(self, now: float, round_trip: float) -> list[int]:
        """Return the 16-bit numbers to ask for now, oldest first, and count them as asked for.

        Each comes again after `round_trip` seconds, bounded to 20 .. 500 ms, until it arrives or is given up. At most
        256 are returned; the others stay due.
        """
        if now < self._deadline:
            return []
        retry_at = now + min(max(round_trip, MIN_RETRY_SECONDS), MAX_RETRY_SECONDS)
        numbers: list[int] = []
        abandoned: list[int] = []
        deadline = math.inf
        for sequence, missing in self._missing.items():
            if missing.due_at <= now:
                if missing.tries >= self._max_tries or missing.give_up_at <= now:
                    abandoned.append(sequence)
                    continue
                if len(numbers) < MAX_NACKED_AT_ONCE:
                    numbers.append(sequence & 0xFFFF)
                    missing.tries += 1
                    missing.asked_at = now
                    missing.due_at = retry_at
            deadline = min(deadline, missing.due_at)
        for sequence in abandoned:
            del self._missing[sequence]
        self._given_up += len(abandoned)
        self._deadline = deadline
        return numbers

    def next_deadline(self) -> float | None:
        """Return when to call `due` next, or None while nothing is missing."""
        return self._deadline if self._missing else None

    def take_given_up(self) -> int:
        """Return how many packets were given up since this was last asked; a keyframe should mend them."""
        given_up, self._given_up = self._given_up, 0
        return given_up
