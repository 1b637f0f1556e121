"""What the SDP parser lets through and nothing behind it could bear: lines that multiply, numbers beyond their fields.

Found by fuzzing. The parser's time is the product of some lines' counts, and any integer passes it; here a description
is held against what RTP can carry, so that a publisher's numbers never reach a viewer or a timer. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from .values import SdpError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiortc import sdp
    from aiortc.rtcrtpparameters import RTCRtpCodecParameters

MAX_LINES: Final = 6000
"""In all sections together: 32 of a browser's longest."""
MAX_CODECS: Final = 128
"""In a section: payload types have seven bits."""
MAX_WILDCARD_FEEDBACK: Final = 8
"""Lines `a=rtcp-fb:*` in a section; each is copied to every codec, and there are five kinds that mean something."""
MAX_MID_CHARS: Final = 64
"""Browsers write a digit; an RTP packet carries it (RFC 9143 section 15)."""
MAX_NAME_CHARS: Final = 64
"""Of a codec; SDP's longest registered have some twenty."""
MAX_PAYLOAD_TYPE: Final = 127
MAX_CHANNELS: Final = 255
MAX_CLOCK_RATE: Final = 0xFFFF_FFFF
MAX_SSRC: Final = 0xFFFF_FFFF
MAX_EXTENSION_ID: Final = 255
"""RFC 8285 section 4.3. An offer may have higher ones (section 7), which are a wish to have a number chosen: those are
passed over."""

# `token` of RFC 8866 section 9.
_TOKEN: Final = re.compile(r"[!#-'*+\-.0-9A-Z^-~]+")


def check_lines(sections: Sequence[Sequence[str]]) -> None:
    """Raise `SdpError` for lines, grouped by section, that would take the parser long; to be called before it."""
    total = sum(map(len, sections))
    if total > MAX_LINES:
        raise SdpError(f"the description has {total} lines, at most {MAX_LINES} are read")
    for number, lines in enumerate(sections):
        mapped = [_payload_type(line) for line in lines if line.startswith("a=rtpmap:")]
        if len(mapped) > MAX_CODECS:
            raise SdpError(f"m-line {number} has {len(mapped)} codecs, at most {MAX_CODECS} are read")
        counts = Counter(payload_type for payload_type in mapped if payload_type is not None)
        if any(count > 1 for count in counts.values()):
            raise SdpError(f"m-line {number} has two a=rtpmap for one payload type")
        wildcards = sum(line.startswith("a=rtcp-fb:*") for line in lines)
        if wildcards > MAX_WILDCARD_FEEDBACK:
            raise SdpError(f"m-line {number} has {wildcards} a=rtcp-fb:*, at most {MAX_WILDCARD_FEEDBACK} are read")


def _payload_type(line: str) -> int | None:
    """Return the payload type as the parser reads it, so that 96 and 096 are one; None for what it will refuse."""
    try:
        return int(line.removeprefix("a=rtpmap:").split(" ", 1)[0])
    except ValueError:
        return None


def check_values(description: sdp.SessionDescription) -> None:
    """Raise `SdpError` for what does not fit its field.

    Taken out are formats named twice, header extension ids out of range and SSRCs that another section has.
    """
    owners: dict[int, int] = {}
    for number, section in enumerate(description.media):
        mid = section.rtp.muxId
        if mid and (len(mid) > MAX_MID_CHARS or not _TOKEN.fullmatch(mid)):
            raise SdpError(f"m-line {number} has an a=mid that is no token of at most {MAX_MID_CHARS} characters")
        if section.kind not in {"audio", "video"}:
            continue
        section.fmt = list(dict.fromkeys(section.fmt))
        _check_range(number, "payload type", section.fmt, 0, MAX_PAYLOAD_TYPE)
        for codec in section.rtp.codecs:
            _check_codec(number, codec)
        _check_extensions(number, section)
        _check_ssrcs(number, section, owners)


def _check_codec(number: int, codec: RTCRtpCodecParameters) -> None:
    if len(codec.name) > MAX_NAME_CHARS or not _TOKEN.fullmatch(codec.name):
        raise SdpError(f"m-line {number} has a codec whose name is no token of at most {MAX_NAME_CHARS} characters")
    _check_range(number, "payload type", [codec.payloadType], 0, MAX_PAYLOAD_TYPE)
    _check_range(number, "clock rate", [codec.clockRate], 1, MAX_CLOCK_RATE)
    if codec.channels is not None:
        _check_range(number, "number of channels", [codec.channels], 1, MAX_CHANNELS)


def _check_extensions(number: int, section: sdp.MediaDescription) -> None:
    extensions = [header for header in section.rtp.headerExtensions if 0 < header.id <= MAX_EXTENSION_ID]
    if len({header.id for header in extensions}) < len(extensions):
        raise SdpError(f"m-line {number} has two a=extmap with the same id")
    section.rtp.headerExtensions = extensions


def _check_ssrcs(number: int, section: sdp.MediaDescription, owners: dict[int, int]) -> None:
    groups = [group.items for group in section.ssrc_group]
    ssrcs = {int(ssrc) for ssrc in (*(info.ssrc for info in section.ssrc), *chain(*groups))}
    _check_range(number, "SSRC", ssrcs, 0, MAX_SSRC)
    if any(len(set(items)) < len(items) for items in groups):
        raise SdpError(f"m-line {number} has an a=ssrc-group that names one SSRC twice")
    # RFC 3550 section 8: an SSRC is one stream's. The first section keeps it, in others it is learnt from the packets.
    taken = {ssrc for ssrc in ssrcs if owners.setdefault(ssrc, number) != number}
    section.ssrc = [info for info in section.ssrc if info.ssrc not in taken]
    section.ssrc_group = [group for group in section.ssrc_group if taken.isdisjoint(map(int, group.items))]


def _check_range(number: int, what: str, values: Iterable[Any], lowest: int, highest: int) -> None:
    for value in values:
        if not lowest <= value <= highest:
            raise SdpError(f"m-line {number} has a {what} that is not between {lowest} and {highest}")
