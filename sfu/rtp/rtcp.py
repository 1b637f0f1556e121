"""RTCP packets as values (RFC 3550 section 6, RFC 4585, RFC 5104, REMB, transport-wide feedback).

Each class is one packet; `parse_rtcp` reads a compound, `encode_compound` writes one. Field widths are the RFCs': a
value that does not fit its field raises `RtcpError` or `struct.error` when encoded; only our own code can put it there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .feedback_chunks import FeedbackChunkError, decode_arrivals, encode_arrivals
from .ntp import from_ntp, middle_32, to_ntp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    _Parser = Callable[[bytes, int, int, int], "RtcpPacket | None"]

__all__ = [
    "FullIntraRequest",
    "Goodbye",
    "Nack",
    "PictureLossIndication",
    "ReceiverReport",
    "Remb",
    "ReportBlock",
    "RtcpError",
    "RtcpPacket",
    "SenderReport",
    "SourceDescription",
    "TransportFeedback",
    "encode_compound",
    "from_ntp",
    "middle_32",
    "parse_rtcp",
    "to_ntp",
]

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203
TRANSPORT_LAYER_FEEDBACK = 205
PAYLOAD_SPECIFIC_FEEDBACK = 206

FORMAT_NACK = 1
FORMAT_TRANSPORT_CC = 15
FORMAT_PLI = 1
FORMAT_FIR = 4
FORMAT_APPLICATION = 15

MAX_COMPOUND_PACKETS = 128
"""Packets in one datagram. A browser with sixteen tracks sends some forty; more is meant to cost time."""
MAX_NACKED_PACKETS = 1024
"""Packets asked for in one NACK: more than the packets of the largest keyframe."""
MAX_FEEDBACK_STATUSES = 8192
"""Packets reported in one transport-wide feedback: 100 ms at 80,000 packets a second."""
MAX_COUNT = 31
"""Reports, chunks or sources in one packet: the header's count has five bits."""

_CNAME_ITEM = 1
_REMB_IDENTIFIER = b"REMB"
_REMB_MANTISSA_BITS = 18
_REMB_MAX_EXPONENT = 63

_HEADER = struct.Struct("!BBH")
_SSRC = struct.Struct("!I")
_SSRC_PAIR = struct.Struct("!II")
_SENDER_INFO = struct.Struct("!IQIII")
_REPORT_START = struct.Struct("!IB")
_REPORT_REST = struct.Struct("!IIII")
_NACK_ENTRY = struct.Struct("!HH")
_FIR_ENTRY = struct.Struct("!IB3x")
_TRANSPORT_CC = struct.Struct("!IIHHI")
_REPORT_BLOCK_BYTES = 24


class RtcpError(ValueError):
    """Bytes that are no RTCP, or values that fit no packet; the text says what and where."""


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    if count > MAX_COUNT:
        raise RtcpError(f"RTCP packet {packet_type} with {count} entries, it holds at most {MAX_COUNT}")
    body += bytes(-len(body) % 4)
    return _HEADER.pack(0x80 | count, packet_type, len(body) >> 2) + body


