"""What a payload says without being decoded: whether a keyframe begins in it, and how large the picture is.

Everything here reads what strangers send: it answers False or None to what it cannot make sense of and never raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .frame_size import h264_sps_size, vp8_frame_size, vp9_frame_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_UNITS_PER_PACKET = 64
"""NAL units or OBUs looked at in one packet; encoders put some five into one."""

_SIZE_PREFIX_BYTES = 16
"""Enough of a VP8 or VP9 frame for its size."""

_AUDIO_CODECS = frozenset({"opus", "multiopus", "red", "pcmu", "pcma", "g722", "l16", "cn", "telephone-event"})

_H264_IDR, _H264_SPS, _H264_STAP_A, _H264_FU_A, _H264_FU_B = 5, 7, 24, 28, 29
_H264_KEY_TYPES = frozenset({_H264_IDR, _H264_SPS})

_H265_VPS, _H265_SPS, _H265_AP, _H265_FU = 32, 33, 48, 49
# BLA, IDR and CRA pictures (16 to 21) and the parameter sets that come before them.
_H265_KEY_TYPES = frozenset({16, 17, 18, 19, 20, 21, _H265_VPS, _H265_SPS})

_AV1_SEQUENCE_HEADER = 1


def is_keyframe(codec: str, payload: bytes | memoryview) -> bool | None:
    """Tell whether a keyframe begins in an RTP payload; for H264 and H265, whether it holds a part of one.

    Audio can be decoded from any packet: True. None for a codec whose payloads are not known here. Codec names are
    those of SDP, in any case.
    """
    name = codec.lower()
    reader = _KEYFRAME_READERS.get(name)
    if reader is None:
        return True if name in _AUDIO_CODECS else None
    try:
        return reader(payload)
    except IndexError:
        return False  # cut off


def keyframe_size(codec: str, payload: bytes | memoryview) -> tuple[int, int] | None:
    """Return width and height in pixels where the payload tells them: VP8, VP9 and H264; else None."""
    reader = _SIZE_READERS.get(codec.lower())
    if reader is None:
        return None
    try:
        return reader(payload)
    except IndexError:
        return None


def _vp8_frame_offset(payload: bytes | memoryview) -> int | None:
    """Return where the VP8 frame begins in the packet that begins it, or None in others (RFC 7741 section 4.2)."""
    first = payload[0]
    if first & 0x17 != 0x10:  # S set and PID 0: the start of the first partition
        return None
    offset = 1
    if first & 0x80:
        flags = payload[1]
        offset = 2
        if flags & 0x80:
            offset += 2 if payload[offset] & 0x80 else 1  # PictureID
        if flags & 0x40:
            offset += 1  # TL0PICIDX
        if flags & 0x30:
            offset += 1  # TID, Y, KEYIDX
    return offset


def _vp8_keyframe(payload: bytes | memoryview) -> bool:
    offset = _vp8_frame_offset(payload)
    return offset is not None and payload[offset] & 1 == 0


def _vp8_size(payload: bytes | memoryview) -> tuple[int, int] | None:
    offset = _vp8_frame_offset(payload)
    return None if offset is None else vp8_frame_size(bytes(payload[offset : offset + _SIZE_PREFIX_BYTES]))


def _vp9_layer_offset(payload: bytes | memoryview) -> int:
    """Return where the layer indices of a VP9 payload descriptor are, after the picture id (RFC 9628 section 4.2)."""
    if payload[0] & 0x80 == 0:
        return 1
    return 3 if payload[1] & 0x80 else 2


def _vp9_keyframe(payload: bytes | memoryview) -> bool:
    first = payload[0]
    if first & 0x48 != 0x08:  # not predicted from another picture (P), and the beginning of a frame (B)
        return False
    # Upper spatial layers of a keyframe are predicted from the lowest, which alone can be decoded by itself.
    return first & 0x20 == 0 or payload[_vp9_layer_offset(payload)] >> 1 & 7 == 0


def _vp9_size(payload: bytes | memoryview) -> tuple[int, int] | None:
    if not _vp9_keyframe(payload):
        return None
    first = payload[0]
    offset = _vp9_layer_offset(payload)
    if first & 0x20:
        offset += 1 if first & 0x10 else 2  # in non-flexible mode TL0PICIDX follows the layer indices
    if first & 0x02:
        structure = payload[offset]
        if structure & 0x10:  # the scalability structure gives every layer's size; the last is the largest
            offset += 1 + 4 * (structure >> 5)
            width = payload[offset] << 8 | payload[offset + 1]
            height = payload[offset + 2] << 8 | payload[offset + 3]
            return (width, height) if width and height else None
        offset += 1
        if structure & 0x08:
            pictures = payload[offset]
            offset += 1
            for _ in range(pictures):
                offset += 1 + (payload[offset] >> 2 & 3)
    return vp9_frame_size(bytes(payload[offset : offset + _SIZE_PREFIX_BYTES]))


def _aggregated_units(payload: bytes | memoryview, offset: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each NAL unit of an aggregation packet: 16 bits of size before each one."""
    for _ in range(MAX_UNITS_PER_PACKET):
        if offset + 2 >= len(payload):
            return
        start = offset + 2
        offset = start + (payload[offset] << 8 | payload[offset + 1])
        if start < offset <= len(payload):
            yield start, offset


