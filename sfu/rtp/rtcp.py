"""RTCP compounds: reading them, writing them (RFC 3550 section 6.1, RFC 4585). The packets are in `rtcp_packets`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .feedback_chunks import FeedbackChunkError, decode_arrivals
from .ntp import from_ntp, middle_32, to_ntp
from .rtcp_packets import (
    BLOCK_DELAY_SINCE_REFERENCE_TIME,
    BLOCK_REFERENCE_TIME,
    CNAME_ITEM,
    DELAY_SINCE_REFERENCE_TIME,
    EXTENDED_BLOCK,
    EXTENDED_REPORT,
    FIR_ENTRY,
    FORMAT_APPLICATION,
    FORMAT_FIR,
    FORMAT_NACK,
    FORMAT_PLI,
    FORMAT_TRANSPORT_CC,
    GOODBYE,
    HEADER,
    MAX_FEEDBACK_STATUSES,
    MAX_NACKED_PACKETS,
    NACK_ENTRY,
    PAYLOAD_SPECIFIC_FEEDBACK,
    RECEIVER_REPORT,
    REFERENCE_TIME,
    REMB_IDENTIFIER,
    REMB_MANTISSA_BITS,
    REPORT_BLOCK_BYTES,
    REPORT_REST,
    REPORT_START,
    SENDER_INFO,
    SENDER_REPORT,
    SOURCE_DESCRIPTION,
    SSRC,
    SSRC_PAIR,
    TRANSPORT_CC,
    TRANSPORT_LAYER_FEEDBACK,
    DelaySinceReferenceTime,
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    ReferenceTime,
    Remb,
    ReportBlock,
    RtcpError,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    TransportFeedback,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    _Parser = Callable[[bytes, int, int, int], "RtcpPacket | None"]

__all__ = [
    "DelaySinceReferenceTime",
    "FullIntraRequest",
    "Goodbye",
    "Nack",
    "PictureLossIndication",
    "ReceiverReport",
    "ReferenceTime",
    "Remb",
    "ReportBlock",
    "RtcpError",
    "RtcpPacket",
    "SenderReport",
    "SourceDescription",
    "TransportFeedback",
    "encode_compound",
    "encode_datagrams",
    "from_ntp",
    "middle_32",
    "parse_rtcp",
    "to_ntp",
]

MAX_COMPOUND_PACKETS = 128
"""Packets in one datagram. A browser with sixteen tracks sends some forty; more is meant to cost time."""
MAX_DATAGRAM_BYTES = 1150
"""Of one RTCP compound that we send: with SRTCP's index and tag and UDP over IPv6 it is below 1,280, which every path
carries."""


def encode_compound(packets: Iterable[RtcpPacket]) -> bytes:
    """Return the packets one after the other, as one datagram carries them."""
    return b"".join(packet.encode() for packet in packets)


def encode_datagrams(packets: Iterable[RtcpPacket], max_bytes: int = MAX_DATAGRAM_BYTES) -> list[bytes]:
    """Return the packets in order, in as few datagrams of `max_bytes` as they fit; one that is longer has its own.

    The datagrams are reduced-size RTCP (RFC 5506): the later ones need not begin with a report.
    """
    datagrams: list[bytes] = []
    for packet in packets:
        data = packet.encode()
        if datagrams and len(datagrams[-1]) + len(data) <= max_bytes:
            datagrams[-1] += data
        else:
            datagrams.append(data)
    return datagrams


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
        if position + HEADER.size > len(data):
            raise RtcpError(f"RTCP header at byte {position} is cut off at byte {len(data)}")
        first, packet_type, words = HEADER.unpack_from(data, position)
        start = position + HEADER.size
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
        _require(start, end, SSRC_PAIR.size, packet_type)
    return parser(data, start, end, count)


def _require(start: int, end: int, size: int, packet_type: int) -> None:
    if end - start < size:
        raise RtcpError(f"RTCP packet {packet_type} has {end - start} bytes of the {size} it needs")


def _parse_reports(data: bytes, start: int, count: int) -> tuple[ReportBlock, ...]:
    reports = []
    for position in range(start, start + count * REPORT_BLOCK_BYTES, REPORT_BLOCK_BYTES):
        ssrc, fraction_lost = REPORT_START.unpack_from(data, position)
        packets_lost = int.from_bytes(data[position + 5 : position + 8], "big", signed=True)
        rest = REPORT_REST.unpack_from(data, position + 8)
        reports.append(ReportBlock(ssrc, fraction_lost, packets_lost, *rest))
    return tuple(reports)


def _parse_sender_report(data: bytes, start: int, end: int, count: int) -> SenderReport:
    _require(start, end, SENDER_INFO.size + count * REPORT_BLOCK_BYTES, SENDER_REPORT)
    ssrc, ntp_time, rtp_timestamp, packet_count, octet_count = SENDER_INFO.unpack_from(data, start)
    reports = _parse_reports(data, start + SENDER_INFO.size, count)
    return SenderReport(ssrc, ntp_time, rtp_timestamp, packet_count, octet_count, reports)


def _parse_receiver_report(data: bytes, start: int, end: int, count: int) -> ReceiverReport:
    _require(start, end, SSRC.size + count * REPORT_BLOCK_BYTES, RECEIVER_REPORT)
    return ReceiverReport(SSRC.unpack_from(data, start)[0], _parse_reports(data, start + SSRC.size, count))


def _parse_source_description(data: bytes, start: int, end: int, count: int) -> SourceDescription:
    chunks = []
    position = start
    for _ in range(count):
        _require(position, end, SSRC.size, SOURCE_DESCRIPTION)
        (ssrc,) = SSRC.unpack_from(data, position)
        position += SSRC.size
        cname = ""
        while position < end and data[position] != 0:
            _require(position, end, 2, SOURCE_DESCRIPTION)
            item, length = data[position], data[position + 1]
            position += 2
            _require(position, end, length, SOURCE_DESCRIPTION)
            if item == CNAME_ITEM:
                cname = data[position : position + length].decode(errors="replace")
            position += length
        _require(position, end, 1, SOURCE_DESCRIPTION)
        position += 4 - (position - start) % 4
        chunks.append((ssrc, cname))
    return SourceDescription(tuple(chunks))


def _parse_goodbye(data: bytes, start: int, end: int, count: int) -> Goodbye:
    _require(start, end, count * SSRC.size, GOODBYE)
    return Goodbye(struct.unpack_from(f"!{count}I", data, start))


def _parse_nack(data: bytes, start: int, end: int, _format: int) -> Nack:
    sender_ssrc, media_ssrc = SSRC_PAIR.unpack_from(data, start)
    lost: list[int] = []
    for position in range(start + SSRC_PAIR.size, end - 3, NACK_ENTRY.size):
        first, bits = NACK_ENTRY.unpack_from(data, position)
        lost.append(first)
        lost.extend(first + 1 + bit & 0xFFFF for bit in range(16) if bits >> bit & 1)
        if len(lost) > MAX_NACKED_PACKETS:
            raise RtcpError(f"NACK asks for more than {MAX_NACKED_PACKETS} packets")
    return Nack(sender_ssrc, media_ssrc, tuple(lost))


def _parse_pli(data: bytes, start: int, _end: int, _format: int) -> PictureLossIndication:
    return PictureLossIndication(*SSRC_PAIR.unpack_from(data, start))


def _parse_fir(data: bytes, start: int, end: int, _format: int) -> FullIntraRequest:
    entries = tuple(
        FIR_ENTRY.unpack_from(data, position) for position in range(start + SSRC_PAIR.size, end - 7, FIR_ENTRY.size)
    )
    return FullIntraRequest(SSRC.unpack_from(data, start)[0], entries)


def _parse_application(data: bytes, start: int, end: int, _format: int) -> Remb | None:
    position = start + SSRC_PAIR.size
    if data[position : position + 4] != REMB_IDENTIFIER:
        return None  # application layer feedback of another kind
    _require(position, end, 8, PAYLOAD_SPECIFIC_FEEDBACK)
    (estimate,) = SSRC.unpack_from(data, position + 4)
    count = estimate >> 24
    _require(position + 8, end, count * SSRC.size, PAYLOAD_SPECIFIC_FEEDBACK)
    bitrate = (estimate & 0x3FFFF) << (estimate >> REMB_MANTISSA_BITS & 0x3F)
    ssrcs = struct.unpack_from(f"!{count}I", data, position + 8)
    return Remb(SSRC.unpack_from(data, start)[0], bitrate, ssrcs)


def _parse_transport_feedback(data: bytes, start: int, end: int, _format: int) -> TransportFeedback:
    _require(start, end, TRANSPORT_CC.size, TRANSPORT_LAYER_FEEDBACK)
    sender_ssrc, media_ssrc, base_sequence, count, time_and_count = TRANSPORT_CC.unpack_from(data, start)
    if not 0 < count <= MAX_FEEDBACK_STATUSES:
        raise RtcpError(f"feedback on {count} packets, it holds 1 to {MAX_FEEDBACK_STATUSES}")
    try:
        arrivals = decode_arrivals(data, start + TRANSPORT_CC.size, end, count)
    except FeedbackChunkError as error:
        raise RtcpError(f"feedback: {error}") from error
    return TransportFeedback(
        sender_ssrc, media_ssrc, base_sequence, time_and_count >> 8, time_and_count & 0xFF, arrivals
    )


def _parse_extended_report(data: bytes, start: int, end: int, _count: int) -> RtcpPacket | None:
    """Return the first block that is about round trips; senders put one into a report, and others tell us nothing."""
    _require(start, end, SSRC.size, EXTENDED_REPORT)
    (ssrc,) = SSRC.unpack_from(data, start)
    position = start + SSRC.size
    while position < end:
        _require(position, end, EXTENDED_BLOCK.size, EXTENDED_REPORT)
        block, words = EXTENDED_BLOCK.unpack_from(data, position)
        position += EXTENDED_BLOCK.size
        _require(position, end, 4 * words, EXTENDED_REPORT)
        if block == BLOCK_REFERENCE_TIME:
            _require(0, 4 * words, REFERENCE_TIME.size, EXTENDED_REPORT)
            return ReferenceTime(ssrc, *REFERENCE_TIME.unpack_from(data, position))
        if block == BLOCK_DELAY_SINCE_REFERENCE_TIME and words:
            _require(0, 4 * words, DELAY_SINCE_REFERENCE_TIME.size, EXTENDED_REPORT)
            return DelaySinceReferenceTime(ssrc, *DELAY_SINCE_REFERENCE_TIME.unpack_from(data, position))
        position += 4 * words
    return None


_PARSERS: dict[int, _Parser] = {
    SENDER_REPORT: _parse_sender_report,
    RECEIVER_REPORT: _parse_receiver_report,
    SOURCE_DESCRIPTION: _parse_source_description,
    GOODBYE: _parse_goodbye,
    EXTENDED_REPORT: _parse_extended_report,
}
_FEEDBACK_PARSERS: dict[tuple[int, int], _Parser] = {
    (TRANSPORT_LAYER_FEEDBACK, FORMAT_NACK): _parse_nack,
    (TRANSPORT_LAYER_FEEDBACK, FORMAT_TRANSPORT_CC): _parse_transport_feedback,
    (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_PLI): _parse_pli,
    (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_FIR): _parse_fir,
    (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_APPLICATION): _parse_application,
}