def _feedback(packet_type: int, feedback_format: int, sender_ssrc: int, media_ssrc: int, body: bytes = b"") -> bytes:
    return _packet(packet_type, feedback_format, _SSRC_PAIR.pack(sender_ssrc, media_ssrc) + body)


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says about one source (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    """Of the packets since the last report, in 1/256."""
    packets_lost: int
    """Since the beginning; signed 24 bits, negative with duplicates."""
    highest_sequence: int
    """Extended highest sequence number, 32 bits."""
    jitter: int
    """In ticks of the media clock."""
    last_sr: int
    """Middle 32 bits of the last sender report's NTP time, 0 before the first."""
    delay_since_last_sr: int
    """In 1/65536 s."""

    def encode(self) -> bytes:
        """Return the block's 24 bytes."""
        if not -0x800000 <= self.packets_lost <= 0x7FFFFF:
            raise RtcpError(f"packets_lost {self.packets_lost} is beyond its signed 24 bits")
        return (
            _REPORT_START.pack(self.ssrc, self.fraction_lost)
            + self.packets_lost.to_bytes(3, "big", signed=True)
            + _REPORT_REST.pack(self.highest_sequence, self.jitter, self.last_sr, self.delay_since_last_sr)
        )


@dataclass(frozen=True, slots=True)
class SenderReport:
    """A sender's clock and counts (RFC 3550 section 6.4.1)."""

    ssrc: int
    ntp_time: int
    """64 bits: seconds since 1900 and their 32-bit fraction."""
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...] = ()

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        info = _SENDER_INFO.pack(self.ssrc, self.ntp_time, self.rtp_timestamp, self.packet_count, self.octet_count)
        blocks = b"".join(report.encode() for report in self.reports)
        return _packet(SENDER_REPORT, len(self.reports), info + blocks)


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """What a receiver says about the sources it hears (RFC 3550 section 6.4.2)."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        blocks = b"".join(report.encode() for report in self.reports)
        return _packet(RECEIVER_REPORT, len(self.reports), _SSRC.pack(self.ssrc) + blocks)


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """The CNAMEs of sources (RFC 3550 section 6.5); other items are not kept."""

    chunks: tuple[tuple[int, str], ...]
    """SSRC and CNAME of each source; the CNAME is empty where none was given."""

    def encode(self) -> bytes:
        """Return the packet's bytes; raise `RtcpError` for a CNAME of more than 255 bytes in UTF-8."""
        body = b""
        for ssrc, cname in self.chunks:
            text = cname.encode()
            if len(text) > 255:
                raise RtcpError(f"CNAME has {len(text)} bytes, at most 255 fit")
            chunk = _SSRC.pack(ssrc) + bytes((_CNAME_ITEM, len(text))) + text
            body += chunk + bytes(4 - len(chunk) % 4)  # the item list ends with one null byte at least
        return _packet(SOURCE_DESCRIPTION, len(self.chunks), body)


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Sources that stop sending (RFC 3550 section 6.6); the reason is not kept."""

    sources: tuple[int, ...]

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        return _packet(GOODBYE, len(self.sources), b"".join(map(_SSRC.pack, self.sources)))


@dataclass(frozen=True, slots=True)
class Nack:
    """A request to send packets again (RFC 4585 section 6.2.1)."""

    sender_ssrc: int
    media_ssrc: int
    lost: tuple[int, ...]
    """16-bit sequence numbers; given in sending order they take the least bytes."""

    def encode(self) -> bytes:
        """Return the packet's bytes; each number is in it once."""
        if len(self.lost) > MAX_NACKED_PACKETS:
            raise RtcpError(f"NACK of {len(self.lost)} packets, at most {MAX_NACKED_PACKETS} are allowed")
        entries: list[tuple[int, int]] = []
        first = bits = 0
        for sequence_number in self.lost:
            distance = (sequence_number - first - 1) & 0xFFFF
            if entries and distance < 16:
                bits |= 1 << distance
                entries[-1] = (first, bits)
            elif not entries or sequence_number != first:
                first, bits = sequence_number, 0
                entries.append((first, 0))
        body = b"".join(_NACK_ENTRY.pack(*entry) for entry in entries)
        return _feedback(TRANSPORT_LAYER_FEEDBACK, FORMAT_NACK, self.sender_ssrc, self.media_ssrc, body)


@dataclass(frozen=True, slots=True)
class PictureLossIndication:
    """A request for a keyframe (RFC 4585 section 6.3.1)."""

    sender_ssrc: int
    media_ssrc: int

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        return _feedback(PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_PLI, self.sender_ssrc, self.media_ssrc)


