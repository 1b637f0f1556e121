"""BitReader: single bits and Exp-Golomb codes, as video headers have them (ITU-T H.264 section 9.1)."""

from __future__ import annotations

MAX_CODE_ZERO_BITS = 32
"""Leading zeros of an Exp-Golomb code; no field of a parameter set is wider than 32 bits."""


class BitReader:
    """Read `data` from its first bit on; `EOFError` tells that there are no more."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def bits(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        if count > self._left:
            raise EOFError(f"{count} bits wanted, {self._left} left")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def flag(self) -> bool:
        """Return the next bit."""
        return self.bits(1) == 1

    def unsigned(self) -> int:
        """Return the next unsigned Exp-Golomb code, ue(v)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > MAX_CODE_ZERO_BITS:
                raise EOFError(f"Exp-Golomb code of more than {MAX_CODE_ZERO_BITS} bits")
        return (1 << zeros) - 1 + self.bits(zeros)

    def signed(self) -> int:
        """Return the next signed Exp-Golomb code, se(v)."""
        code = self.unsigned()
        return (code + 1) // 2 if code & 1 else -(code // 2)
