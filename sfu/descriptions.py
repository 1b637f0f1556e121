"""Descriptions: SDP as text. Read with limits and one kind of error, written section by section. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiortc import sdp
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceParameters
from aiortc.rtcrtpparameters import RTCRtcpFeedback, RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters

from .sdp_checks import check_lines, check_values
from .values import SdpError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .parameters import Candidate, Codec, LocalTransport, TrackParameters

MAX_SECTIONS: Final = 32
"""m-lines in a description, refused ones included, where no setting says otherwise."""
MAX_SECTION_LINES: Final = 600
"""A browser's longest section, video with every codec, has some 150; the parser is quadratic in some lines, which
`sdp_checks` counts."""
MAX_QUOTED: Final = 60
"""Characters of a bad line that an error repeats."""
_DISCARD_PORT: Final = 9
_ANY_HOST: Final = "0.0.0.0"  # noqa: S104  SDP's placeholder address, nothing is bound to it
_PARSE_ERRORS: Final = (AssertionError, ValueError, LookupError, AttributeError, TypeError, StopIteration)
_MEDIA_LINE: Final = re.compile(r"^m=([a-z]{1,32}) ([0-9]{1,5}) ([A-Z/]+) (\S.*)$")


def parse_description(text: str, max_sections: int = MAX_SECTIONS) -> sdp.SessionDescription:
    """Parse what aiortc understands of SDP, with limits before; raise `SdpError` and nothing else."""
    if not text.startswith("v=0"):
        raise SdpError("this is not SDP: it does not begin with v=0")
    session_lines, sections = sdp.grouplines(text)
    if len(sections) > max_sections:
        raise SdpError(f"the description has {len(sections)} m-lines, at most {max_sections} are read")
    for number, lines in enumerate([session_lines, *sections]):
        if len(lines) > MAX_SECTION_LINES:
            where = f"m-line {number - 1}" if number else "the session part"
            raise SdpError(f"{where} has {len(lines)} lines, at most {MAX_SECTION_LINES} are read")
    for lines in sections:
        if not _MEDIA_LINE.match(lines[0]):
            raise SdpError(f"bad line {_quote(lines[0])}: expected m=<kind> <port> <protocol> <formats>")
    check_lines(sections)
    try:
        description = sdp.SessionDescription.parse(text)
    except _PARSE_ERRORS as exc:
        raise SdpError(f"bad line {_quote(_first_bad_line(session_lines, sections))}") from exc
    check_values(description)
    return description


def _first_bad_line(session: list[str], sections: list[list[str]]) -> str:
    """Find the line at which parsing fails: first its part, for parts do not depend on each other, then by halving.

    A prefix fails from the bad line on.
    """
    lines = next((part for part in (session, *sections) if not _parses(part)), session)
    good, bad = 0, len(lines)
    while bad - good > 1:
        middle = (good + bad) // 2
        if _parses(lines[:middle]):
            good = middle
        else:
            bad = middle
    return lines[bad - 1]


def _parses(lines: list[str]) -> bool:
    try:
        sdp.SessionDescription.parse("\r\n".join(lines) + "\r\n")
    except _PARSE_ERRORS:
        return False
    return True


def _quote(line: str) -> str:
    # An SDP password must not come back in an error, which may be logged.
    if "ice-pwd" in line:
        line = "a=ice-pwd:..."
    return repr(line if len(line) <= MAX_QUOTED else line[:MAX_QUOTED] + "...")


def new_description(local: LocalTransport, kind: str) -> sdp.SessionDescription:
    """Begin a description of the given kind, `offer` or `answer`, without media."""
    description = sdp.SessionDescription()
    description.origin = f"- {local.session_id} {local.version} IN IP4 {_ANY_HOST}"
    description.msid_semantic = [sdp.GroupDescription(semantic="WMS", items=["*"])]
    description.type = kind
    return description


def finish(description: sdp.SessionDescription, tag: str | None = None) -> str:
    """Bundle what is accepted and return the text.

    The section `tag`, where there is one, stands first in the group: its transport is the bundle's (RFC 8843 section
    7.2.1), and a section that is new to the other side cannot be that.
    """
    mids: list[int | str] = [media.rtp.muxId for media in description.media if media.port != 0]
    mids.sort(key=lambda mid: mid != tag)
    description.group = [sdp.GroupDescription(semantic="BUNDLE", items=mids)]
    return str(description)


def accepted_section(
    track: TrackParameters,
    codecs: Sequence[Codec],
    local: LocalTransport,
    *,
    direction: str,
    setup: str,
    port: int = _DISCARD_PORT,
) -> sdp.MediaDescription:
    """Write one accepted section; the transport's lines are the same in all, since all are bundled.

    With `port` 0 it is a rejected one that is complete all the same: stock aiortc reads the transport of those, too.
    """
    media = sdp.MediaDescription(
        kind=track.kind,
        port=port,
        profile="UDP/TLS/RTP/SAVPF",
        fmt=[codec.payload_type for codec in codecs],
    )
    media.host = _ANY_HOST
    media.rtcp_port = _DISCARD_PORT
    media.rtcp_host = _ANY_HOST
    media.rtcp_mux = True
    media.direction = direction
    media.rtp.muxId = track.mid
    media.rtp.codecs = [_codec_lines(codec) for codec in codecs]
    media.rtp.headerExtensions = [
        RTCRtpHeaderExtensionParameters(id=number, uri=uri) for uri, number in track.extensions.items()
    ]
    media.ice = RTCIceParameters(usernameFragment=local.ufrag, password=local.password, iceLite=True)
    media.ice_candidates = _candidates(local.candidates)
    media.ice_candidates_complete = True
    media.dtls = RTCDtlsParameters(
        fingerprints=[RTCDtlsFingerprint(algorithm=name, value=value) for name, value in local.fingerprints],
        role=setup,
    )
    return media


def _codec_lines(codec: Codec) -> RTCRtpCodecParameters:
    feedback = [
        RTCRtcpFeedback(type=name.split(" ")[0], parameter=name.partition(" ")[2] or None)
        for name in sorted(codec.feedback)
    ]
    return RTCRtpCodecParameters(
        mimeType=f"{codec.kind}/{codec.name}",
        clockRate=codec.clock_rate,
        channels=codec.channels,
        payloadType=codec.payload_type,
        rtcpFeedback=feedback,
        parameters=dict(codec.parameters),
    )


def refused_section(section: sdp.MediaDescription) -> sdp.MediaDescription:
    """Write the section that refuses `section`: port 0, formats repeated (RFC 3264 section 6)."""
    media = sdp.MediaDescription(kind=section.kind, port=0, profile=section.profile, fmt=section.fmt)
    media.host = _ANY_HOST
    media.direction = "inactive"
    media.rtp.muxId = section.rtp.muxId
    media.ice = RTCIceParameters()
    return media


def _candidates(candidates: Sequence[Candidate]) -> list[RTCIceCandidate]:
    """Return host candidates, each preferred to the next, TCP after UDP (RFC 8445 section 5.1.2.1, RFC 6544)."""
    return [
        RTCIceCandidate(
            component=1,
            foundation=str(number + 1),
            ip=candidate.host,
            port=candidate.port,
            priority=((126 if candidate.protocol == "udp" else 90) << 24) | ((65535 - number) << 8) | 255,
            protocol=candidate.protocol,
            type="host",
            tcpType="passive" if candidate.protocol == "tcp" else None,
        )
        for number, candidate in enumerate(candidates)
    ]