@dataclass(frozen=True, slots=True)
class FullIntraRequest:
    """A request for keyframes, numbered so that a repeated one is known (RFC 5104 section 4.3.1)."""

    sender_ssrc: int
    entries: tuple[tuple[int, int], ...]
    """SSRC asked and 8-bit command number."""

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        body = b"".join(_FIR_ENTRY.pack(ssrc, number) for ssrc, number in self.entries)
        return _feedback(PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_FIR, self.sender_ssrc, 0, body)


@dataclass(frozen=True, slots=True)
class Remb:
    """A receiver's estimate of the bandwidth there is (draft-alvestrand-rmcat-remb-03)."""

    sender_ssrc: int
    bitrate: int
    """In bit/s; the packet keeps the 18 leading bits and drops the rest."""
    ssrcs: tuple[int, ...]

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        exponent = max(0, self.bitrate.bit_length() - _REMB_MANTISSA_BITS)
        if self.bitrate < 0 or exponent > _REMB_MAX_EXPONENT or len(self.ssrcs) > 255:
            raise RtcpError(f"REMB of {self.bitrate} bit/s for {len(self.ssrcs)} sources fits no packet")
        estimate = len(self.ssrcs) << 24 | exponent << _REMB_MANTISSA_BITS | self.bitrate >> exponent
        body = _REMB_IDENTIFIER + _SSRC.pack(estimate) + b"".join(map(_SSRC.pack, self.ssrcs))
        return _feedback(PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_APPLICATION, self.sender_ssrc, 0, body)


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """When packets arrived, by transport-wide number (draft-holmer-rmcat-transport-wide-cc-extensions-01)."""

    sender_ssrc: int
    media_ssrc: int
    base_sequence: int
    """Transport-wide number of the first arrival, 16 bits."""
    reference_time: int
    """In units of 64 ms, modulo 2**24."""
    feedback_count: int
    """Number of this feedback packet, 8 bits."""
    arrivals: tuple[int | None, ...]
    """Units of 250 us since the packet received before (the first: since the reference time), None if lost."""

    def encode(self) -> bytes:
        """Return the packet's bytes; raise `RtcpError` for a delta or number of arrivals beyond 16 bits."""
        if not 0 < len(self.arrivals) <= MAX_FEEDBACK_STATUSES:
            raise RtcpError(f"feedback on {len(self.arrivals)} packets, it holds 1 to {MAX_FEEDBACK_STATUSES}")
        head = _TRANSPORT_CC.pack(
            self.sender_ssrc,
            self.media_ssrc,
            self.base_sequence,
            len(self.arrivals),
            (self.reference_time & 0xFFFFFF) << 8 | self.feedback_count,
        )
        try:
            arrivals = encode_arrivals(self.arrivals)
        except FeedbackChunkError as error:
            raise RtcpError(f"feedback: {error}") from error
        return _packet(TRANSPORT_LAYER_FEEDBACK, FORMAT_TRANSPORT_CC, head + arrivals)


RtcpPacket = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | Goodbye
    | Nack
    | PictureLossIndication
    | FullIntraRequest
    | Remb
    | TransportFeedback
)


def encode_compound(packets: Iterable[RtcpPacket]) -> bytes:
    """Return the packets one after the other, as one datagram carries them."""
    return b"".join(packet.encode() for packet in packets)


