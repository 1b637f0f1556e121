"""RTP headers, rewriting and RTX, with aiortc's classes as the oracle."""

from __future__ import annotations

import struct

import pytest
from aiortc import rtp
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.extensions import encode_extensions, find_extension
from sfu.rtp.packet import (
    RtpError,
    build_packet,
    is_rtcp,
    looks_like_rtp_or_rtcp,
    parse_header,
    rewrite_header,
    rewrite_header_and_value,
    unwrap_rtx,
    wrap_rtx,
)

UINT16 = st.integers(0, 0xFFFF)
UINT32 = st.integers(0, 0xFFFFFFFF)
PAYLOAD_TYPE = st.integers(0, 127)
# Not those of RFC 8285, inside of which aiortc looks; test_extensions has them.
PROFILES = (0, 1, 0x9000, 0xFFFF)


@st.composite
def packets(draw: st.DrawFn, *, min_payload: int = 0) -> bytes:
    """Any valid packet: CSRCs, extension of any profile, payload, padding."""
    csrcs = draw(st.lists(UINT32, max_size=15))
    extension = b""
    if draw(st.booleans()):
        body = draw(st.binary(max_size=40))
        body += bytes(-len(body) % 4)
        extension = struct.pack("!HH", draw(st.sampled_from(PROFILES)), len(body) // 4) + body
    payload = draw(st.binary(min_size=min_payload, max_size=60))
    padding = draw(st.integers(0, 20))
    first = 0x80 | (0x20 if padding else 0) | (0x10 if extension else 0) | len(csrcs)
    second = draw(st.booleans()) << 7 | draw(PAYLOAD_TYPE)
    head = struct.pack("!BBHII", first, second, draw(UINT16), draw(UINT32), draw(UINT32))
    tail = bytes(padding - 1) + bytes((padding,)) if padding else b""
    return head + b"".join(struct.pack("!I", csrc) for csrc in csrcs) + extension + payload + tail


@given(packets())
def test_header_says_what_aiortc_says(data: bytes) -> None:
    header = parse_header(data)
    oracle = rtp.RtpPacket.parse(data)
    assert header.marker == bool(oracle.marker)
    assert header.payload_type == oracle.payload_type
    assert header.sequence_number == oracle.sequence_number
    assert header.timestamp == oracle.timestamp
    assert header.ssrc == oracle.ssrc
    assert header.padding == oracle.padding_size
    assert data[header.payload_offset : header.payload_end(len(data))] == oracle.payload
    if data[0] & 0x10:
        assert struct.unpack_from("!H", data, header.extensions_offset - 4) == (header.extension_profile,)
        assert header.extensions_offset + header.extensions_length == header.payload_offset
    else:
        assert (header.extension_profile, header.extensions_offset, header.extensions_length) == (0, 0, 0)


@given(packets(), st.data())
def test_every_cut_is_refused_or_parses(data: bytes, choice: st.DataObject) -> None:
    cut = data[: choice.draw(st.integers(0, len(data)))]
    try:
        header = parse_header(cut)
    except RtpError:
        return
    assert 12 <= header.payload_offset <= header.payload_end(len(cut)) <= len(cut)


@given(st.binary(max_size=80))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    try:
        header = parse_header(data)
    except RtpError:
        return
    assert header.payload_offset + header.padding <= len(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes is"),
        (bytes(11), "11 bytes"),
        (b"\x40" + bytes(20), "version is 1"),
        (b"\x81" + bytes(11), "claims 16 bytes, the packet has 12"),
        (b"\x90" + bytes(13), "extension at byte 12 is cut off"),
        (b"\x90" + bytes(11) + b"\xbe\xde\x00\x02" + bytes(4), "claims 24 bytes, the packet has 20"),
        (b"\xa0" + bytes(11), "padding of 0 bytes"),
        (b"\xa0" + bytes(11) + b"\x00", "padding of 0 bytes"),
        (b"\xa0" + bytes(11) + b"\x01\x03", "padding of 3 bytes"),
    ],
)
def test_errors_name_the_place(data: bytes, said: str) -> None:
    with pytest.raises(RtpError, match=said):
        parse_header(data)


def test_padding_may_be_all_there_is() -> None:
    header = parse_header(b"\xa0" + bytes(11) + b"\x00\x00\x03")
    assert header.padding == 3
    assert header.payload_end(15) == header.payload_offset == 12
    assert "padding=3" in repr(header)


