"""Negotiation: SDP offers and answers to parameter values and back (RFC 8829, RFC 9143). Pure.

Publishers offer and we answer; to subscribers we offer what the publisher sends, with the publisher's own payload
types, header extension ids, mids and msid. So one packet fits every viewer as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast

from aiortc import sdp
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceParameters
from aiortc.rtcrtpparameters import RTCRtcpFeedback, RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters

from .rtp.extensions import ABS_SEND_TIME, AUDIO_LEVEL, MID, TRANSPORT_CC, VIDEO_ORIENTATION
from .values import Kind, NoCommonCodecError, SdpError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SUPPORTED_CODECS: Final[dict[str, tuple[str, ...]]] = {
    "video": ("VP8", "VP9", "H264", "AV1", "H265"),
    "audio": ("opus", "PCMU", "PCMA", "G722"),
}
"""What is forwarded, by kind. A codec needs no code here to be forwarded, only to know its keyframes."""
SUPPORTED_EXTENSIONS: Final = frozenset({MID, ABS_SEND_TIME, TRANSPORT_CC, AUDIO_LEVEL, VIDEO_ORIENTATION})
SUPPORTED_FEEDBACK: Final = frozenset({"nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"})
FINGERPRINT_ALGORITHMS: Final = frozenset({"sha-256", "sha-384", "sha-512"})

MAX_SECTIONS: Final = 32
"""m-lines in a description, refused ones included."""
MAX_SECTION_LINES: Final = 600
"""A browser's longest section, video with every codec, has some 150; the parser is quadratic in some lines."""
MAX_QUOTED: Final = 60
"""Characters of a bad line that an error repeats."""

_DYNAMIC_PAYLOAD_TYPES: Final = tuple(range(96, 128)) + tuple(range(35, 64))
_STATIC_CODECS: Final = {0: ("PCMU", 8000), 8: ("PCMA", 8000), 9: ("G722", 8000)}  # RFC 3551 section 6
_DISCARD_PORT: Final = 9
_ANY_HOST: Final = "0.0.0.0"  # noqa: S104  SDP's placeholder address, nothing is bound to it
_PARSE_ERRORS: Final = (AssertionError, ValueError, LookupError, AttributeError, TypeError, StopIteration)
_MEDIA_LINE: Final = re.compile(r"^m=(\S+) (\d+) ([A-Z/]+) (\S.*)$")

Role = Literal["client", "server"]


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec of one track, as in its rtpmap, fmtp and rtcp-fb lines."""

    name: str
    kind: Kind
    clock_rate: int
    channels: int | None
    payload_type: int
    parameters: tuple[tuple[str, int | str | None], ...] = ()
    feedback: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Return the codec as an error message names it."""
        detail = dict(self.parameters).get("profile-level-id")
        return f"{self.name} (profile-level-id {detail})" if detail else self.name


@dataclass(frozen=True, slots=True)
class TrackParameters:
    """One published track: what its publisher and we agreed on."""

    mid: str
    kind: Kind
    track_id: str
    codecs: tuple[Codec, ...]
    """The codec that is sent and, for audio, the RED that may wrap it, in the publisher's order."""
    rtx: Codec | None
    extensions: dict[str, int]
    """Header extension ids by URI."""
    ssrc: int | None
    """None where the publisher named none: then it is learnt from MID or payload type (RFC 9143 section 9.2)."""
    rtx_ssrc: int | None
    cname: str | None

    @property
    def codec(self) -> Codec:
        """The codec proper, not its RED wrapping."""
        return next(codec for codec in self.codecs if codec.name.lower() != "red")

    @property
    def feedback(self) -> frozenset[str]:
        """RTCP feedback messages that may be sent to the publisher, such as `nack pli`."""
        return self.codec.feedback


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """The other side's half of ICE and DTLS."""

    ufrag: str
    fingerprints: tuple[tuple[str, str], ...]
    role: Role
    """The DTLS role that is ours."""


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our half of ICE and DTLS, as it goes into a description."""

    session_id: int
    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    candidates: tuple[tuple[str, int], ...]
    """Addresses and ports, the preferred one first."""


@dataclass(frozen=True, slots=True)
class PublisherOffer:
    """A publisher's offer, understood; `tracks` has None where a section is refused."""

    transport: RemoteTransport
    stream_id: str
    tracks: tuple[TrackParameters | None, ...]
    sections: tuple[sdp.MediaDescription, ...]

    @property
    def accepted(self) -> tuple[TrackParameters, ...]:
        """The tracks that will be received."""
        return tuple(track for track in self.tracks if track is not None)


