"""PacketHistory: the packets of one published track that a viewer may still ask for.

One for each track, shared by all its viewers (they keep a number map, see `rewriter`): what is the same for all is kept
once.
"""

from __future__ import annotations

from typing import Generic, TypeVar

PacketT = TypeVar("PacketT")

MAX_HISTORY_PACKETS = 0x10000
"""More would make a 16-bit number ambiguous."""


class PacketHistory(Generic[PacketT]):
    """Keep the last packets of a track by sequence number, in a ring.

    `max_packets` is rounded up to a power of two, at most 65536. A packet is given out for `max_age` seconds after it
    came; it is let go when a newer one takes its place, so memory is bounded by the number, not by the age.
    """

    __slots__ = ("_capacity", "_count", "_dropped", "_highest", "_mask", "_max_age", "_packets", "_sequences", "_times")

    def __init__(self, max_packets: int, max_age: float) -> None:
        if not 0 < max_packets <= MAX_HISTORY_PACKETS:
            raise ValueError(f"max_packets is {max_packets}, it must be 1 to {MAX_HISTORY_PACKETS}")
        self._capacity = 1 << (max_packets - 1).bit_length()
        self._mask = self._capacity - 1
        self._max_age = max_age
        self._sequences = [-1] * self._capacity
        self._packets: list[PacketT | None] = [None] * self._capacity
        self._times = [0.0] * self._capacity
        self._highest = -1
        self._count = 0
        self._dropped = 0

    def __len__(self) -> int:
        return self._count

    @property
    def capacity(self) -> int:
        """Packets that fit."""
        return self._capacity

    @property
    def dropped(self) -> int:
        """Packets that came too late to be kept, so far."""
        return self._dropped

    def add(self, sequence: int, packet: PacketT, now: float) -> None:
        """Keep `packet` under its extended sequence number; one older than the whole ring is dropped and counted."""
        highest = self._highest
        if sequence > highest:
            self._highest = sequence
        elif highest - sequence >= self._capacity:
            self._dropped += 1
            return
        slot = sequence & self._mask
        if self._sequences[slot] < 0:
            self._count += 1
        self._sequences[slot] = sequence
        self._packets[slot] = packet
        self._times[slot] = now

    def get(self, sequence16: int, now: float) -> PacketT | None:
        """Return the newest packet of the 16-bit number `sequence16`, or None if it is gone, too old or never came."""
        slot = sequence16 & self._mask
        sequence = self._sequences[slot]
        if (
            sequence < 0
            or sequence & 0xFFFF != sequence16
            or self._highest - sequence >= self._capacity
            or now - self._times[slot] > self._max_age
        ):
            return None
        return self._packets[slot]

    def run_from(self, sequence: int, now: float) -> list[PacketT] | None:
        """Return the packets from the extended number `sequence` up to the newest, or None where any is missing."""
        if not 0 <= self._highest - sequence < self._capacity:
            return None
        run: list[PacketT] = []
        for number in range(sequence, self._highest + 1):
            slot = number & self._mask
            packet = self._packets[slot]
            if self._sequences[slot] != number or packet is None or now - self._times[slot] > self._max_age:
                return None
            run.append(packet)
        return run