def parse_rtcp(data: bytes) -> list[RtcpPacket]:
    """Read a compound of RTCP packets; those of unknown type or format are skipped.

    Raises `RtcpError` for one that is cut off, contradicts itself or exceeds a limit.
    """
    packets: list[RtcpPacket] = []
    position = seen = 0
    while position < len(data):
        seen += 1
        if seen > MAX_COMPOUND_PACKETS:
            raise RtcpError(f"RTCP compound has more than {MAX_COMPOUND_PACKETS} packets")
        if position + _HEADER.size > len(data):
            raise RtcpError(f"RTCP header at byte {position} is cut off at byte {len(data)}")
        first, packet_type, words = _HEADER.unpack_from(data, position)
        start = position + _HEADER.size
        position = end = start + 4 * words
        if first >> 6 != 2:
            raise RtcpError(f"RTCP version at byte {start - 4} is {first >> 6}, only 2 is known")
        if end > len(data):
            raise RtcpError(f"RTCP packet {packet_type} claims to end at byte {end} of {len(data)}")
        if first & 0x20:
            padding = data[end - 1] if words else 0
            if not 0 < padding <= end - start:
                raise RtcpError(f"RTCP packet {packet_type} has {padding} bytes of padding in {end - start}")
            end -= padding
        packet = _parse_packet(data, start, end, packet_type, first & 0x1F)
        if packet is not None:
            packets.append(packet)
    return packets


def _parse_packet(data: bytes, start: int, end: int, packet_type: int, count: int) -> RtcpPacket | None:
    parser = _PARSERS.get(packet_type)
    if parser is None:
        parser = _FEEDBACK_PARSERS.get((packet_type, count))
        if parser is None:
            return None
        _require(start, end, _SSRC_PAIR.size, packet_type)
    return parser(data, start, end, count)


def _require(start: int, end: int, size: int, packet_type: int) -> None:
    if end - start < size:
        raise RtcpError(f"RTCP packet {packet_type} has {end - start} bytes of the {size} it needs")


def _parse_reports(data: bytes, start: int, count: int) -> tuple[ReportBlock, ...]:
    reports = []
    for position in range(start, start + count * _REPORT_BLOCK_BYTES, _REPORT_BLOCK_BYTES):
        ssrc, fraction_lost = _REPORT_START.unpack_from(data, position)
        packets_lost = int.from_bytes(data[position + 5 : position + 8], "big", signed=True)
        rest = _REPORT_REST.unpack_from(data, position + 8)
        reports.append(ReportBlock(ssrc, fraction_lost, packets_lost, *rest))
    return tuple(reports)


def _parse_sender_report(data: bytes, start: int, end: int, count: int) -> SenderReport:
    _require(start, end, _SENDER_INFO.size + count * _REPORT_BLOCK_BYTES, SENDER_REPORT)
    ssrc, ntp_time, rtp_timestamp, packet_count, octet_count = _SENDER_INFO.unpack_from(data, start)
    reports = _parse_reports(data, start + _SENDER_INFO.size, count)
    return SenderReport(ssrc, ntp_time, rtp_timestamp, packet_count, octet_count, reports)


def _parse_receiver_report(data: bytes, start: int, end: int, count: int) -> ReceiverReport:
    _require(start, end, _SSRC.size + count * _REPORT_BLOCK_BYTES, RECEIVER_REPORT)
    return ReceiverReport(_SSRC.unpack_from(data, start)[0], _parse_reports(data, start + _SSRC.size, count))


def _parse_source_description(data: bytes, start: int, end: int, count: int) -> SourceDescription:
    chunks = []
    position = start
    for _ in range(count):
        _require(position, end, _SSRC.size, SOURCE_DESCRIPTION)
        (ssrc,) = _SSRC.unpack_from(data, position)
        position += _SSRC.size
        cname = ""
        while position < end and data[position] != 0:
            _require(position, end, 2, SOURCE_DESCRIPTION)
            item, length = data[position], data[position + 1]
            position += 2
            _require(position, end, length, SOURCE_DESCRIPTION)
            if item == _CNAME_ITEM:
                cname = data[position : position + length].decode(errors="replace")
            position += length
        _require(position, end, 1, SOURCE_DESCRIPTION)
        position += 4 - (position - start) % 4
        chunks.append((ssrc, cname))
    return SourceDescription(tuple(chunks))


def _parse_goodbye(data: bytes, start: int, end: int, count: int) -> Goodbye:
    _require(start, end, count * _SSRC.size, GOODBYE)
    return Goodbye(struct.unpack_from(f"!{count}I", data, start))


