"""Negotiation: SDP offers and answers to parameter values and back (RFC 8829, RFC 9143). Pure.

Publishers offer and we answer; to subscribers we offer what the publisher sends, with the publisher's own payload
types, header extension ids, mids and msid. So one packet fits every viewer as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from aiortc import sdp
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from .descriptions import (
    MAX_QUOTED,
    MAX_SECTIONS,
    accepted_section,
    finish,
    new_description,
    parse_description,
    refused_section,
)
from .parameters import (
    AcceptedTrack,
    Codec,
    LocalTransport,
    PublisherOffer,
    RemoteTransport,
    SentTrack,
    SubscriberAnswer,
    TrackParameters,
)
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


START_BITRATE_KBPS: Final = 1000
"""What libwebrtc's encoder is told to begin with, in the answer's fmtp. By itself it begins with 300 kbit/s, at which
a 720p camera is scaled down to 270 lines, and takes some 12 s to come back; measured, it is above 1.5 Mbit/s within 2 s
so. Its congestion control goes below at once where the uplink has less."""

MAX_NAMED_CODECS: Final = 12
"""Of one side, in an error; a browser has some ten."""

DYNAMIC_PAYLOAD_TYPES: Final = tuple(range(96, 128)) + tuple(range(35, 64))
_STATIC_CODECS: Final = {0: ("PCMU", 8000), 8: ("PCMA", 8000), 9: ("G722", 8000)}  # RFC 3551 section 6


def parse_offer(
    text: str, *, max_tracks: int, max_sections: int = MAX_SECTIONS, further: bool = False
) -> PublisherOffer:
    """Understand a publisher's offer; raise `SdpError` or `NoCommonCodecError`.

    A `further` one, on a publication that lives, may send nothing: every camera may be off for a while.
    """
    description = parse_description(text, max_sections)
    groups = sdp.grouplines(text)[1]
    bundle_only = [any(line.strip() == "a=bundle-only" for line in lines) for lines in groups]
    tracks: list[TrackParameters | None] = []
    idle: list[TrackParameters | None] = []
    sending = 0
    for number, (section, bundled) in enumerate(zip(description.media, bundle_only, strict=True)):
        offered = section.kind in SUPPORTED_CODECS and (section.port != 0 or bundled)
        sends = offered and (section.direction or "sendrecv") in {"sendrecv", "sendonly"}
        sending += sends
        tracks.append(_track_parameters(section, number) if sends else None)
        complete = section.rtp.muxId and section.rtcp_mux and _is_bundled(description, section)
        idle.append(_track_parameters(section, number) if offered and not sends and complete else None)
    accepted = [(track, section) for track, section in zip(tracks, description.media, strict=True) if track is not None]
    carriers = [s for s, *both in zip(description.media, tracks, idle, strict=True) if any(both)]
    if not sending and not (further and carriers):
        raise SdpError("the offer sends no audio or video: it needs an m=audio or m=video line with a=sendonly")
    if sending and not accepted:
        raise NoCommonCodecError(f"the offer has {_codec_names(description.media)}; forwarded are {_supported_names()}")
    if len(accepted) > max_tracks:
        raise SdpError(f"the offer sends {len(accepted)} tracks, at most {max_tracks} are taken")
    _check_bundle(description, [track for track in (*tracks, *idle) if track is not None])
    stream_ids = [section.msid.split()[0] for _, section in accepted if section.msid and section.msid.strip()]
    # `-` stands for a track without a stream (RFC 8830 section 2).
    stream_id = next((name for name in stream_ids if name != "-"), "")
    return PublisherOffer(
        transport=_remote_transport((accepted[0][1] if accepted else carriers[0]), answer=False),
        session_id=_session_id(description),
        stream_id=stream_id,
        tracks=tuple(tracks),
        idle=tuple(idle),
        sections=tuple(description.media),
    )


def build_answer(offer: PublisherOffer, local: LocalTransport) -> str:
    """Write the answer that receives the offer's accepted tracks and refuses the sections that are of no use."""
    description = new_description(local, "answer")
    setup = offer.transport.role
    for section, sent, idle in zip(offer.sections, offer.tracks, offer.idle, strict=True):
        track = sent or idle
        if track is None:
            description.media.append(refused_section(section))
            continue
        codecs = [*map(_answered_codec, track.codecs), *([track.rtx] if track.rtx else [])]
        direction = "recvonly" if sent else "inactive"
        media = accepted_section(track, codecs, local, direction=direction, setup=setup)
        description.media.append(media)
    return finish(description)


def build_offer(tracks: Sequence[SentTrack], stream_id: str, local: LocalTransport, tag: str | None = None) -> str:
    """Write the offer that sends `tracks`, all in one MediaStream, to a subscriber.

    In a further offer, `tag` is the mid of the section whose transport the bundle has.
    """
    description = new_description(local, "offer")
    for track in tracks:
        parameters = track.parameters
        codecs = [_offered_codec(codec, parameters.extensions) for codec in parameters.codecs]
        if track.rtx is not None:
            codecs.append(track.rtx)
        if track.use != "live":
            port = {} if track.use == "idle" else {"port": 0}
            media = accepted_section(parameters, codecs, local, direction="inactive", setup="auto", **port)
            description.media.append(media)
            continue
        media = accepted_section(parameters, codecs, local, direction="sendonly", setup="auto")
        media.msid = f"{stream_id} {parameters.track_id}"
        media.ssrc = [sdp.SsrcDescription(ssrc=track.ssrc, cname=track.cname, msid=media.msid)]
        if track.rtx is not None:
            media.ssrc.append(sdp.SsrcDescription(ssrc=track.rtx_ssrc, cname=track.cname, msid=media.msid))
            media.ssrc_group = [sdp.GroupDescription(semantic="FID", items=[track.ssrc, track.rtx_ssrc])]
        description.media.append(media)
    return finish(description, tag)


