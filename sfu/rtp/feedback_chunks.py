"""Status chunks and deltas of transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1).

An arrival is the time since the packet received before it, in units of 250 us, or None for a packet not received.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_RECEIVED = 0
SMALL_DELTA = 1
LARGE_DELTA = 2

MIN_LARGE_DELTA = -0x8000
MAX_LARGE_DELTA = 0x7FFF
"""Bounds of a two-byte delta, some 8.2 s; a longer pause needs a new feedback packet."""

_MAX_SMALL_DELTA = 0xFF
_MAX_RUN = 0x1FFF
_ONE_BIT_VECTOR = 0x8000
_TWO_BIT_VECTOR = 0xC000
_ONE_BIT_SYMBOLS = 14
_TWO_BIT_SYMBOLS = 7

_SMALL = struct.Struct("!B")
_LARGE = struct.Struct("!h")
_CHUNK = struct.Struct("!H")


class FeedbackChunkError(ValueError):
    """Chunks or deltas that are cut off, reserved or out of range."""


def encode_arrivals(arrivals: Sequence[int | None]) -> bytes:
    """Return the chunks and deltas of `arrivals`; raise `FeedbackChunkError` for a delta beyond 16 bits."""
    symbols: list[int] = []
    deltas = bytearray()
    for arrival in arrivals:
        if arrival is None:
            symbols.append(NOT_RECEIVED)
        elif 0 <= arrival <= _MAX_SMALL_DELTA:
            symbols.append(SMALL_DELTA)
            deltas += _SMALL.pack(arrival)
        elif MIN_LARGE_DELTA <= arrival <= MAX_LARGE_DELTA:
            symbols.append(LARGE_DELTA)
            deltas += _LARGE.pack(arrival)
        else:
            raise FeedbackChunkError(f"arrival delta {arrival} is beyond 16 bits of 250 us")
    return _encode_symbols(symbols) + bytes(deltas)


def _encode_symbols(symbols: Sequence[int]) -> bytes:
    chunks = bytearray()
    position = 0
    total = len(symbols)
    while position < total:
        symbol = symbols[position]
        run = 1
        while position + run < total and run < _MAX_RUN and symbols[position + run] == symbol:
            run += 1
        window = symbols[position : position + _ONE_BIT_SYMBOLS]
        one_bit = LARGE_DELTA not in window
        if position + run == total or run >= (_ONE_BIT_SYMBOLS if one_bit else _TWO_BIT_SYMBOLS):
            chunks += _CHUNK.pack(symbol << 13 | run)
            position += run
        elif one_bit:
            chunks += _CHUNK.pack(_ONE_BIT_VECTOR | _pack_symbols(window, 1, _ONE_BIT_SYMBOLS))
            position += len(window)
        else:
            window = window[:_TWO_BIT_SYMBOLS]
            chunks += _CHUNK.pack(_TWO_BIT_VECTOR | _pack_symbols(window, 2, _TWO_BIT_SYMBOLS))
            position += len(window)
    return bytes(chunks)


def _pack_symbols(symbols: Sequence[int], bits: int, capacity: int) -> int:
    packed = 0
    for symbol in symbols:
        packed = packed << bits | symbol
    return packed << bits * (capacity - len(symbols))


def decode_arrivals(data: bytes, position: int, end: int, count: int) -> tuple[int | None, ...]:
    """Return `count` arrivals from the chunks and deltas in `data[position:end]`; raise `FeedbackChunkError`."""
    symbols: list[int] = []
    while len(symbols) < count:
        if position + 2 > end:
            raise FeedbackChunkError(f"status chunks end after {len(symbols)} of {count} packets")
        (chunk,) = _CHUNK.unpack_from(data, position)
        position += 2
        if chunk < _ONE_BIT_VECTOR:
            symbols += [chunk >> 13] * min(chunk & _MAX_RUN, count - len(symbols))
            if chunk & _MAX_RUN == 0:
                raise FeedbackChunkError("status chunk is a run of no packets")
        elif chunk < _TWO_BIT_VECTOR:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
        else:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
    del symbols[count:]
    return _decode_deltas(data, position, end, symbols)


def _decode_deltas(data: bytes, position: int, end: int, symbols: Sequence[int]) -> tuple[int | None, ...]:
    arrivals: list[int | None] = []
    for symbol in symbols:
        if symbol == NOT_RECEIVED:
            arrivals.append(None)
            continue
        if symbol not in {SMALL_DELTA, LARGE_DELTA}:
            raise FeedbackChunkError("packet status 3 is reserved")
        layout = _SMALL if symbol == SMALL_DELTA else _LARGE
        if position + layout.size > end:
            raise FeedbackChunkError(f"deltas end after {len(arrivals)} of {len(symbols)} packets")
        arrivals.append(layout.unpack_from(data, position)[0])
        position += layout.size
    return tuple(arrivals)