@dataclass(frozen=True, slots=True)
class SentTrack:
    """One track as it is offered to a subscriber."""

    parameters: TrackParameters
    ssrc: int
    rtx_ssrc: int
    cname: str
    rtx: Codec | None = field(default=None)
    """How lost packets are sent again; None for audio."""


@dataclass(frozen=True, slots=True)
class AcceptedTrack:
    """What a subscriber's answer makes of one offered track."""

    mid: str
    payload_types: dict[int, int]
    """The offered payload types that it takes, and the number that it wants each under."""
    rtx_payload_type: int | None


@dataclass(frozen=True, slots=True)
class SubscriberAnswer:
    """A subscriber's answer, understood; tracks that it refused are missing."""

    transport: RemoteTransport
    tracks: tuple[AcceptedTrack, ...]


def parse_offer(text: str, *, max_tracks: int) -> PublisherOffer:
    """Understand a publisher's offer; raise `SdpError` or `NoCommonCodecError`."""
    description = _parse(text)
    groups = sdp.grouplines(text)[1]
    bundle_only = [any(line.strip() == "a=bundle-only" for line in lines) for lines in groups]
    tracks: list[TrackParameters | None] = []
    sending = 0
    for number, (section, bundled) in enumerate(zip(description.media, bundle_only, strict=True)):
        offered = section.kind in SUPPORTED_CODECS and (section.port != 0 or bundled)
        sends = offered and (section.direction or "sendrecv") in {"sendrecv", "sendonly"}
        sending += sends
        tracks.append(_track_parameters(section, number) if sends else None)
    accepted = [(track, section) for track, section in zip(tracks, description.media, strict=True) if track is not None]
    if not sending:
        raise SdpError("the offer sends no audio or video: it needs an m=audio or m=video line with a=sendonly")
    if not accepted:
        raise NoCommonCodecError(f"the offer has {_codec_names(description.media)}; forwarded are {_supported_names()}")
    if len(accepted) > max_tracks:
        raise SdpError(f"the offer sends {len(accepted)} tracks, at most {max_tracks} are taken")
    _check_bundle(description, [track for track, _ in accepted])
    stream_ids = [section.msid.split()[0] for _, section in accepted if section.msid and section.msid.strip()]
    # `-` stands for a track without a stream (RFC 8830 section 2).
    stream_id = next((name for name in stream_ids if name != "-"), "")
    return PublisherOffer(
        transport=_remote_transport(accepted[0][1], answer=False),
        stream_id=stream_id,
        tracks=tuple(tracks),
        sections=tuple(description.media),
    )


def build_answer(offer: PublisherOffer, local: LocalTransport) -> str:
    """Write the answer that receives the offer's accepted tracks and refuses its other sections."""
    description = _new_description(local, "answer")
    setup = offer.transport.role
    for section, track in zip(offer.sections, offer.tracks, strict=True):
        if track is None:
            description.media.append(_refused_section(section))
            continue
        codecs = [*track.codecs, *([track.rtx] if track.rtx else [])]
        media = _section(track, codecs, local, direction="recvonly", setup=setup)
        description.media.append(media)
    return _finish(description)


def build_offer(tracks: Sequence[SentTrack], stream_id: str, local: LocalTransport) -> str:
    """Write the offer that sends `tracks`, all in one MediaStream, to a subscriber."""
    description = _new_description(local, "offer")
    for track in tracks:
        parameters = track.parameters
        codecs = [_offered_codec(codec, parameters.extensions) for codec in parameters.codecs]
        if track.rtx is not None:
            codecs.append(track.rtx)
        media = _section(parameters, codecs, local, direction="sendonly", setup="auto")
        media.msid = f"{stream_id} {parameters.track_id}"
        media.ssrc = [sdp.SsrcDescription(ssrc=track.ssrc, cname=track.cname, msid=media.msid)]
        if track.rtx is not None:
            media.ssrc.append(sdp.SsrcDescription(ssrc=track.rtx_ssrc, cname=track.cname, msid=media.msid))
            media.ssrc_group = [sdp.GroupDescription(semantic="FID", items=[track.ssrc, track.rtx_ssrc])]
        description.media.append(media)
    return _finish(description)