def _parse_nack(data: bytes, start: int, end: int, _format: int) -> Nack:
    sender_ssrc, media_ssrc = _SSRC_PAIR.unpack_from(data, start)
    lost: list[int] = []
    for position in range(start + _SSRC_PAIR.size, end - 3, _NACK_ENTRY.size):
        first, bits = _NACK_ENTRY.unpack_from(data, position)
        lost.append(first)
        lost.extend(first + 1 + bit & 0xFFFF for bit in range(16) if bits >> bit & 1)
        if len(lost) > MAX_NACKED_PACKETS:
            raise RtcpError(f"NACK asks for more than {MAX_NACKED_PACKETS} packets")
    return Nack(sender_ssrc, media_ssrc, tuple(lost))


def _parse_pli(data: bytes, start: int, _end: int, _format: int) -> PictureLossIndication:
    return PictureLossIndication(*_SSRC_PAIR.unpack_from(data, start))


def _parse_fir(data: bytes, start: int, end: int, _format: int) -> FullIntraRequest:
    entries = tuple(
        _FIR_ENTRY.unpack_from(data, position) for position in range(start + _SSRC_PAIR.size, end - 7, _FIR_ENTRY.size)
    )
    return FullIntraRequest(_SSRC.unpack_from(data, start)[0], entries)


def _parse_application(data: bytes, start: int, end: int, _format: int) -> Remb | None:
    position = start + _SSRC_PAIR.size
    if data[position : position + 4] != _REMB_IDENTIFIER:
        return None  # application layer feedback of another kind
    _require(position, end, 8, PAYLOAD_SPECIFIC_FEEDBACK)
    (estimate,) = _SSRC.unpack_from(data, position + 4)
    count = estimate >> 24
    _require(position + 8, end, count * _SSRC.size, PAYLOAD_SPECIFIC_FEEDBACK)
    bitrate = (estimate & 0x3FFFF) << (estimate >> _REMB_MANTISSA_BITS & 0x3F)
    ssrcs = struct.unpack_from(f"!{count}I", data, position + 8)
    return Remb(_SSRC.unpack_from(data, start)[0], bitrate, ssrcs)


def _parse_transport_feedback(data: bytes, start: int, end: int, _format: int) -> TransportFeedback:
    _require(start, end, _TRANSPORT_CC.size, TRANSPORT_LAYER_FEEDBACK)
    sender_ssrc, media_ssrc, base_sequence, count, time_and_count = _TRANSPORT_CC.unpack_from(data, start)
    if not 0 < count <= MAX_FEEDBACK_STATUSES:
        raise RtcpError(f"feedback on {count} packets, it holds 1 to {MAX_FEEDBACK_STATUSES}")
    try:
        arrivals = decode_arrivals(data, start + _TRANSPORT_CC.size, end, count)
    except FeedbackChunkError as error:
        raise RtcpError(f"feedback: {error}") from error
    return TransportFeedback(
        sender_ssrc, media_ssrc, base_sequence, time_and_count >> 8, time_and_count & 0xFF, arrivals
    )


_PARSERS: dict[int, _Parser] = {
    SENDER_REPORT: _parse_sender_report,
    RECEIVER_REPORT: _parse_receiver_report,
    SOURCE_DESCRIPTION: _parse_source_description,
    GOODBYE: _parse_goodbye,
}
_FEEDBACK_PARSERS: dict[tuple[int, int], _Parser] = {
    (TRANSPORT_LAYER_FEEDBACK, FORMAT_NACK): _parse_nack,
    (TRANSPORT_LAYER_FEEDBACK, FORMAT_TRANSPORT_CC): _parse_transport_feedback,
    (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_PLI): _parse_pli,
    (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_FIR): _parse_fir,
    (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_APPLICATION): _parse_application,
}
