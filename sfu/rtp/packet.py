"""RTP packets as bytes and offsets (RFC 3550 section 5, RFC 5761, RFC 4588).

Nothing here copies a payload to look at it: `parse_header` notes where things are, and the functions that
make a packet from another one slice and join.
"""

from __future__ import annotations

import struct

FIXED_HEADER_BYTES = 12
"""The header without CSRCs and extensions (RFC 3550 section 5.1)."""

_VERSION_2 = 0x80
_PADDING_BIT = 0x20
_EXTENSION_BIT = 0x10
_MARKER_BIT = 0x80

_FIXED = struct.Struct("!BBHII")
_START = struct.Struct("!BBH")
_SSRC = struct.Struct("!I")
_EXTENSION_START = struct.Struct("!HH")

_unpack_fixed = _FIXED.unpack_from
_pack_fixed = _FIXED.pack
_unpack_extension_start = _EXTENSION_START.unpack_from


class RtpError(ValueError):
    """Bytes that are no RTP packet, or values that cannot be put into one; the text says what and where."""


class RtpHeader:
    """Where the parts of one RTP packet are, and its fixed fields."""

    __slots__ = (
        "extension_profile",
        "extensions_length",
        "extensions_offset",
        "marker",
        "padding",
        "payload_offset",
        "payload_type",
        "sequence_number",
        "ssrc",
        "timestamp",
    )

    def __init__(
        self,
        marker: bool,  # noqa: FBT001 - built once a packet, by parse_header only; keywords cost too much time
        payload_type: int,
        sequence_number: int,
        timestamp: int,
        ssrc: int,
        extension_profile: int,
        extensions_offset: int,
        extensions_length: int,
        payload_offset: int,
        padding: int,
    ) -> None:
        self.marker = marker
        self.payload_type = payload_type
        self.sequence_number = sequence_number
        self.timestamp = timestamp
        self.ssrc = ssrc
        self.extension_profile = extension_profile
        """The 16 bits "defined by profile"; 0 without a header extension."""
        self.extensions_offset = extensions_offset
        """Where the extension's elements begin, after its 4-byte start; 0 without a header extension."""
        self.extensions_length = extensions_length
        """Bytes of elements, padding between them included."""
        self.payload_offset = payload_offset
        self.padding = padding
        """Bytes of padding at the packet's end, its count byte included; 0 for none."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"RtpHeader({fields})"

    def payload_end(self, length: int) -> int:
        """Return where the payload ends in a packet of `length` bytes."""
        return length - self.padding


def is_rtcp(data: bytes) -> bool:
    """Tell RTCP from RTP on one port by the second byte, 192 to 223 (RFC 5761 section 4)."""
    return len(data) > 1 and 192 <= data[1] <= 223


def looks_like_rtp_or_rtcp(data: bytes) -> bool:
    """Tell RTP and RTCP from STUN and DTLS by the first byte, 128 to 191 (RFC 7983 section 7)."""
    return len(data) > 0 and 128 <= data[0] <= 191


def parse_header(data: bytes) -> RtpHeader:
    """Find the parts of an RTP packet; raise `RtpError` where the lengths it claims do not fit its bytes."""
    length = len(data)
    if length < FIXED_HEADER_BYTES:
        raise RtpError(f"RTP packet of {length} bytes is truncated: its header alone has {FIXED_HEADER_BYTES}")
    first, second, sequence_number, timestamp, ssrc = _unpack_fixed(data)
    if first & 0xC0 != _VERSION_2:
        raise RtpError(f"RTP version is {first >> 6}, only 2 is known")
    payload_offset = FIXED_HEADER_BYTES + ((first & 0x0F) << 2)
    profile = extensions_offset = extensions_length = padding = 0
    if first & _EXTENSION_BIT:
        extensions_offset = payload_offset + 4
        if extensions_offset > length:
            raise RtpError(f"RTP header extension at byte {payload_offset} is cut off: the packet has {length} bytes")
        profile, words = _unpack_extension_start(data, payload_offset)
        extensions_length = words << 2
        payload_offset = extensions_offset + extensions_length
    if payload_offset > length:
        raise RtpError(f"RTP header claims {payload_offset} bytes, the packet has {length}")
    if first & _PADDING_BIT:
        padding = data[length - 1]
        if not 0 < padding <= length - payload_offset:
            raise RtpError(
                f"RTP padding of {padding} bytes does not fit the {length - payload_offset} after the header"
            )
    return RtpHeader(
        second > 127,
        second & 0x7F,
        sequence_number,
        timestamp,
        ssrc,
        profile,
        extensions_offset,
        extensions_length,
        payload_offset,
        padding,
    )


def build_packet(
    *,
    payload_type: int,
    sequence_number: int,
    timestamp: int,
    ssrc: int,
    marker: bool,
    extensions: bytes,
    payload: bytes,
) -> bytes:
    """Make an RTP packet without CSRCs and padding.

    `extensions` is a whole header extension, its 4-byte start included, as `extensions.encode_extensions`
    makes it, or empty. Raises `RtpError` when its length is not the one it claims.
    """
    first = _VERSION_2
    if extensions:
        if len(extensions) < 4 or len(extensions) != 4 + 4 * _unpack_extension_start(extensions)[1]:
            raise RtpError(f"header extension of {len(extensions)} bytes does not have the length it claims")
        first |= _EXTENSION_BIT
    second = payload_type | _MARKER_BIT if marker else payload_type
    return _pack_fixed(first, second, sequence_number, timestamp, ssrc) + extensions + payload


def rewrite_header(data: bytes, *, payload_type: int, sequence_number: int, timestamp: int, ssrc: int) -> bytes:
    """Return the packet `data` with other fixed fields; marker, CSRCs, extensions, payload and padding stay."""
    return (
        _pack_fixed(data[0], (data[1] & _MARKER_BIT) | payload_type, sequence_number, timestamp, ssrc)
        + data[FIXED_HEADER_BYTES:]
    )


def rewrite_header_and_value(
    data: bytes, payload_type: int, sequence_number: int, timestamp: int, ssrc: int, offset: int, value: bytes
) -> bytes:
    """Do what `rewrite_header` does and also put `value` at `offset`, behind the fixed header, in one copy."""
    return b"".join(
        (
            _pack_fixed(data[0], (data[1] & _MARKER_BIT) | payload_type, sequence_number, timestamp, ssrc),
            data[FIXED_HEADER_BYTES:offset],
            value,
            data[offset + len(value) :],
        )
    )


def wrap_rtx(data: bytes, header: RtpHeader, *, payload_type: int, sequence_number: int, ssrc: int) -> bytes:
    """Return the packet `data` as an RTX packet (RFC 4588 section 4), to be sent on its own SSRC and numbering.

    The original sequence number is read from `data`, of `header` only the offsets count: so a packet that
    `rewrite_header` has made goes with the header of the one it was made from. Padding is left out.
    """
    payload_offset = header.payload_offset
    start = _START.pack(data[0] & ~_PADDING_BIT, (data[1] & _MARKER_BIT) | payload_type, sequence_number)
    return b"".join(
        (
            start,
            data[4:8],
            _SSRC.pack(ssrc),
            data[FIXED_HEADER_BYTES:payload_offset],
            data[2:4],
            data[payload_offset : len(data) - header.padding],
        )
    )


def unwrap_rtx(data: bytes, header: RtpHeader, *, payload_type: int, ssrc: int) -> bytes | None:
    """Return the packet that an RTX packet carries, or None where it carries none: padding sent as a bandwidth probe.

    Extensions of the RTX packet stay as they are. Raises `RtpError` for a payload too short to hold the
    original sequence number.
    """
    payload_offset = header.payload_offset
    payload_end = len(data) - header.padding
    if payload_end == payload_offset:
        return None
    if payload_end - payload_offset < 2:
        raise RtpError("RTX payload of 1 byte is too short for the original sequence number, which has 2")
    return b"".join(
        (
            bytes((data[0] & ~_PADDING_BIT, (data[1] & _MARKER_BIT) | payload_type)),
            data[payload_offset : payload_offset + 2],
            data[4:8],
            _SSRC.pack(ssrc),
            data[FIXED_HEADER_BYTES:payload_offset],
            data[payload_offset + 2 : payload_end],
        )
    )


def pad(data: bytes, count: int) -> bytes:
    """Return the packet `data` with `count` more bytes of padding (RFC 3550 section 5.1).

    A packet whose padding would then pass 255 bytes, which is all that its count can say, is returned as it is.
    """
    if not data[0] & _PADDING_BIT:
        return b"".join((bytes((data[0] | _PADDING_BIT,)), data[1:], bytes(count - 1), bytes((count,))))
    if data[-1] + count > 255:
        return data
    return b"".join((data[:-1], bytes(count), bytes((data[-1] + count,))))
