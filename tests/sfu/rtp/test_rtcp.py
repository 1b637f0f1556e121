"""RTCP in both directions, with aiortc's classes as the oracle, and garbage."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

import pytest
from aiortc import rtp
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.rtcp import (
    MAX_COMPOUND_PACKETS,
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
    encode_compound,
    encode_datagrams,
    from_ntp,
    middle_32,
    parse_rtcp,
    to_ntp,
)
from sfu.rtp.rtcp_packets import MAX_FEEDBACK_STATUSES, MAX_NACKED_PACKETS

if TYPE_CHECKING:
    from collections.abc import Callable

UINT8 = st.integers(0, 0xFF)
UINT16 = st.integers(0, 0xFFFF)
UINT32 = st.integers(0, 0xFFFFFFFF)
UINT64 = st.integers(0, 0xFFFFFFFFFFFFFFFF)

BLOCKS = st.builds(
    ReportBlock,
    ssrc=UINT32,
    fraction_lost=UINT8,
    packets_lost=st.integers(-0x800000, 0x7FFFFF),
    highest_sequence=UINT32,
    jitter=UINT32,
    last_sr=UINT32,
    delay_since_last_sr=UINT32,
)
REPORTS = st.lists(BLOCKS, max_size=31).map(tuple)
CNAMES = st.text(st.characters(codec="utf-8"), max_size=60)
ARRIVALS = st.lists(
    st.one_of(st.none(), st.integers(0, 255), st.integers(-0x8000, 0x7FFF)), min_size=1, max_size=200
).map(tuple)

SENDER_REPORTS = st.builds(SenderReport, UINT32, UINT64, UINT32, UINT32, UINT32, REPORTS)
RECEIVER_REPORTS = st.builds(ReceiverReport, UINT32, REPORTS)
SOURCE_DESCRIPTIONS = st.builds(SourceDescription, st.lists(st.tuples(UINT32, CNAMES), max_size=31).map(tuple))
GOODBYES = st.builds(Goodbye, st.lists(UINT32, max_size=31).map(tuple))
NACKS = st.builds(Nack, UINT32, UINT32, st.lists(UINT16, max_size=300, unique=True).map(sorted).map(tuple))
PLIS = st.builds(PictureLossIndication, UINT32, UINT32)
FIRS = st.builds(FullIntraRequest, UINT32, st.lists(st.tuples(UINT32, UINT8), max_size=20).map(tuple))
REMBS = st.builds(
    Remb,
    UINT32,
    st.builds(lambda mantissa, exponent: mantissa << exponent, st.integers(0, 0x3FFFF), st.integers(0, 40)),
    st.lists(UINT32, max_size=20).map(tuple),
)
FEEDBACKS = st.builds(TransportFeedback, UINT32, UINT32, UINT16, st.integers(0, 0xFFFFFF), UINT8, ARRIVALS)
REFERENCE_TIMES = st.builds(ReferenceTime, UINT32, UINT64)
DELAYS = st.builds(DelaySinceReferenceTime, UINT32, UINT32, UINT32, UINT32)
PACKETS = st.one_of(
    SENDER_REPORTS,
    RECEIVER_REPORTS,
    SOURCE_DESCRIPTIONS,
    GOODBYES,
    NACKS,
    PLIS,
    FIRS,
    REMBS,
    FEEDBACKS,
    REFERENCE_TIMES,
    DELAYS,
)


@pytest.mark.parametrize(
    "packets",
    [
        SENDER_REPORTS,
        RECEIVER_REPORTS,
        SOURCE_DESCRIPTIONS,
        GOODBYES,
        NACKS,
        PLIS,
        FIRS,
        REMBS,
        FEEDBACKS,
        REFERENCE_TIMES,
        DELAYS,
    ],
    ids=["sr", "rr", "sdes", "bye", "nack", "pli", "fir", "remb", "twcc", "rrtr", "dlrr"],
)
def test_round_trip(packets: st.SearchStrategy[RtcpPacket]) -> None:
    @given(packets)
    def check(packet: RtcpPacket) -> None:
        data = packet.encode()
        assert len(data) % 4 == 0
        assert parse_rtcp(data) == [packet]

    check()


@given(st.lists(PACKETS, max_size=6))
def test_compounds_round_trip(packets: list[RtcpPacket]) -> None:
    assert parse_rtcp(encode_compound(packets)) == packets


@given(st.lists(PACKETS, max_size=12), st.integers(100, 2000))
def test_datagrams_hold_all_packets_in_order_and_bounds(packets: list[RtcpPacket], max_bytes: int) -> None:
    datagrams = encode_datagrams(packets, max_bytes)
    assert b"".join(datagrams) == encode_compound(packets)
    for datagram in datagrams:
        assert len(datagram) <= max_bytes or len(parse_rtcp(datagram)) == 1
    for earlier, later in itertools.pairwise(datagrams):
        assert len(earlier) + len(parse_rtcp(later)[0].encode()) > max_bytes


@given(SENDER_REPORTS)
def test_aiortc_reads_our_sender_reports(report: SenderReport) -> None:
    (theirs,) = rtp.RtcpPacket.parse(report.encode())
    assert isinstance(theirs, rtp.RtcpSrPacket)
    assert theirs.sender_info.ntp_timestamp == report.ntp_time
    assert [vars(block) for block in theirs.reports] == [
        {
            "ssrc": block.ssrc,
            "fraction_lost": block.fraction_lost,
            "packets_lost": block.packets_lost,
            "highest_sequence": block.highest_sequence,
            "jitter": block.jitter,
            "lsr": block.last_sr,
            "dlsr": block.delay_since_last_sr,
        }
        for block in report.reports
    ]
    assert bytes(theirs) == report.encode()


@given(st.one_of(RECEIVER_REPORTS, GOODBYES, PLIS, FIRS))
def test_aiortc_writes_the_same_bytes(packet: RtcpPacket) -> None:
    assert b"".join(bytes(theirs) for theirs in rtp.RtcpPacket.parse(packet.encode())) == packet.encode()


@given(UINT32, CNAMES)
def test_aiortc_reads_one_source_description_a_packet(ssrc: int, cname: str) -> None:
    (theirs,) = rtp.RtcpPacket.parse(SourceDescription(((ssrc, cname),)).encode())
    assert isinstance(theirs, rtp.RtcpSdesPacket)
    assert [(chunk.ssrc, chunk.items) for chunk in theirs.chunks] == [(ssrc, [(1, cname.encode())])]


@given(NACKS)
def test_aiortc_reads_our_nacks(nack: Nack) -> None:
    (theirs,) = rtp.RtcpPacket.parse(nack.encode())
    assert isinstance(theirs, rtp.RtcpRtpfbPacket)
    assert tuple(theirs.lost) == nack.lost


@given(st.builds(Nack, UINT32, UINT32, st.lists(UINT16, max_size=100).map(tuple)))
def test_nacks_in_any_order_name_each_packet(nack: Nack) -> None:
    (parsed,) = parse_rtcp(nack.encode())
    assert isinstance(parsed, Nack)
    assert set(parsed.lost) == set(nack.lost)


@pytest.mark.parametrize("first", [0, 1, 65518, 65519, 65534, 65535])
def test_nacks_across_the_wrap(first: int) -> None:
    lost = tuple((first + step) & 0xFFFF for step in (0, 1, 15, 16, 17, 18, 40))
    (parsed,) = parse_rtcp(Nack(1, 2, lost).encode())
    assert parsed == Nack(1, 2, lost)
    (theirs,) = rtp.RtcpPacket.parse(Nack(1, 2, lost).encode())
    assert isinstance(theirs, rtp.RtcpRtpfbPacket)
    assert tuple(theirs.lost) == lost


def test_nack_entries_with_bits_beyond_the_wrap_are_read_modulo_16_bits() -> None:
    data = struct.pack("!BBHIIHH", 0x81, 205, 3, 1, 2, 65535, 0b101)
    assert parse_rtcp(data) == [Nack(1, 2, (65535, 0, 2))]


@given(REMBS)
def test_remb_is_aiortcs(remb: Remb) -> None:
    assert remb.encode()[12:] == rtp.pack_remb_fci(remb.bitrate, list(remb.ssrcs))
    assert rtp.unpack_remb_fci(remb.encode()[12:]) == (remb.bitrate, list(remb.ssrcs))


@given(st.integers(0, 2**81 - 1))
def test_remb_keeps_the_leading_bits(bitrate: int) -> None:
    (parsed,) = parse_rtcp(Remb(1, bitrate, (2,)).encode())
    assert isinstance(parsed, Remb)
    assert parsed.bitrate <= bitrate
    assert bitrate - parsed.bitrate <= bitrate / 2**17


def test_feedback_bytes_are_the_drafts() -> None:
    # One two-bit vector chunk (received small, lost, large, then zeros) and its deltas, padded.
    feedback = TransportFeedback(1, 2, 65535, 0x010203, 9, (4, None, -2, None, None, None, 7))
    assert feedback.encode() == bytes.fromhex(
        "8fcd0006 00000001 00000002 ffff0007 01020309 d201 04 fffe 07 0000".replace(" ", "")
    )


@pytest.mark.parametrize(
    ("arrivals", "chunks"),
    [
        ((0,) * 100, "2064"),
        ((None,) * 8192, "1fff0001"),
        ((300,) * 7 + (0,), "40072001"),
        ((0, None) * 7, "aaaa"),
        ((None,) * 13 + (1,), "8001"),
        ((1,) * 14 + (None,) * 14, "200e000e"),
        ((1, 300), "d800"),
    ],
)
def test_statuses_are_packed_into_few_chunks(arrivals: tuple[int | None, ...], chunks: str) -> None:
    data = TransportFeedback(1, 2, 3, 4, 5, arrivals).encode()
    assert data[20 : 20 + len(chunks) // 2].hex() == chunks
    (parsed,) = parse_rtcp(data)
    assert isinstance(parsed, TransportFeedback)
    assert parsed.arrivals == arrivals


def test_extended_report_bytes_are_the_rfcs() -> None:
    """RFC 3611 sections 4.4 and 4.5, after the packet's header and its sender's SSRC."""
    assert (
        ReferenceTime(0x01020304, 0x1112131421222324).encode().hex() == "80cf0004010203040400000211121314" + "21222324"
    )
    answer = DelaySinceReferenceTime(1, 2, 0x13142122, 0x8000)
    assert answer.encode().hex() == "80cf00050000000105000003" + "00000002" + "13142122" + "00008000"


def test_blocks_of_an_extended_report_that_are_not_about_round_trips_are_passed_over() -> None:
    rest = ReferenceTime(7, 9).encode()[8:]
    loss_run = bytes((1, 0, 0, 2)) + bytes(8)
    assert parse_rtcp(header(0x80, 207, bytes((0, 0, 0, 7)) + loss_run + rest)) == [ReferenceTime(7, 9)]
    assert parse_rtcp(header(0x80, 207, bytes((0, 0, 0, 7)) + loss_run)) == []


@pytest.mark.parametrize(
    "body", ["", "00000007 04000002 00000000", "00000007 04000001 00000000", "00000007 05000002 00000000 00000000"]
)
def test_an_extended_report_that_is_cut_off_is_refused(body: str) -> None:
    with pytest.raises(RtcpError, match="RTCP packet 207 has"):
        parse_rtcp(header(0x80, 207, bytes.fromhex(body)))


def test_unknown_packets_are_skipped() -> None:
    unknown = struct.pack("!BBHI", 0x80, 204, 1, 5)
    unknown_feedback = struct.pack("!BBHII", 0x87, 205, 2, 1, 2)
    other_application = struct.pack("!BBHII4s", 0x8F, 206, 3, 1, 2, b"XYZW")
    pli = PictureLossIndication(1, 2)
    data = unknown + pli.encode() + unknown_feedback + other_application + pli.encode()
    assert parse_rtcp(data) == [pli, pli]
    assert parse_rtcp(b"") == []


def test_source_descriptions_keep_the_cname_only() -> None:
    items = b"\x02\x03abc" + b"\x01\x02me" + b"\x00" * 3
    data = struct.pack("!BBHI", 0x81, 202, 1 + len(items) // 4, 7) + items
    assert parse_rtcp(data) == [SourceDescription(((7, "me"),))]


def test_goodbye_with_a_reason() -> None:
    data = struct.pack("!BBHI", 0x81, 203, 2, 7) + b"\x03bye"
    assert parse_rtcp(data) == [Goodbye((7,))]


def test_padding_is_taken_off() -> None:
    data = struct.pack("!BBHII", 0xA1, 203, 2, 7, 4)
    assert parse_rtcp(data) == [Goodbye((7,))]


def header(first: int, packet_type: int, body: bytes) -> bytes:
    return struct.pack("!BBH", first, packet_type, len(body) // 4) + body


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x80\xc8", "header at byte 0 is cut off"),
        (PictureLossIndication(1, 2).encode() + b"\x80", "header at byte 12 is cut off"),
        (header(0x40, 200, b""), "version at byte 0 is 1"),
        (b"\x80\xc8\x00\x06" + bytes(20), "claims to end at byte 28 of 24"),
        (header(0xA0, 203, b""), "0 bytes of padding"),
        (header(0xA0, 203, b"\x00\x00\x00\x05"), "5 bytes of padding"),
        (header(0x81, 200, bytes(24)), "24 bytes of the 48"),
        (header(0x81, 201, bytes(4)), "4 bytes of the 28"),
        (header(0x81, 202, b""), "0 bytes of the 4"),
        (header(0x81, 202, b"abcd\x01\x09xx"), "2 bytes of the 9"),
        (header(0x81, 202, b"abcd\x01\x02xx"), "0 bytes of the 1"),
        (header(0x82, 203, bytes(4)), "4 bytes of the 8"),
        (header(0x81, 205, bytes(4)), "4 bytes of the 8"),
        (header(0x81, 206, bytes(4)), "4 bytes of the 8"),
        (header(0x8F, 206, bytes(8) + b"REMB"), "4 bytes of the 8"),
        (header(0x8F, 206, bytes(8) + b"REMB\x02\x00\x00\x00"), "0 bytes of the 8"),
        (header(0x8F, 205, bytes(8)), "8 bytes of the 16"),
        (header(0x8F, 205, bytes(16)), "feedback on 0 packets"),
        (header(0x8F, 205, bytes(10) + b"\xff\xff" + bytes(4)), "feedback on 65535 packets"),
        (header(0x8F, 205, bytes(10) + b"\x00\x02" + bytes(4)), "end after 0 of 2"),
        (header(0x8F, 205, bytes(10) + b"\x00\x02" + bytes(4) + b"\x00\x00\x00\x00"), "run of no packets"),
        (header(0x8F, 205, bytes(10) + b"\x00\x03" + bytes(4) + b"\x20\x03\x01\x01"), "deltas end after 2 of 3"),
        (header(0x8F, 205, bytes(10) + b"\x00\x01" + bytes(4) + b"\x60\x01\x00\x00"), "status 3 is reserved"),
        (header(0x81, 205, bytes(8) + b"\x00\x00\xff\xff" * 61), "more than 1024 packets"),
        (Goodbye(()).encode() * (MAX_COMPOUND_PACKETS + 1), "more than 128 packets"),
    ],
)
def test_errors_name_what_is_wrong(data: bytes, said: str) -> None:
    with pytest.raises(RtcpError, match=said):
        parse_rtcp(data)


def test_limits_are_not_off_by_one() -> None:
    assert len(parse_rtcp(Goodbye(()).encode() * MAX_COMPOUND_PACKETS)) == MAX_COMPOUND_PACKETS
    nack = Nack(1, 2, tuple(range(MAX_NACKED_PACKETS)))
    assert parse_rtcp(nack.encode()) == [nack]


BLOCK = ReportBlock(1, 2, 3, 4, 5, 6, 7)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ReceiverReport(1, (BLOCK,) * 32).encode(), "32 entries"),
        (lambda: Goodbye((1,) * 32).encode(), "32 entries"),
        (lambda: ReportBlock(1, 2, 0x800000, 4, 5, 6, 7).encode(), "beyond its signed 24 bits"),
        (lambda: SourceDescription(((1, "x" * 256),)).encode(), "CNAME has 256 bytes"),
        (lambda: Nack(1, 2, (0,) * 1025).encode(), "NACK of 1025"),
        (lambda: Remb(1, 2**81, ()).encode(), "fits no packet"),
        (lambda: Remb(1, -1, ()).encode(), "fits no packet"),
        (lambda: TransportFeedback(1, 2, 3, 4, 5, ()).encode(), "feedback on 0 packets"),
        (lambda: TransportFeedback(1, 2, 3, 4, 5, (0,) * (MAX_FEEDBACK_STATUSES + 1)).encode(), "feedback on 8193"),
        (lambda: TransportFeedback(1, 2, 3, 4, 5, (0x8000,)).encode(), "beyond 16 bits"),
    ],
)
def test_what_fits_no_packet_is_refused(make: Callable[[], bytes], said: str) -> None:
    with pytest.raises(RtcpError, match=said):
        make()


@given(st.binary(max_size=120))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    try:
        parse_rtcp(data)
    except RtcpError:
        return


@given(st.sampled_from([200, 201, 202, 203, 205, 206]), st.integers(0x80, 0xBF), st.binary(max_size=120))
def test_garbage_behind_a_good_header_raises_nothing_else(packet_type: int, first: int, body: bytes) -> None:
    body += bytes(-len(body) % 4)
    try:
        parse_rtcp(header(first, packet_type, body))
    except RtcpError:
        return


@given(PACKETS, st.data())
def test_cuts_and_flips_raise_nothing_else(packet: RtcpPacket, choice: st.DataObject) -> None:
    data = bytearray(packet.encode())
    data[choice.draw(st.integers(0, len(data) - 1))] ^= choice.draw(st.integers(1, 255))
    del data[choice.draw(st.integers(0, len(data))) :]
    try:
        parse_rtcp(bytes(data))
    except RtcpError:
        return


@given(st.floats(0, 2_085_978_495))
def test_ntp_round_trip(unix_seconds: float) -> None:
    assert abs(from_ntp(to_ntp(unix_seconds)) - unix_seconds) < 1e-6


def test_ntp_values() -> None:
    assert to_ntp(0.0) == 2_208_988_800 << 32
    assert to_ntp(1.5) == (2_208_988_801 << 32) + 0x80000000
    assert middle_32(0x1234_5678_9ABC_DEF0) == 0x5678_9ABC
