"""RTP header extensions, one- and two-byte form (RFC 8285), and the URIs of those that browsers offer."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .packet import FIXED_HEADER_BYTES, RtpError, RtpHeader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
TRANSMISSION_OFFSET = "urn:ietf:params:rtp-hdrext:toffset"
VIDEO_ORIENTATION = "urn:3gpp:video-orientation"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
ABS_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
VIDEO_CONTENT_TYPE = "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"
VIDEO_TIMING = "http://www.webrtc.org/experiments/rtp-hdrext/video-timing"
VIDEO_LAYERS_ALLOCATION = "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"
COLOR_SPACE = "http://www.webrtc.org/experiments/rtp-hdrext/color-space"
DEPENDENCY_DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

ONE_BYTE_PROFILE = 0xBEDE
"""RFC 8285 section 4.2."""
TWO_BYTE_PROFILE = 0x1000
"""RFC 8285 section 4.3; its lowest four bits are application bits, which carry nothing here."""

MAX_EXTENSIONS = 64
"""Elements looked at in one packet. Chromium sends seven at most; the rest of an absurd packet costs no time."""

MAX_EXTENSION_BYTES = 512
"""Looked at in the one-byte form, with its 14 ids of 17 bytes at most; a packet full of zeros costs 50 us else."""
MAX_PADDING_BYTES = 512
"""Passed over in the two-byte form, for the same reason."""

_ONE_BYTE_MAX_ID = 14
_ONE_BYTE_MAX_LENGTH = 16
_START = struct.Struct("!HH")


def iterate_extensions(data: bytes | bytearray, header: RtpHeader) -> Iterator[tuple[int, int, int]]:
    """Yield id, offset and length of each extension element of a packet; a malformed rest ends it quietly."""
    profile = header.extension_profile
    if profile == ONE_BYTE_PROFILE:
        one_byte = True
    elif profile & 0xFFF0 == TWO_BYTE_PROFILE:
        one_byte = False
    else:
        return
    position = header.extensions_offset
    end = position + (min(header.extensions_length, MAX_EXTENSION_BYTES) if one_byte else header.extensions_length)
    found = padding = 0
    while position < end and found < MAX_EXTENSIONS and padding < MAX_PADDING_BYTES:
        head = data[position]
        position += 1
        if head == 0:
            padding += 1
            continue
        if one_byte:
            extension_id = head >> 4
            length = (head & 0x0F) + 1
            if extension_id in {0, 15}:
                return  # 15 ends processing, 0 with a length is reserved (RFC 8285 section 4.2)
        elif position < end:
            extension_id = head
            length = data[position]
            position += 1
        else:
            return
        if position + length > end:
            return
        yield extension_id, position, length
        position += length
        found += 1


def find_extension(data: bytes, header: RtpHeader, extension_id: int) -> tuple[int, int] | None:
    """Return offset and length of the value of the extension `extension_id` within `data`, or None without it."""
    if header.extension_profile != ONE_BYTE_PROFILE:
        for found_id, offset, length in iterate_extensions(data, header):
            if found_id == extension_id:
                return offset, length
        return None
    # The one-byte form is what nearly every packet has; without a generator it costs half.
    position = header.extensions_offset
    length = header.extensions_length
    end = position + (length if length < MAX_EXTENSION_BYTES else MAX_EXTENSION_BYTES)  # noqa: FURB136  min() is slower
    while position < end:
        head = data[position]
        position += 1
        if head == 0:
            continue
        found_id = head >> 4
        length = (head & 0x0F) + 1
        if found_id in {0, 15} or position + length > end:
            return None
        if found_id == extension_id:
            return position, length
        position += length
    return None


def renumber_extensions(data: bytearray, header: RtpHeader, ids: Mapping[int, int]) -> None:
    """Give the extension elements of a packet other ids, in place; those that `ids` does not name become padding.

    So does one whose new id does not fit the packet's form: the one-byte form ends at 14.
    """
    one_byte = header.extension_profile == ONE_BYTE_PROFILE
    for extension_id, offset, length in list(iterate_extensions(data, header)):
        number = ids.get(extension_id, 0)
        if one_byte and 0 < number <= _ONE_BYTE_MAX_ID:
            data[offset - 1] = number << 4 | (length - 1)
        elif number and not one_byte:
            data[offset - 2] = number
        else:
            start = offset - (1 if one_byte else 2)
            data[start : offset + length] = bytes(offset + length - start)


def encode_extensions(values: Sequence[tuple[int, bytes]]) -> bytes:
    """Return a whole header extension, start and padding included, with these (id, value) pairs; empty for none.

    The one-byte form is taken where every id is at most 14 and every value has 1 to 16 bytes, else the
    two-byte form. Raises `RtpError` for an id outside 1 to 255 or a value of more than 255 bytes.
    """
    if not values:
        return b""
    one_byte = True
    for extension_id, value in values:
        if not 1 <= extension_id <= 255 or len(value) > 255:
            raise RtpError(
                f"header extension {extension_id} of {len(value)} bytes: ids are 1 to 255, values at most 255 bytes"
            )
        if extension_id > _ONE_BYTE_MAX_ID or not 1 <= len(value) <= _ONE_BYTE_MAX_LENGTH:
            one_byte = False
    elements = bytearray(4)
    for extension_id, value in values:
        if one_byte:
            elements.append(extension_id << 4 | (len(value) - 1))
        else:
            elements.append(extension_id)
            elements.append(len(value))
        elements += value
    elements += bytes(-len(elements) % 4)
    _START.pack_into(elements, 0, ONE_BYTE_PROFILE if one_byte else TWO_BYTE_PROFILE, (len(elements) - 4) >> 2)
    return bytes(elements)


def replace_extensions(data: bytes, header: RtpHeader, values: Sequence[tuple[int, bytes]]) -> bytes:
    """Return the packet `data` with exactly these header extensions, or without any for an empty sequence."""
    return replace_extension_block(data, header, encode_extensions(values))


def replace_extension_block(data: bytes, header: RtpHeader, block: bytes) -> bytes:
    """Return the packet `data` with `block`, from `encode_extensions`, as its header extension.

    For packets that many receivers get alike: the block is then encoded once.
    """
    first = data[0] | 0x10 if block else data[0] & ~0x10
    csrc_end = FIXED_HEADER_BYTES + ((first & 0x0F) << 2)
    return b"".join((bytes((first,)), data[1:csrc_end], block, data[header.payload_offset :]))


def abs_send_time(now: float) -> bytes:
    """Return the value of the abs-send-time extension: seconds `now` as 24-bit 6.18 fixed point, wrapping at 64 s."""
    return (int(now * 0x40000) & 0xFFFFFF).to_bytes(3, "big")


def decode_abs_send_time(value: bytes) -> int:
    """Return an abs-send-time value as a number of 2**-18 s, below 2**24; raise `RtpError` unless it has 3 bytes."""
    if len(value) != 3:
        raise RtpError(f"abs-send-time of {len(value)} bytes, it has 3")
    return int.from_bytes(value, "big")
