"""StreamRewriter: what one viewer gets is one RTP stream, whatever sources it is made of."""

from __future__ import annotations

_HALF_TIMESTAMP = 0x80000000


class StreamRewriter:
    """Map a source's sequence numbers and timestamps to one continuous outgoing numbering.

    `sequence` and `timestamp` are the first outgoing ones. While a source goes on its offsets are constant, so packets
    out of order map right and a hole in the source is a hole in what goes out. `switch` begins the next source; only
    packets of the current source may be mapped.
    """

    __slots__ = (
        "_anchor_at",
        "_anchor_timestamp",
        "_first",
        "_highest",
        "_highest_timestamp",
        "_initial_sequence",
        "_initial_timestamp",
        "_lowest_source",
        "_sequence_offset",
        "_started",
        "_timestamp_offset",
    )

    def __init__(self, *, sequence: int, timestamp: int) -> None:
        self._initial_sequence = sequence
        self._initial_timestamp = timestamp & 0xFFFFFFFF
        self._started = False
        self._sequence_offset = 0
        self._timestamp_offset = 0
        self._first = sequence
        """First outgoing number of the current source."""
        self._lowest_source: int | None = None
        self._highest = sequence - 1
        self._highest_timestamp = self._initial_timestamp
        self._anchor_at: float | None = None
        self._anchor_timestamp = self._initial_timestamp
        """The outgoing timestamp that belongs to the time `_anchor_at`."""

    @property
    def sequence_offset(self) -> int:
        """What is added to the source's extended sequence numbers."""
        return self._sequence_offset

    @property
    def timestamp_offset(self) -> int:
        """What is added to the source's timestamps, modulo 2**32."""
        return self._timestamp_offset

    @property
    def highest_sequence(self) -> int | None:
        """The highest extended outgoing number so far, or None before the first packet."""
        return self._highest if self._highest >= self._initial_sequence else None

    @property
    def lowest_source_sequence(self) -> int | None:
        """The source's first number since a switch, or None for the first source.

        Earlier packets of the source must not be mapped: their outgoing numbers belong to the source before it, and
        SRTP must never see one number twice with different packets.
        """
        return self._lowest_source

    def map(self, sequence: int, timestamp: int, now: float | None = None) -> tuple[int, int]:
        """Return the extended outgoing sequence number and the outgoing timestamp of a packet of the current source.

        `now`, where given, lets a later `switch` count the time since this packet instead of since the last switch.
        """
        if not self._started:
            self._start(sequence, timestamp)
        outgoing = sequence + self._sequence_offset
        outgoing_timestamp = (timestamp + self._timestamp_offset) & 0xFFFFFFFF
        if outgoing > self._highest:
            self._highest = outgoing
            self._highest_timestamp = outgoing_timestamp
            if now is not None:
                self._anchor_at = now
                self._anchor_timestamp = outgoing_timestamp
        return outgoing, outgoing_timestamp

    def _start(self, sequence: int, timestamp: int) -> None:
        self._started = True
        self._sequence_offset = self._initial_sequence - sequence
        self._timestamp_offset = (self._initial_timestamp - timestamp) & 0xFFFFFFFF

    def switch(self, first_sequence: int, first_timestamp: int, now: float, clock_rate: int) -> None:
        """Begin a source whose first packet has these numbers; it continues right after what went out.

        The outgoing timestamp goes on by the time passed at `clock_rate` Hz, and by one at least. For the first source
        the call may be left out; but unless `map` is told the time, the next switch then knows of none that passed.
        """
        if self._highest < self._initial_sequence:
            self._start(first_sequence, first_timestamp)
            self._first = self._initial_sequence
            self._anchor_at = now
            self._anchor_timestamp = self._initial_timestamp
            return
        timestamp = (self._highest_timestamp + 1) & 0xFFFFFFFF
        if self._anchor_at is not None:
            elapsed = max(round((now - self._anchor_at) * clock_rate), 0)
            by_clock = (self._anchor_timestamp + elapsed) & 0xFFFFFFFF
            if 0 < ((by_clock - timestamp) & 0xFFFFFFFF) < _HALF_TIMESTAMP:
                timestamp = by_clock
        self._first = self._highest + 1
        self._lowest_source = first_sequence
        self._sequence_offset = self._first - first_sequence
        self._timestamp_offset = (timestamp - first_timestamp) & 0xFFFFFFFF
        self._anchor_at = now
        self._anchor_timestamp = timestamp

    def source_sequence(self, sequence_number: int) -> int | None:
        """Return the source's extended number of a 16-bit outgoing one that a viewer names in a NACK.

        None for one that has not gone out, or went out for an earlier source.
        """
        if self._highest < self._initial_sequence:
            return None
        outgoing = self._highest - ((self._highest - sequence_number) & 0xFFFF)
        if outgoing < self._first and self._lowest_source is not None:
            return None
        return outgoing - self._sequence_offset
