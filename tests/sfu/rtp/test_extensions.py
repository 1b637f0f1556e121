"""Header extensions in both forms, with aiortc's packer as the oracle."""

from __future__ import annotations

import struct

import pytest
from aiortc import rtp
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.extensions import (
    MAX_EXTENSIONS,
    abs_send_time,
    decode_abs_send_time,
    encode_extensions,
    find_extension,
    iterate_extensions,
    replace_extensions,
)
from sfu.rtp.packet import RtpError, build_packet, parse_header

VALUES = st.lists(
    st.tuples(st.integers(1, 255), st.binary(max_size=255)), max_size=12, unique_by=lambda element: element[0]
)
SMALL_VALUES = st.lists(
    st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16)), max_size=14, unique_by=lambda element: element[0]
)


def packet_with(block: bytes, payload: bytes = b"payload") -> bytes:
    return build_packet(
        payload_type=96, sequence_number=1, timestamp=2, ssrc=3, marker=False, extensions=block, payload=payload
    )


def read(data: bytes) -> list[tuple[int, bytes]]:
    return [(n, data[offset : offset + size]) for n, offset, size in iterate_extensions(data, parse_header(data))]


@given(st.one_of(VALUES, SMALL_VALUES))
def test_round_trip(values: list[tuple[int, bytes]]) -> None:
    block = encode_extensions(values)
    data = packet_with(block)
    assert read(data) == values
    header = parse_header(data)
    for extension_id, value in values:
        found = find_extension(data, header, extension_id)
        assert found is not None
        assert data[found[0] : found[0] + found[1]] == value


@given(st.one_of(VALUES, SMALL_VALUES))
def test_encoding_is_aiortcs(values: list[tuple[int, bytes]]) -> None:
    profile, body = rtp.pack_header_extensions(values)
    expected = struct.pack("!HH", profile, len(body) // 4) + body if values else b""
    assert encode_extensions(values) == expected


@given(SMALL_VALUES)
def test_small_values_take_the_one_byte_form(values: list[tuple[int, bytes]]) -> None:
    assert parse_header(packet_with(encode_extensions(values))).extension_profile == (0xBEDE if values else 0)


@pytest.mark.parametrize("value", [(15, b"a"), (1, b""), (1, bytes(17)), (255, bytes(255))])
def test_others_take_the_two_byte_form(value: tuple[int, bytes]) -> None:
    data = packet_with(encode_extensions([(2, b"b"), value]))
    assert parse_header(data).extension_profile == 0x1000
    assert read(data) == [(2, b"b"), value]


@pytest.mark.parametrize("value", [(0, b"a"), (256, b"a"), (1, bytes(256))])
def test_what_fits_no_form_is_refused(value: tuple[int, bytes]) -> None:
    with pytest.raises(RtpError, match="ids are 1 to 255"):
        encode_extensions([value])


@pytest.mark.parametrize(
    ("profile", "body", "expected"),
    [
        (0xBEDE, b"\x10a\x00\x00", [(1, b"a")]),
        (0xBEDE, b"\x00\x00\x10a", [(1, b"a")]),
        (0xBEDE, b"\x10a\x2fx", [(1, b"a")]),  # the second claims 16 bytes
        (0xBEDE, b"\x10a\xf0b\x30c\x00\x00", [(1, b"a")]),  # 15 ends it
        (0xBEDE, b"\x02abc\x10d\x00\x00", []),  # 0 with a length ends it
        (0xBEDE, b"\x10a\x00\x20", [(1, b"a")]),
        (0x1000, b"\x01\x01a\x02\x00\x00\x00\x00", [(1, b"a"), (2, b"")]),
        (0x100F, b"\x01\x01a\x00", [(1, b"a")]),  # application bits
        (0x1000, b"\x01\x01a\x02", [(1, b"a")]),  # no length
        (0x1000, b"\x01\x02a\x00", [(1, b"a\x00")]),
        (0x1000, b"\x01\x03a\x00", []),  # one byte too many
        (0xABCD, b"\x10a\x00\x00", []),  # an unknown profile
        (0xBEDE, b"", []),
    ],
)
def test_malformed_blocks_end_quietly(profile: int, body: bytes, expected: list[tuple[int, bytes]]) -> None:
    data = packet_with(struct.pack("!HH", profile, len(body) // 4) + body)
    assert read(data) == expected
    header = parse_header(data)
    for extension_id in range(1, 15):
        found = find_extension(data, header, extension_id)
        value = None if found is None else data[found[0] : found[0] + found[1]]
        assert value == dict(expected).get(extension_id)


@given(st.sampled_from([0xBEDE, 0x1000, 0x1007]), st.binary(max_size=60), st.integers(1, 255))
def test_garbage_stays_inside_the_block(profile: int, body: bytes, extension_id: int) -> None:
    body += bytes(-len(body) % 4)
    data = packet_with(struct.pack("!HH", profile, len(body) // 4) + body)
    header = parse_header(data)
    found = list(iterate_extensions(data, header))
    assert all(16 <= offset <= offset + size <= header.payload_offset for _, offset, size in found)
    first = next(((offset, size) for number, offset, size in found if number == extension_id), None)
    assert find_extension(data, header, extension_id) == first


def test_an_absurd_number_of_elements_is_cut() -> None:
    data = packet_with(struct.pack("!HH", 0x1000, 500) + b"\x01\x00" * 1000)
    assert len(read(data)) == MAX_EXTENSIONS


@pytest.mark.parametrize(("profile", "element"), [(0xBEDE, b"\x30a"), (0x1000, b"\x03\x01a")])
def test_padding_without_end_is_not_walked(profile: int, element: bytes) -> None:
    for padding, seen in ((100, True), (600, False)):
        body = bytes(padding) + element
        body += bytes(-len(body) % 4)
        data = packet_with(struct.pack("!HH", profile, len(body) // 4) + body)
        assert (read(data) == [(3, b"a")]) is seen
        assert (find_extension(data, parse_header(data), 3) is not None) is seen


@given(st.one_of(VALUES, SMALL_VALUES), st.one_of(VALUES, SMALL_VALUES), st.integers(0, 15), st.integers(0, 9))
def test_replacing(old: list[tuple[int, bytes]], new: list[tuple[int, bytes]], csrcs: int, padding: int) -> None:
    plain = packet_with(encode_extensions(old))
    data = bytes((plain[0] | csrcs | (0x20 if padding else 0),)) + plain[1:12] + bytes(range(4 * csrcs)) + plain[12:]
    data += bytes(max(padding - 1, 0)) + bytes((padding,) if padding else ())
    replaced = replace_extensions(data, parse_header(data), new)
    before, after = parse_header(data), parse_header(replaced)
    assert read(replaced) == new
    assert replaced[1 : 12 + 4 * csrcs] == data[1 : 12 + 4 * csrcs]
    assert replaced[after.payload_offset :] == data[before.payload_offset :]
    assert after.padding == padding
    assert bool(replaced[0] & 0x10) == bool(new)


@pytest.mark.parametrize(
    ("now", "expected"),
    [(0.0, 0), (0.5, 0x20000), (1.0, 0x40000), (63.999999, 0xFFFFFF), (64.0, 0), (1_000_064.25, 0x10000)],
)
def test_abs_send_time(now: float, expected: int) -> None:
    assert len(abs_send_time(now)) == 3
    assert decode_abs_send_time(abs_send_time(now)) == expected


@pytest.mark.parametrize("value", [b"", b"ab", b"abcd"])
def test_abs_send_time_has_three_bytes(value: bytes) -> None:
    with pytest.raises(RtpError, match="it has 3"):
        decode_abs_send_time(value)
