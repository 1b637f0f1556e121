"""Arithmetic on RTP's wrapping numbers (RFC 3550 section 5.1, RFC 1982).

Sequence numbers are unwrapped once, where a packet enters, and stay plain growing integers from there on;
`seq16` turns them back where a packet leaves.
"""

from __future__ import annotations

_SEQUENCE_CYCLE = 0x10000
_SEQUENCE_HALF = 0x8000
_TIMESTAMP_HALF = 0x80000000


class SequenceUnwrapper:
    """Turn 16-bit sequence numbers into integers that go on growing when the 16 bits wrap.

    The first number `n` becomes `n + 65536`: one spare cycle below it keeps packets that were overtaken by
    the first one from becoming negative. Each further number is taken as the one nearest to the highest seen
    so far; at the exact distance of 32768, where RFC 1982 leaves the order open, as the older one.
    """

    __slots__ = ("_highest",)

    def __init__(self) -> None:
        self._highest = -1

    @property
    def last(self) -> int | None:
        """The highest extended number so far, or None before the first."""
        return None if self._highest < 0 else self._highest

    def unwrap(self, sequence_number: int) -> int:
        """Return the extended number of a 16-bit `sequence_number`; its low 16 bits are the number itself."""
        highest = self._highest
        if highest < 0:
            self._highest = extended = sequence_number + _SEQUENCE_CYCLE
            return extended
        ahead = (sequence_number - highest) & 0xFFFF
        if ahead < _SEQUENCE_HALF:
            self._highest = extended = highest + ahead
            return extended
        return highest + ahead - _SEQUENCE_CYCLE


def seq16(extended: int) -> int:
    """Return the 16-bit number on the wire of an extended one."""
    return extended & 0xFFFF


def sequence_newer(a: int, b: int) -> bool:
    """Tell whether the 16-bit number `a` comes after `b`; neither of two numbers 32768 apart does."""
    return 0 < ((a - b) & 0xFFFF) < _SEQUENCE_HALF


def timestamp_delta(a: int, b: int) -> int:
    """Return `a - b` for 32-bit RTP timestamps, as a signed number of clock ticks in -2**31 .. 2**31 - 1."""
    return ((a - b + _TIMESTAMP_HALF) & 0xFFFFFFFF) - _TIMESTAMP_HALF
