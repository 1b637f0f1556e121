"""PacketBatch: the packets that one turn of the event loop has for all subscribers of a track, prepared once. Pure."""

from __future__ import annotations

from typing import Final

from .packet import pad

MAX_SEGMENTS: Final = 64
"""Packets in one run: the kernel's UDP_MAX_SEGMENTS."""
MAX_RUN_BYTES: Final = 60_000
"""Bytes in one run: a UDP_SEGMENT send holds 65,507, encryption adds up to 16 a packet."""


MAX_PADDING_BYTES: Final = 24
"""Added to a packet to make it as long as its neighbours: 2 % of a full one. A send saved costs as much as 4 kB."""


class ForwardedPacket:
    """One RTP packet as every subscriber gets it, made once; subscribers must not change it."""

    __slots__ = (
        "arrival",
        "data",
        "keyframe",
        "marker",
        "octets",
        "payload_offset",
        "payload_type",
        "sequence",
        "timestamp",
    )

    def __init__(
        self,
        data: bytes,
        sequence: int,
        timestamp: int,
        payload_type: int,
        payload_offset: int,
        octets: int,
        arrival: float,
        *,
        marker: bool,
        keyframe: bool,
    ) -> None:
        self.data = data
        """The whole packet, not encrypted."""
        self.sequence = sequence
        """Extended; its low 16 bits are the packet's sequence number."""
        self.timestamp = timestamp
        self.payload_type = payload_type
        self.payload_offset = payload_offset
        self.octets = octets
        """Payload bytes, without padding: what sender reports count (RFC 3550 section 6.4.1)."""
        self.arrival = arrival
        """When it came, in seconds of the monotonic clock."""
        self.marker = marker
        self.keyframe = keyframe
        """Whether a decoder can begin with this packet."""


Run = list[bytes]
"""Packets of equal size, the last one possibly smaller: what one UDP_SEGMENT send can carry."""


class PacketBatch:
    """Some packets of one track, in order of arrival, and how they divide into runs.

    The division is the same for every viewer, since encryption adds as much to each packet. `octets` are the
    payload bytes of all.
    """

    __slots__ = ("octets", "packets", "runs")

    def __init__(self, packets: list[ForwardedPacket]) -> None:
        self.packets = packets
        if len(packets) == 1:
            self.runs = [[packets[0].data]]
            self.octets = packets[0].octets
        else:
            self.runs = divide([packet.data for packet in packets])
            self.octets = sum(packet.octets for packet in packets)


def level(packets: list[ForwardedPacket]) -> None:
    """Pad packets that are a few bytes shorter than their neighbours, so that they make one run with them.

    Browsers cut a frame into packets that differ by a byte or so, and such a frame would take two to four sends. RTP
    padding (RFC 3550 section 5.1) leaves the payload as it is. To be called before any packet has been sent: SRTP must
    not see one sequence number with different bytes.
    """
    start = 0
    while start < len(packets):
        smallest = largest = len(packets[start].data)
        stop = start + 1
        while stop < len(packets):
            size = len(packets[stop].data)
            if max(largest, size) - min(smallest, size) > MAX_PADDING_BYTES:
                break
            smallest, largest = min(smallest, size), max(largest, size)
            stop += 1
        if smallest < largest:
            for packet in packets[start:stop]:
                missing = largest - len(packet.data)
                if missing:
                    packet.data = pad(packet.data, missing)
        start = stop


def divide(packets: list[bytes]) -> list[Run]:
    """Cut packets into the fewest runs that keep their order."""
    runs: list[Run] = []
    run: Run = []
    size = room = 0
    for packet in packets:
        length = len(packet)
        if not run or length > size or length > room or len(run) == MAX_SEGMENTS or len(run[-1]) < size:
            run = []
            runs.append(run)
            size = length
            room = MAX_RUN_BYTES
        run.append(packet)
        room -= length
    return runs