def parse_answer(text: str, tracks: Sequence[SentTrack]) -> SubscriberAnswer:
    """Understand a subscriber's answer to `build_offer`; raise `SdpError` or `NoCommonCodecError`."""
    description = _parse(text)
    if len(description.media) != len(tracks):
        raise SdpError(f"the answer has {len(description.media)} m-lines, the offer has {len(tracks)}")
    accepted: list[AcceptedTrack] = []
    first: sdp.MediaDescription | None = None
    for number, (section, track) in enumerate(zip(description.media, tracks, strict=True)):
        parameters = track.parameters
        if section.kind != parameters.kind or section.rtp.muxId not in {"", parameters.mid}:
            raise SdpError(
                f"m-line {number} of the answer is {section.kind} with mid {section.rtp.muxId!r:.{MAX_QUOTED}}, "
                f"the offer's is {parameters.kind} with mid {parameters.mid!r}"
            )
        if section.port == 0 or (section.direction or "sendrecv") not in {"recvonly", "sendrecv"}:
            continue
        _add_static_codecs(section)
        matched = _match_codecs(section, track)
        if matched is not None:
            accepted.append(matched)
            first = first or section
    if first is None:
        offered = ", ".join(f"{track.parameters.kind} {track.parameters.codec}" for track in tracks)
        raise NoCommonCodecError(f"the feed is sent as {offered}; the answer takes {_codec_names(description.media)}")
    return SubscriberAnswer(transport=_remote_transport(first, answer=True), tracks=tuple(accepted))


def retransmission_codec(parameters: TrackParameters, taken: set[int]) -> Codec | None:
    """Return the RTX codec to offer with a track, numbered as the publisher's or with a number not in `taken`.

    Loss on the way to a viewer is mended by us, whether or not the publisher knows RTX. None for audio, which conceals
    its losses sooner than a packet could come again.
    """
    if parameters.kind != "video":
        return None
    if parameters.rtx is not None:
        return parameters.rtx
    number = next((number for number in _DYNAMIC_PAYLOAD_TYPES if number not in taken), None)
    if number is None:
        return None
    codec = parameters.codec
    return Codec("rtx", "video", codec.clock_rate, None, number, (("apt", codec.payload_type),))


def _parse(text: str) -> sdp.SessionDescription:
    """Parse what aiortc understands of SDP, with limits before and one kind of error after."""
    if not text.startswith("v=0"):
        raise SdpError("this is not SDP: it does not begin with v=0")
    session_lines, sections = sdp.grouplines(text)
    if len(sections) > MAX_SECTIONS:
        raise SdpError(f"the description has {len(sections)} m-lines, at most {MAX_SECTIONS} are read")
    for number, lines in enumerate([session_lines, *sections]):
        if len(lines) > MAX_SECTION_LINES:
            where = f"m-line {number - 1}" if number else "the session part"
            raise SdpError(f"{where} has {len(lines)} lines, at most {MAX_SECTION_LINES} are read")
    for lines in sections:
        if not _MEDIA_LINE.match(lines[0]):
            raise SdpError(f"bad line {_quote(lines[0])}: expected m=<kind> <port> <protocol> <formats>")
    try:
        return sdp.SessionDescription.parse(text)
    except _PARSE_ERRORS as exc:
        raise SdpError(f"bad line {_quote(_first_bad_line(text))}") from exc


def _first_bad_line(text: str) -> str:
    """Find the line at which parsing fails, by halving: a prefix fails from the bad line on."""
    lines = text.splitlines()
    good, bad = 0, len(lines)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            sdp.SessionDescription.parse("\r\n".join(lines[:middle]) + "\r\n")
        except _PARSE_ERRORS:
            bad = middle
        else:
            good = middle
    return lines[bad - 1]


def _quote(line: str) -> str:
    # An SDP password must not come back in an error, which may be logged.
    if line.startswith("a=ice-pwd"):
        line = "a=ice-pwd:..."
    return repr(line if len(line) <= MAX_QUOTED else line[:MAX_QUOTED] + "...")


def _add_static_codecs(section: sdp.MediaDescription) -> None:
    """Add the codecs whose payload type alone names them and whose rtpmap may be left out."""
    if section.kind != "audio":
        return
    known = {codec.payloadType for codec in section.rtp.codecs}
    for number in section.fmt:
        if number in _STATIC_CODECS and number not in known:
            name, clock_rate = _STATIC_CODECS[number]
            section.rtp.codecs.append(
                RTCRtpCodecParameters(mimeType=f"audio/{name}", clockRate=clock_rate, channels=1, payloadType=number)
            )


def _codecs_in_order(section: sdp.MediaDescription) -> list[RTCRtpCodecParameters]:
    """Return the section's codecs in the order of its m-line, which is the sender's preference."""
    _add_static_codecs(section)
    by_number = {codec.payloadType: codec for codec in section.rtp.codecs}
    return [by_number[number] for number in section.fmt if number in by_number]


