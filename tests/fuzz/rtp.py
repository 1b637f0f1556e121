"""Fuzz RTP: header, extensions, rewriting, RTX and padding. What is read of a packet lies within it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from sfu.rtp.extensions import MAX_EXTENSIONS, encode_extensions, find_extension, iterate_extensions, replace_extensions
from sfu.rtp.packet import (
    RtpError,
    RtpHeader,
    build_packet,
    is_rtcp,
    looks_like_rtp_or_rtcp,
    pad,
    parse_header,
    rewrite_header,
    rewrite_header_and_value,
    unwrap_rtx,
    wrap_rtx,
)

from .harness import Target
from .mutators import mutate_bytes

if TYPE_CHECKING:
    from random import Random

TOKENS = (
    b"\xbe\xde\0\1",
    b"\x10\0\0\1",
    b"\x90",
    b"\xb0",
    b"\xa0",
    b"\x32abc",
    b"\xf0",
    b"\x0f",
    b"\xbe\xde\xff\xff",
    b"\0" * 4,
)


def one_input(data: bytes) -> None:
    """Read and rewrite a packet. Documented: `RtpError` for what is no RTP, and for RTX too short for its number."""
    is_rtcp(data)
    looks_like_rtp_or_rtcp(data)
    try:
        header = parse_header(data)
    except RtpError:
        return
    assert 12 <= header.payload_offset <= header.payload_end(len(data)) <= len(data)
    _check_extensions(data, header)
    _check_rewriting(data, header)
    _check_rtx(data, header)
    try:
        unwrap_rtx(data, header, payload_type=96, ssrc=1)
    except RtpError:
        assert header.payload_end(len(data)) - header.payload_offset == 1


def _check_extensions(data: bytes, header: RtpHeader) -> None:
    end = header.extensions_offset + header.extensions_length
    elements = list(iterate_extensions(data, header))
    found: dict[int, tuple[int, int]] = {}
    for number, offset, length in elements:
        assert header.extensions_offset <= offset <= offset + length <= end <= header.payload_offset
        found.setdefault(number, (offset, length))
    if len(elements) < MAX_EXTENSIONS:
        for number in (1, 3, 14):
            assert find_extension(data, header, number) == found.get(number), "both ways to look for one see the same"
    values = [(number, data[offset : offset + length]) for number, (offset, length) in found.items()]
    replaced = replace_extensions(data, header, values)
    again = parse_header(replaced)
    kept = {
        number: replaced[offset : offset + length] for number, offset, length in iterate_extensions(replaced, again)
    }
    assert kept == dict(values)
    assert replaced[again.payload_offset :] == data[header.payload_offset :]


def _check_rewriting(data: bytes, header: RtpHeader) -> None:
    changed = rewrite_header(data, payload_type=100, sequence_number=0xFFFF, timestamp=7, ssrc=9)
    again = parse_header(changed)
    assert (again.payload_type, again.sequence_number, again.timestamp, again.ssrc) == (100, 0xFFFF, 7, 9)
    assert (again.marker, again.payload_offset, again.padding) == (header.marker, header.payload_offset, header.padding)
    assert changed[12:] == data[12:]
    assert rewrite_header_and_value(data, 100, 0xFFFF, 7, 9, len(data), b"") == changed
    padded = parse_header(pad(data, 24))
    assert padded.padding in {header.padding, header.padding + 24}


def _check_rtx(data: bytes, header: RtpHeader) -> None:
    wrapped = wrap_rtx(data, header, payload_type=97, sequence_number=1, ssrc=2)
    carried = unwrap_rtx(wrapped, parse_header(wrapped), payload_type=header.payload_type, ssrc=header.ssrc)
    assert carried is not None
    original = parse_header(carried)
    assert original.padding == 0
    assert (original.sequence_number, original.timestamp, original.ssrc) == (
        *(header.sequence_number, header.timestamp, header.ssrc),
    )
    assert carried[original.payload_offset :] == data[header.payload_offset : header.payload_end(len(data))]


def mutate(rng: Random, corpus: list[bytes]) -> bytes:
    """Change bytes of a client's packet."""
    return mutate_bytes(rng, corpus, TOKENS)


packets = st.builds(
    build_packet,
    payload_type=st.sampled_from((0, 96, 97, 111)),
    sequence_number=st.sampled_from((0, 1, 0x7FFF, 0x8000, 0xFFFF)),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.sampled_from((111, 222, 333, 5)),
    marker=st.booleans(),
    extensions=st.lists(st.tuples(st.integers(1, 20), st.binary(max_size=20)), max_size=4).map(encode_extensions),
    payload=st.binary(max_size=60),
)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(packets))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


TARGET = Target("rtp", one_input, mutate, packets | _damaged())
