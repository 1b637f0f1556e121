"""Keyframes and sizes in payloads: by hand where a bit matters, from real encoders where a whole frame does."""

from __future__ import annotations

import contextlib
import fractions
import os
import re
from typing import TYPE_CHECKING

import av
import pytest
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder, VpxPayloadDescriptor
from av.video.codeccontext import VideoCodecContext
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.codecs import is_keyframe, keyframe_size

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = [(320, 240), (322, 182), (176, 144)]
CODECS = ["VP8", "VP9", "H264", "H265", "AV1"]
TIME_BASE = fractions.Fraction(1, 90_000)


def picture(number: int, width: int, height: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, "yuv420p")
    for index, plane in enumerate(frame.planes):
        plane.update(bytes((40 * index + 7 * number) & 0xFF for _ in range(plane.buffer_size)))
    frame.pts = 3000 * number
    frame.time_base = TIME_BASE
    return frame


def encode(name: str, width: int, height: int, options: dict[str, str]) -> list[bytes]:
    """Return three encoded frames of which the first alone is a keyframe."""
    codec = av.CodecContext.create(name, "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base, codec.framerate = TIME_BASE, fractions.Fraction(30, 1)
    codec.thread_count = 1
    codec.options = options
    with kept_scheduling():
        frames = [bytes(packet) for n in range(3) for packet in codec.encode(picture(n, width, height))]
        frames += [bytes(packet) for packet in codec.encode(None)]
    assert len(frames) == 3
    return frames


@contextlib.contextmanager
def kept_scheduling() -> Iterator[None]:
    """Undo what SVT-AV1 does as root: it makes its caller a real-time thread, which nothing else then gets past."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def annex_b_units(stream: bytes) -> Iterator[bytes]:
    yield from stream.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")[1:]


@pytest.mark.parametrize("size", SIZES)
def test_vp8_of_aiortc(size: tuple[int, int]) -> None:
    encoder = Vp8Encoder()
    for number, force in enumerate([False, False, True, False]):
        payloads, _ = encoder.encode(picture(number, *size), force)
        key = number in {0, 2}
        assert is_keyframe("VP8", payloads[0]) is key
        assert keyframe_size("vp8", payloads[0]) == (size if key else None)
        assert not any(is_keyframe("VP8", payload) for payload in payloads[1:])


@pytest.mark.parametrize("picture_id", [None, 0, 1, 0x7FFF])
@pytest.mark.parametrize("tl0picidx", [None, 3])
@pytest.mark.parametrize("tid", [None, (1, 1)])
@pytest.mark.parametrize("keyidx", [None, 2])
def test_vp8_descriptors(
    picture_id: int | None, tl0picidx: int | None, tid: tuple[int, int] | None, keyidx: int | None
) -> None:
    def payload(start: int, partition: int, frame: bytes) -> bytes:
        descriptor = VpxPayloadDescriptor(
            start, partition, picture_id=picture_id, tl0picidx=tl0picidx, tid=tid, keyidx=keyidx
        )
        return bytes(descriptor) + frame

    key = bytes.fromhex("d0 01 00 9d 01 2a 40 81 f0 40")  # 320 x 240, with scaling bits set above both
    assert is_keyframe("VP8", payload(1, 0, key)) is True
    assert keyframe_size("VP8", payload(1, 0, key)) == (320, 240)
    assert is_keyframe("VP8", payload(1, 0, b"\xd1" + key[1:])) is False
    assert is_keyframe("VP8", payload(0, 0, key)) is False
    assert is_keyframe("VP8", payload(1, 1, key)) is False
    assert keyframe_size("VP8", payload(1, 0, key[:9])) is None
    assert keyframe_size("VP8", payload(1, 0, b"\xd0\x01\x00\x9d\x01\x2b" + key[6:])) is None


def test_vp8_picture_id_of_seven_bits() -> None:
    assert is_keyframe("VP8", bytes.fromhex("90 80 11 00")) is True
    assert is_keyframe("VP8", bytes.fromhex("90 80 11 01")) is False


@pytest.mark.parametrize("size", SIZES)
def test_vp9_of_libvpx(size: tuple[int, int]) -> None:
    frames = encode("libvpx-vp9", *size, {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"})
    for number, frame in enumerate(frames):
        predicted = 0x40 if number else 0
        flexible = bytes((0x80 | predicted | 0x10 | 0x08, 0x81, 0x02)) + (b"\x02" if number else b"") + frame
        plain = bytes((0x80 | predicted | 0x08, 0x11)) + frame
        assert is_keyframe("VP9", flexible) is (number == 0)
        assert is_keyframe("VP9", plain) is (number == 0)
        assert keyframe_size("VP9", plain) == (None if number else size)
        assert keyframe_size("VP9", flexible) == (None if number else size)


@pytest.mark.parametrize(
    ("payload", "key", "size"),
    [
        ("08", True, None),
        ("0c", True, None),
        ("48", False, None),  # predicted
        ("04", False, None),  # not the beginning
        ("28 00 05", True, None),  # spatial layer 0
        ("28 02 05", False, None),  # spatial layer 1 of the same keyframe
        ("b8 11 00", True, None),  # with picture id, flexible
        ("b8 91 11 02", False, None),
        # Two layers' sizes in the scalability structure, flexible and not.
        ("ba 11 00 30 0140 00b4 0280 0168", True, (640, 360)),
        ("aa 11 00 05 30 0140 00b4 0280 0168", True, (640, 360)),
        ("0a 10 0280 0168", True, (640, 360)),
        ("0a 10 0280 01", True, None),
        ("0a 10 0000 0168", True, None),
        # A structure of picture groups only, then the frame header.
        ("0a 08 02 04 01 08 01 02 82 49 83 42 00 13 f0 0e f0", True, (320, 240)),
        ("28", False, None),
        ("80", False, None),
    ],
)
def test_vp9_descriptors(payload: str, key: bool, size: tuple[int, int] | None) -> None:  # noqa: FBT001 - a column
    data = bytes.fromhex(payload.replace(" ", ""))
    assert is_keyframe("VP9", data) is key
    assert keyframe_size("VP9", data) == size


@pytest.mark.parametrize("size", SIZES)
def test_h264_of_aiortc(size: tuple[int, int]) -> None:
    encoder = H264Encoder()
    for number, force in enumerate([False, False, True, False]):
        payloads, _ = encoder.encode(picture(number, *size), force)
        key = number in {0, 2}
        assert any(is_keyframe("H264", payload) for payload in payloads) is key
        sizes = [found for payload in payloads if (found := keyframe_size("H264", payload))]
        assert sizes == ([size] if key else [])


@pytest.mark.parametrize(
    ("profile", "pixels"), [("baseline", "yuv420p"), ("main", "yuv420p"), ("high", "yuv420p"), ("high444", "yuv444p")]
)
@pytest.mark.parametrize("size", SIZES)
def test_h264_sps_of_every_profile(size: tuple[int, int], profile: str, pixels: str) -> None:
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = *size, pixels
    codec.time_base = TIME_BASE
    codec.options = {"profile": profile, "tune": "zerolatency", "threads": "1"}
    frame = picture(0, *size).reformat(format=pixels)
    units = list(annex_b_units(b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])))
    assert [keyframe_size("H264", unit) for unit in units if unit[0] & 0x1F == 7] == [size]
    idr = next(unit for unit in units if unit[0] & 0x1F == 5)
    assert is_keyframe("H264", idr) is True


def exp_golomb(code: int) -> str:
    return "0" * ((code + 1).bit_length() - 1) + f"{code + 1:b}"


@pytest.mark.parametrize("offset", [0, 1 << 24, 1 << 31])
def test_h264_sps_with_escaped_zeros(offset: int) -> None:
    """A long run of zero bits before the size has emulation prevention bytes in it."""
    picture_order = exp_golomb(1) + "0" + exp_golomb(2 * offset) + exp_golomb(0) + exp_golomb(1) + exp_golomb(3)
    size = exp_golomb(19) + exp_golomb(14)
    bits = exp_golomb(0) + exp_golomb(0) + picture_order + exp_golomb(1) + "0" + size + "11001"
    bits += "0" * (-len(bits) % 8)
    plain = bytes.fromhex("67 42 e0 1e") + int(bits, 2).to_bytes(len(bits) // 8, "big")
    escaped = re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", plain)
    assert (b"\x00\x00\x03" in escaped) == (offset > 0)
    assert keyframe_size("H264", escaped) == (320, 240)


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        ("65 88", True),
        ("67 42", True),
        ("68 ce", False),  # PPS
        ("41 9a", False),
        ("06 05", False),
        ("7c 85", True),  # FU-A, start of an IDR slice
        ("7c 05", False),
        ("7c 45", False),
        ("7c 81", False),
        ("7c", False),
        ("78 0002 6742 0002 68ce", True),
        ("78 0002 68ce 0002 6588", True),
        ("78 0002 68ce 0002 4188", False),
        ("78 0002 68ce 0009 6588", False),
        ("78 00", False),
        ("78 0000 0000 0002 6588", True),
        ("", False),
    ],
)
def test_h264_packets(payload: str, key: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_keyframe("H264", bytes.fromhex(payload.replace(" ", ""))) is key


def test_h265_of_x265() -> None:
    options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "pools=none:frame-threads=1:log-level=none"}
    frames = encode("libx265", 320, 240, options)
    for number, frame in enumerate(frames):
        units = list(annex_b_units(frame))
        assert any(is_keyframe("H265", unit) for unit in units) is (number == 0)
        aggregated = b"\x60\x01" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)
        assert is_keyframe("h265", aggregated) is (number == 0)
        slices = [unit for unit in units if unit[0] >> 1 & 0x3F < 32]
        for unit in slices:
            kind = unit[0] >> 1 & 0x3F
            assert is_keyframe("H265", b"\x62\x01" + bytes((0x80 | kind,)) + unit[2:]) is (number == 0)
            assert is_keyframe("H265", b"\x62\x01" + bytes((0x40 | kind,)) + unit[2:]) is False


@pytest.mark.parametrize(
    ("payload", "key"),
    [("", False), ("62", False), ("6201", False), ("60 01 00", False), ("60 01 0002 4401", False), ("44 01", False)],
)
def test_h265_packets(payload: str, key: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_keyframe("H265", bytes.fromhex(payload.replace(" ", ""))) is key


def test_av1_of_svt() -> None:
    frames = encode("libsvtav1", 320, 240, {"preset": "12", "svtav1-params": "pred-struct=1:lp=1"})
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
    for number, frame in enumerate(frames):
        obus = list(without_sizes(frame))
        counted = bytes((min(len(obus), 3) << 4,)) + sized(obus[:-1]) + obus[-1]
        if len(obus) <= 3:
            assert is_keyframe("AV1", counted) is (number == 0)
        assert is_keyframe("AV1", b"\x00" + sized(obus)) is (number == 0)
        assert is_keyframe("AV1", b"\x08" + sized(obus)) is True


def sized(obus: list[bytes]) -> bytes:
    return b"".join(leb128(len(obu)) + obu for obu in obus)


def leb128(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def without_sizes(temporal_unit: bytes) -> Iterator[bytes]:
    """Yield the OBUs as RTP carries them: without temporal delimiters and size fields."""
    offset = 0
    while offset < len(temporal_unit):
        head = temporal_unit[offset]
        assert head & 0x06 == 0x02, "an OBU with a size and no extension"
        offset += 1
        size = shift = 0
        while True:
            byte = temporal_unit[offset]
            offset += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if head >> 3 & 0x0F != 2:
            yield bytes((head & ~0x02,)) + temporal_unit[offset : offset + size]
        offset += size


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        ("", False),
        ("18", True),
        ("10 08", True),  # one element, a sequence header
        ("90 08", False),  # its continuation
        ("10 30", False),
        ("20 01 30 08", True),
        ("a0 01 08 08", True),  # the second after a continuation
        ("00 01 30 01 08", True),
        ("00 81 00 30 01 08", True),  # a size of two bytes
        ("00 ff ff", False),
        ("00 00 00 01 08", True),
        ("00 05 30", False),
    ],
)
def test_av1_packets(payload: str, key: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_keyframe("AV1", bytes.fromhex(payload.replace(" ", ""))) is key


@pytest.mark.parametrize("codec", ["opus", "OPUS", "PCMU", "pcma", "G722", "red"])
def test_audio_can_begin_anywhere(codec: str) -> None:
    assert is_keyframe(codec, b"\x01\x02") is True
    assert keyframe_size(codec, b"\x01\x02") is None


def test_unknown_codecs_cannot_be_told() -> None:
    assert is_keyframe("H261", b"\x01\x02") is None
    assert keyframe_size("AV1", b"\x08\x02") is None


@given(st.sampled_from(CODECS), st.binary(max_size=80))
def test_garbage_is_no_error(codec: str, payload: bytes) -> None:
    assert is_keyframe(codec, payload) in {True, False}
    assert is_keyframe(codec, memoryview(payload)) == is_keyframe(codec, payload)
    size = keyframe_size(codec, payload)
    assert size == keyframe_size(codec, memoryview(payload))
    assert size is None or (0 < size[0] <= 0x10000 and 0 < size[1] <= 0x10000)


@given(st.sampled_from([66, 77, 100, 122, 244]), st.binary(max_size=80))
def test_garbage_after_an_sps_header_is_no_error(profile: int, rest: bytes) -> None:
    size = keyframe_size("H264", bytes((0x67, profile)) + rest)
    assert size is None or min(size) > 0


@given(st.binary(max_size=30))
def test_garbage_in_a_vp9_frame_header_is_no_error(rest: bytes) -> None:
    size = keyframe_size("VP9", b"\x08\x82\x49\x83\x42" + rest)
    assert size is None or min(size) > 0