@pytest.mark.parametrize(
    ("second", "rtcp"), [(0, False), (191, False), (192, True), (200, True), (223, True), (224, False), (255, False)]
)
def test_rtcp_is_told_by_the_second_byte(second: int, rtcp: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_rtcp(bytes((0x80, second, 0, 0))) is rtcp


def test_short_datagrams_are_neither() -> None:
    assert not is_rtcp(b"")
    assert not is_rtcp(b"\x80")
    assert not looks_like_rtp_or_rtcp(b"")


@pytest.mark.parametrize(
    ("first", "media"), [(0, False), (20, False), (127, False), (128, True), (191, True), (192, False)]
)
def test_media_is_told_by_the_first_byte(first: int, media: bool) -> None:  # noqa: FBT001 - a table's column
    assert looks_like_rtp_or_rtcp(bytes((first,))) is media


@given(PAYLOAD_TYPE, UINT16, UINT32, UINT32, st.booleans(), st.binary(max_size=50), st.booleans())
def test_built_packets_parse(
    payload_type: int,
    sequence_number: int,
    timestamp: int,
    ssrc: int,
    marker: bool,  # noqa: FBT001 - hypothesis passes it by position
    payload: bytes,
    extended: bool,  # noqa: FBT001 - likewise
) -> None:
    block = encode_extensions([(3, b"abc")]) if extended else b""
    data = build_packet(
        payload_type=payload_type,
        sequence_number=sequence_number,
        timestamp=timestamp,
        ssrc=ssrc,
        marker=marker,
        extensions=block,
        payload=payload,
    )
    packet = rtp.RtpPacket.parse(data)
    assert (packet.payload_type, packet.sequence_number, packet.timestamp, packet.ssrc, bool(packet.marker)) == (
        payload_type,
        sequence_number,
        timestamp,
        ssrc,
        marker,
    )
    assert packet.payload == payload
    assert parse_header(data).extensions_length == (4 if extended else 0)


@pytest.mark.parametrize("block", [b"\xbe\xde", b"\xbe\xde\x00\x02abcd", b"\xbe\xde\x00\x00abcd"])
def test_a_block_of_another_length_is_refused(block: bytes) -> None:
    with pytest.raises(RtpError, match="does not have the length it claims"):
        build_packet(
            payload_type=0, sequence_number=0, timestamp=0, ssrc=0, marker=False, extensions=block, payload=b""
        )


@given(packets(), PAYLOAD_TYPE, UINT16, UINT32, UINT32)
def test_rewriting_changes_the_four_fields_only(data: bytes, pt: int, sequence: int, timestamp: int, ssrc: int) -> None:
    rewritten = rewrite_header(data, payload_type=pt, sequence_number=sequence, timestamp=timestamp, ssrc=ssrc)
    before, after = parse_header(data), parse_header(rewritten)
    assert (after.payload_type, after.sequence_number, after.timestamp, after.ssrc) == (pt, sequence, timestamp, ssrc)
    assert after.marker == before.marker
    assert rewritten[12:] == data[12:]
    assert rewritten[0] == data[0]


@given(packets(), PAYLOAD_TYPE, UINT16, UINT32)
def test_rtx_round_trip(data: bytes, rtx_type: int, rtx_sequence: int, rtx_ssrc: int) -> None:
    header = parse_header(data)
    wrapped = wrap_rtx(data, header, payload_type=rtx_type, sequence_number=rtx_sequence, ssrc=rtx_ssrc)
    rtx = parse_header(wrapped)
    assert (rtx.payload_type, rtx.sequence_number, rtx.ssrc) == (rtx_type, rtx_sequence, rtx_ssrc)
    assert (rtx.marker, rtx.timestamp, rtx.padding) == (header.marker, header.timestamp, 0)
    restored = unwrap_rtx(wrapped, rtx, payload_type=header.payload_type, ssrc=header.ssrc)
    assert restored is not None
    without_padding = data[: len(data) - header.padding]
    assert restored == bytes((data[0] & ~0x20,)) + without_padding[1:]


@given(packets(), UINT16)
def test_rtx_is_what_aiortc_makes_of_it(data: bytes, rtx_sequence: int) -> None:
    wrapped = wrap_rtx(data, parse_header(data), payload_type=97, sequence_number=rtx_sequence, ssrc=7)
    original = rtp.RtpPacket.parse(data)
    restored = rtp.unwrap_rtx(rtp.RtpPacket.parse(wrapped), original.payload_type, original.ssrc)
    assert restored.sequence_number == original.sequence_number
    assert restored.payload == original.payload
    theirs = rtp.wrap_rtx(original, 97, rtx_sequence, 7)
    assert rtp.RtpPacket.parse(wrapped).payload == theirs.payload


def test_rtx_of_a_rewritten_packet_names_the_rewritten_number() -> None:
    data = build_packet(
        payload_type=96, sequence_number=65535, timestamp=1, ssrc=1, marker=True, extensions=b"", payload=b"x"
    )
    header = parse_header(data)
    outgoing = rewrite_header(data, payload_type=100, sequence_number=4242, timestamp=9, ssrc=2)
    wrapped = wrap_rtx(outgoing, header, payload_type=101, sequence_number=1, ssrc=3)
    assert wrapped[12:] == struct.pack("!H", 4242) + b"x"


def test_padding_on_rtx_is_a_probe() -> None:
    probe = b"\xa0" + bytes(11) + bytes(9) + b"\x0a"
    assert unwrap_rtx(probe, parse_header(probe), payload_type=96, ssrc=1) is None
    bare = b"\x80" + bytes(11)
    assert unwrap_rtx(bare, parse_header(bare), payload_type=96, ssrc=1) is None


def test_rtx_with_half_a_number_is_refused() -> None:
    data = b"\x80" + bytes(12)
    with pytest.raises(RtpError, match="too short for the original sequence number"):
        unwrap_rtx(data, parse_header(data), payload_type=96, ssrc=1)


def test_header_and_an_extension_are_rewritten_in_one_copy() -> None:
    extensions = encode_extensions([(2, b"abc"), (3, b"\x01\x02")])
    data = build_packet(
        payload_type=96, sequence_number=1, timestamp=2, ssrc=3, marker=True, extensions=extensions, payload=b"picture"
    )
    found = find_extension(data, parse_header(data), 2)
    assert found is not None
    rewritten = rewrite_header_and_value(data, 97, 10, 20, 30, found[0], b"xyz")
    expected = build_packet(
        payload_type=97,
        sequence_number=10,
        timestamp=20,
        ssrc=30,
        marker=True,
        extensions=encode_extensions([(2, b"xyz"), (3, b"\x01\x02")]),
        payload=b"picture",
    )
    assert rewritten == expected