def _track_parameters(section: sdp.MediaDescription, number: int) -> TrackParameters | None:
    """Choose the codec of one sending section; None where none is supported."""
    if not section.rtp.muxId:
        raise SdpError(f"m-line {number} ({section.kind}) has no a=mid")
    if not section.rtcp_mux:
        raise SdpError(f"m-line {number} ({section.kind}) has no a=rtcp-mux: RTP and RTCP share one port here")
    kind = cast("Kind", section.kind)
    supported = {name.lower() for name in SUPPORTED_CODECS[kind]}
    codecs = _codecs_in_order(section)
    chosen = next((codec for codec in codecs if codec.name.lower() in supported), None)
    if chosen is None:
        return None
    extensions = {
        header.uri: header.id for header in section.rtp.headerExtensions if header.uri in SUPPORTED_EXTENSIONS
    }
    allowed = SUPPORTED_FEEDBACK - (frozenset() if TRANSPORT_CC in extensions else {"transport-cc"})
    if ABS_SEND_TIME not in extensions:
        allowed -= {"goog-remb"}
    sent = [codec for codec in codecs if codec is chosen or _wraps(codec, chosen)]
    rtx = next(
        (
            codec
            for codec in codecs
            if codec.name.lower() == "rtx" and codec.parameters.get("apt") == chosen.payloadType
        ),
        None,
    )
    ssrc, rtx_ssrc = _ssrcs(section)
    msid = (section.msid or "").split()
    return TrackParameters(
        mid=section.rtp.muxId,
        kind=kind,
        track_id=msid[1] if len(msid) > 1 else f"{kind}-{section.rtp.muxId}",
        codecs=tuple(_codec(codec, kind, allowed) for codec in sent),
        rtx=_codec(rtx, kind, frozenset()) if rtx is not None else None,
        extensions=extensions,
        ssrc=ssrc,
        rtx_ssrc=rtx_ssrc,
        cname=next((info.cname for info in section.ssrc if info.cname), None),
    )


def _wraps(codec: RTCRtpCodecParameters, primary: RTCRtpCodecParameters) -> bool:
    """Tell whether `codec` is RED (RFC 2198) around `primary`, by its fmtp such as `111/111`."""
    if codec.name.lower() != "red" or codec.clockRate != primary.clockRate:
        return False
    return any(set(name.split("/")) == {str(primary.payloadType)} for name in codec.parameters)


def _ssrcs(section: sdp.MediaDescription) -> tuple[int | None, int | None]:
    """Return the SSRCs of the section's stream and of its retransmissions, where it names them."""
    for group in section.ssrc_group:
        if group.semantic == "FID" and len(group.items) == 2:
            return cast("int", group.items[0]), cast("int", group.items[1])
    return (section.ssrc[0].ssrc if section.ssrc else None), None


def _codec(codec: RTCRtpCodecParameters, kind: Kind, allowed: frozenset[str]) -> Codec:
    feedback = {f"{item.type} {item.parameter}" if item.parameter else item.type for item in codec.rtcpFeedback}
    return Codec(
        name=codec.name,
        kind=kind,
        clock_rate=codec.clockRate,
        channels=codec.channels,
        payload_type=cast("int", codec.payloadType),
        parameters=tuple(codec.parameters.items()),
        feedback=frozenset(feedback) & allowed,
    )


def _offered_codec(codec: Codec, extensions: dict[str, int]) -> Codec:
    """Return a publisher's codec with the feedback that we want of viewers: their RTCP ends here."""
    feedback = {"nack", "nack pli", "ccm fir"} if codec.kind == "video" else set()
    if codec.kind == "video" and ABS_SEND_TIME in extensions:
        feedback.add("goog-remb")
    if TRANSPORT_CC in extensions:
        feedback.add("transport-cc")
    return Codec(
        codec.name,
        codec.kind,
        codec.clock_rate,
        codec.channels,
        codec.payload_type,
        codec.parameters,
        frozenset(feedback),
    )


def _match_codecs(section: sdp.MediaDescription, track: SentTrack) -> AcceptedTrack | None:
    """Find the offered codecs in one section of an answer, by number or else by name; None where none is there."""
    codecs = _codecs_in_order(section)

    def find(codec: Codec) -> int | None:
        same = [c for c in codecs if c.name.lower() == codec.name.lower() and c.clockRate == codec.clock_rate]
        numbers = [cast("int", c.payloadType) for c in same]
        if codec.payload_type in numbers:
            return codec.payload_type
        return numbers[0] if numbers else None

    payload_types = {
        codec.payload_type: number for codec in track.parameters.codecs if (number := find(codec)) is not None
    }
    if track.parameters.codec.payload_type not in payload_types:
        return None
    rtx = find(track.rtx) if track.rtx is not None else None
    return AcceptedTrack(mid=track.parameters.mid, payload_types=payload_types, rtx_payload_type=rtx)


