"""SequenceShift: one viewer's sequence numbers go on where they stopped, whatever it was not sent meanwhile. Pure."""

from __future__ import annotations


class SequenceShift:
    """Close the gaps that pauses leave in one viewer's sequence numbers.

    A gap would have a viewer ask for all that it was spared, and one of more than 32,767 packets, two minutes of video,
    would have it guess the wrong SRTP rollover counter and decrypt nothing more (RFC 3711 section 3.3.1). Timestamps
    need no such help: they count time, paused or not.
    """

    __slots__ = ("_closes_gap", "_first", "_next", "offset")

    def __init__(self) -> None:
        self.offset = 0
        """What the viewer's numbers are below the track's."""
        self._first: int | None = None
        """The track's first number since the last pause; earlier ones had another offset."""
        self._next = 0
        """The viewer's number that is to follow, while `_closes_gap`."""
        self._closes_gap = False

    def pause(self, highest: int | None) -> None:
        """Stop after the track's extended number `highest`, the last that was sent; None where nothing was."""
        if highest is not None and not self._closes_gap:
            self._next = highest + 1 - self.offset
            self._closes_gap = True

    def begin(self, sequence: int) -> None:
        """Take the track's extended number `sequence` as the first after a pause. Nothing happens without a pause."""
        if self._closes_gap:
            self._closes_gap = False
            self._first = sequence
            self.offset = sequence - self._next

    def may_send(self, sequence: int) -> bool:
        """Tell whether the packet came after the last pause; an earlier one's number is another packet's by now."""
        return self._first is None or sequence >= self._first

    def to_track(self, sequence_number: int) -> int:
        """Return the track's 16-bit number of one that the viewer names."""
        return (sequence_number + self.offset) & 0xFFFF