def parse_answer(text: str, tracks: Sequence[SentTrack]) -> SubscriberAnswer:
    """Understand a subscriber's answer to `build_offer`; raise `SdpError` or `NoCommonCodecError`.

    It has to take one track at least, where any was offered as live.
    """
    description = parse_description(text, max(len(tracks), MAX_SECTIONS))
    if len(description.media) != len(tracks):
        raise SdpError(f"the answer has {len(description.media)} m-lines, the offer has {len(tracks)}")
    accepted: list[AcceptedTrack] = []
    carriers: list[sdp.MediaDescription] = []
    rejected: set[str] = set()
    for number, (section, track) in enumerate(zip(description.media, tracks, strict=True)):
        parameters = track.parameters
        if section.kind != parameters.kind or section.rtp.muxId not in {"", parameters.mid}:
            raise SdpError(
                f"m-line {number} of the answer is {section.kind} with mid {section.rtp.muxId!r:.{MAX_QUOTED}}, "
                f"the offer's is {parameters.kind} with mid {parameters.mid!r}"
            )
        if section.port == 0:
            rejected.add(parameters.mid)
            continue
        carriers.append(section)
        if track.use != "live" or (section.direction or "sendrecv") not in {"recvonly", "sendrecv"}:
            continue
        _add_static_codecs(section)
        matched = _match_codecs(section, track)
        if matched is not None:
            accepted.append(matched)
    live = [track.parameters for track in tracks if track.use == "live"]
    if live and not accepted:
        offered = ", ".join(f"{parameters.kind} {parameters.codec}" for parameters in live)
        raise NoCommonCodecError(f"the feed is sent as {offered}; the answer takes {_codec_names(description.media)}")
    if not carriers:
        raise SdpError("the answer rejects every m-line: there is nothing left to carry the connection")
    transport = _remote_transport(carriers[0], answer=True)
    return SubscriberAnswer(
        transport=transport,
        tracks=tuple(accepted),
        rejected=frozenset(rejected),
        starts_early=any(_takes_full_intra_requests(section) for section in carriers),
    )


def retransmission_codec(parameters: TrackParameters, taken: set[int]) -> Codec | None:
    """Return the RTX codec to offer with a track, numbered as the publisher's or with a number not in `taken`.

    Loss on the way to a viewer is mended by us, whether or not the publisher knows RTX. None for audio, which conceals
    its losses sooner than a packet could come again.
    """
    if parameters.kind != "video":
        return None
    if parameters.rtx is not None:
        return parameters.rtx
    number = next((number for number in DYNAMIC_PAYLOAD_TYPES if number not in taken), None)
    if number is None:
        return None
    codec = parameters.codec
    return Codec("rtx", "video", codec.clock_rate, None, number, (("apt", codec.payload_type),))


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


def _answered_codec(codec: Codec) -> Codec:
    """Return a publisher's codec with what we ask of its encoder, where its sender hears our feedback."""
    if codec.kind != "video" or "transport-cc" not in codec.feedback:
        return codec
    return replace(codec, parameters=(*codec.parameters, ("x-google-start-bitrate", START_BITRATE_KBPS)))


def _offered_codec(codec: Codec, extensions: dict[str, int]) -> Codec:
    """Return a publisher's codec with the feedback that we want of viewers: their RTCP ends here."""
    # libwebrtc leaves rrtr out of its answer, and yet begins to ask for its round trip (RFC 3611 section 4.4).
    feedback = {"nack", "nack pli", "ccm fir", "rrtr"} if codec.kind == "video" else set()
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


def _takes_full_intra_requests(section: sdp.MediaDescription) -> bool:
    """Tell browsers and their relatives from stock aiortc, which is offered `ccm fir` and leaves it out (RFC 5104)."""
    return any(
        (item.type, item.parameter) == ("ccm", "fir") for codec in section.rtp.codecs for item in codec.rtcpFeedback
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


def _is_bundled(description: sdp.SessionDescription, section: sdp.MediaDescription) -> bool:
    groups = [group for group in description.group if group.semantic == "BUNDLE"]
    return any(section.rtp.muxId in group.items for group in groups)


def _session_id(description: sdp.SessionDescription) -> str:
    fields = (description.origin or "").split()
    return fields[1] if len(fields) > 1 else ""


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


def _codec_names(sections: Iterable[sdp.MediaDescription]) -> str:
    names = {
        f"{section.kind} {codec.name}"
        for section in sections
        if section.port != 0
        for codec in section.rtp.codecs
        if codec.name.lower() not in {"rtx", "red", "ulpfec", "flexfec-03"}
    }
    return ", ".join(sorted(names)[:MAX_NAMED_CODECS]) or "none"


def _supported_names() -> str:
    return ", ".join(f"{kind} {name}" for kind, names in SUPPORTED_CODECS.items() for name in names)