def _check_bundle(description: sdp.SessionDescription, tracks: Iterable[TrackParameters]) -> None:
    """Require one transport for everything: there is one port, and addresses tell peers apart."""
    mids = [track.mid for track in tracks]
    if len(set(mids)) != len(mids):
        raise SdpError("two m-lines have the same a=mid")
    bundled = {mid for group in description.group if group.semantic == "BUNDLE" for mid in group.items}
    missing = [mid for mid in mids if mid not in bundled]
    if len(mids) > 1 and missing:
        raise SdpError(f"a=group:BUNDLE does not name mid {missing[0]!r:.{MAX_QUOTED}}: all media share one transport")


def _remote_transport(section: sdp.MediaDescription, *, answer: bool) -> RemoteTransport:
    ice = section.ice
    if ice is None or not ice.usernameFragment or not ice.password:
        raise SdpError("a=ice-ufrag or a=ice-pwd is missing")
    dtls = section.dtls
    if dtls is None:
        raise SdpError("a=setup is missing: expected " + ("active or passive" if answer else "actpass"))
    if not any(fingerprint.algorithm.lower() in FINGERPRINT_ALGORITHMS for fingerprint in dtls.fingerprints):
        raise SdpError("a=fingerprint is missing or of an unknown algorithm: expected sha-256")
    # aiortc calls the remote setup `active` client and `passive` server; in an offer `auto` leaves the choice to us,
    # and passive is ours: the peer then begins as soon as its own ICE is ready (RFC 8842 section 5.3).
    if answer and dtls.role == "auto":
        raise SdpError("a=setup:actpass stands in an answer: expected active or passive")
    return RemoteTransport(
        ufrag=ice.usernameFragment,
        fingerprints=tuple((item.algorithm.lower(), item.value) for item in dtls.fingerprints),
        role="client" if dtls.role == "server" else "server",
    )


def _new_description(local: LocalTransport, kind: str) -> sdp.SessionDescription:
    description = sdp.SessionDescription()
    description.origin = f"- {local.session_id} 1 IN IP4 {_ANY_HOST}"
    description.msid_semantic = [sdp.GroupDescription(semantic="WMS", items=["*"])]
    description.type = kind
    return description


def _finish(description: sdp.SessionDescription) -> str:
    mids: list[int | str] = [media.rtp.muxId for media in description.media if media.port != 0]
    description.group = [sdp.GroupDescription(semantic="BUNDLE", items=mids)]
    return str(description)


def _section(
    track: TrackParameters, codecs: Sequence[Codec], local: LocalTransport, *, direction: str, setup: str
) -> sdp.MediaDescription:
    """Write one accepted section; the transport's lines are the same in all, since all are bundled."""
    media = sdp.MediaDescription(
        kind=track.kind,
        port=_DISCARD_PORT,
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


def _refused_section(section: sdp.MediaDescription) -> sdp.MediaDescription:
    """Write the section that refuses `section`: port 0, formats repeated (RFC 3264 section 6)."""
    media = sdp.MediaDescription(kind=section.kind, port=0, profile=section.profile, fmt=section.fmt)
    media.host = _ANY_HOST
    media.direction = "inactive"
    media.rtp.muxId = section.rtp.muxId
    media.ice = RTCIceParameters()
    return media


def _candidates(addresses: Sequence[tuple[str, int]]) -> list[RTCIceCandidate]:
    """Return host candidates, each preferred to the next (RFC 8445 section 5.1.2.1)."""
    return [
        RTCIceCandidate(
            component=1,
            foundation=str(number + 1),
            ip=host,
            port=port,
            priority=(126 << 24) | ((65535 - number) << 8) | 255,
            protocol="udp",
            type="host",
        )
        for number, (host, port) in enumerate(addresses)
    ]


def _codec_names(sections: Iterable[sdp.MediaDescription]) -> str:
    names = {
        f"{section.kind} {codec.name}"
        for section in sections
        if section.port != 0
        for codec in section.rtp.codecs
        if codec.name.lower() not in {"rtx", "red", "ulpfec", "flexfec-03"}
    }
    return ", ".join(sorted(names)) or "none"


def _supported_names() -> str:
    return ", ".join(f"{kind} {name}" for kind, names in SUPPORTED_CODECS.items() for name in names)