def _h264_keyframe(payload: bytes | memoryview) -> bool:
    unit = payload[0] & 0x1F
    if unit == _H264_STAP_A:
        return any(payload[start] & 0x1F in _H264_KEY_TYPES for start, _ in _aggregated_units(payload, 1))
    if unit in {_H264_FU_A, _H264_FU_B}:
        fragment = payload[1]
        return fragment & 0x80 != 0 and fragment & 0x1F in _H264_KEY_TYPES
    return unit in _H264_KEY_TYPES


def _h264_size(payload: bytes | memoryview) -> tuple[int, int] | None:
    unit = payload[0] & 0x1F
    if unit == _H264_SPS:
        return h264_sps_size(bytes(payload))
    if unit == _H264_STAP_A:
        for start, end in _aggregated_units(payload, 1):
            if payload[start] & 0x1F == _H264_SPS:
                return h264_sps_size(bytes(payload[start:end]))
    return None


def _h265_keyframe(payload: bytes | memoryview) -> bool:
    unit = payload[0] >> 1 & 0x3F
    if unit == _H265_AP:
        return any(payload[start] >> 1 & 0x3F in _H265_KEY_TYPES for start, _ in _aggregated_units(payload, 2))
    if unit == _H265_FU:
        fragment = payload[2]
        return fragment & 0x80 != 0 and fragment & 0x3F in _H265_KEY_TYPES
    return unit in _H265_KEY_TYPES


def _av1_keyframe(payload: bytes | memoryview) -> bool:
    """Tell by the N bit or a sequence header OBU (AV1 RTP specification section 4.4)."""
    aggregation = payload[0]
    if aggregation & 0x08:
        return True
    elements = aggregation >> 4 & 3
    offset = 1
    for index in range(1, (elements or MAX_UNITS_PER_PACKET) + 1):
        if offset >= len(payload):
            return False
        size = len(payload) - offset
        if index != elements:  # the last element of a counted list has no size before it
            size, offset = _leb128(payload, offset)
        continued = index == 1 and aggregation & 0x80
        if size and not continued and payload[offset] >> 3 & 0x0F == _AV1_SEQUENCE_HEADER:
            return True
        offset += size
    return False


def _leb128(payload: bytes | memoryview, offset: int) -> tuple[int, int]:
    """Return a little-endian base-128 number of at most eight bytes, and the offset after it."""
    value = 0
    for index in range(8):
        byte = payload[offset + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, offset + index + 1
    return value, offset + 8


_KEYFRAME_READERS: dict[str, Callable[[bytes | memoryview], bool]] = {
    "vp8": _vp8_keyframe,
    "vp9": _vp9_keyframe,
    "h264": _h264_keyframe,
    "h265": _h265_keyframe,
    "av1": _av1_keyframe,
}
_SIZE_READERS: dict[str, Callable[[bytes | memoryview], tuple[int, int] | None]] = {
    "vp8": _vp8_size,
    "vp9": _vp9_size,
    "h264": _h264_size,
}
