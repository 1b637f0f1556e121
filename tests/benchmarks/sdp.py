"""Just enough SDP for light peers: written by template and read by pattern, since parsing must not load the load."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

OPUS_PAYLOAD_TYPE = 111
VP8_PAYLOAD_TYPE = 96
RTX_PAYLOAD_TYPE = 97
ABS_SEND_TIME_ID = 2
TRANSPORT_CC_ID = 3
MID_ID = 4
"""Chromium's numbers."""

_EXTENSIONS = (
    f"a=extmap:{MID_ID} urn:ietf:params:rtp-hdrext:sdes:mid",
    f"a=extmap:{ABS_SEND_TIME_ID} http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    f"a=extmap:{TRANSPORT_CC_ID} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
)
_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")

Setup = Literal["actpass", "active", "passive"]
Direction = Literal["sendonly", "recvonly"]


@dataclass(frozen=True, slots=True)
class LocalDescription:
    """Our half of ICE and DTLS."""

    ufrag: str
    password: str
    fingerprint: str
    address: tuple[str, int]

    def attributes(self, setup: Setup) -> list[str]:
        """Return the lines that each m-section repeats."""
        host, port = self.address
        return [
            f"c=IN IP4 {host}",
            "a=rtcp-mux",
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.password}",
            f"a=fingerprint:sha-256 {self.fingerprint}",
            f"a=setup:{setup}",
            f"a=candidate:1 1 udp 2130706431 {host} {port} typ host",
            "a=end-of-candidates",
        ]


@dataclass(frozen=True, slots=True)
class Section:
    """One m-section of a server's description."""

    kind: str
    mid: str
    payload_types: tuple[int, ...]
    rtx: dict[int, int]
    """RTX payload type by the one that it repairs."""
    video_payload_type: int | None
    ssrcs: tuple[int, ...]
    lines: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemoteDescription:
    """What a light peer has to know of a server's description."""

    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    address: tuple[str, int]
    setup: str
    sections: tuple[Section, ...]


def parse(text: str) -> RemoteDescription:
    """Read a description; raise ValueError where something that a peer needs is missing."""
    blocks = re.split(r"\r?\n(?=m=)", text.strip())
    candidates = re.findall(r"a=candidate:\S+ 1 udp \d+ (\d[\d.]+) (\d+) typ host", text, re.IGNORECASE)
    if not candidates:
        raise ValueError("the server's description has no IPv4 host candidate over UDP")
    fingerprints = tuple((name.lower(), value) for name, value in re.findall(r"a=fingerprint:(\S+) (\S+)", text))
    return RemoteDescription(
        ufrag=_first(r"a=ice-ufrag:(\S+)", text),
        password=_first(r"a=ice-pwd:(\S+)", text),
        fingerprints=tuple(dict.fromkeys(fingerprints)),
        address=(candidates[0][0], int(candidates[0][1])),
        setup=_first(r"a=setup:(\S+)", text),
        sections=tuple(_section(block) for block in blocks[1:]),
    )


def offer(local: LocalDescription, direction: Direction, ssrcs: tuple[int, int, int] | None = None) -> str:
    """Write an offer of Opus as mid 0 and VP8 with RTX as mid 1; `ssrcs` are of audio, video and RTX, to send them."""
    cname = secrets.token_hex(4)
    lines = _session("0 1")
    lines += [f"m=audio 9 UDP/TLS/RTP/SAVPF {OPUS_PAYLOAD_TYPE}", *local.attributes("actpass")]
    lines += ["a=mid:0", f"a={direction}", f"a=rtpmap:{OPUS_PAYLOAD_TYPE} opus/48000/2", *_EXTENSIONS]
    lines.append(f"a=rtcp-fb:{OPUS_PAYLOAD_TYPE} transport-cc")
    if ssrcs is not None:
        lines += ["a=msid:bench audio", f"a=ssrc:{ssrcs[0]} cname:{cname}"]
    lines += [f"m=video 9 UDP/TLS/RTP/SAVPF {VP8_PAYLOAD_TYPE} {RTX_PAYLOAD_TYPE}", *local.attributes("actpass")]
    lines += ["a=mid:1", f"a={direction}", f"a=rtpmap:{VP8_PAYLOAD_TYPE} VP8/90000", *_EXTENSIONS]
    lines += [f"a=rtcp-fb:{VP8_PAYLOAD_TYPE} {feedback}" for feedback in _FEEDBACK]
    lines += [f"a=rtpmap:{RTX_PAYLOAD_TYPE} rtx/90000", f"a=fmtp:{RTX_PAYLOAD_TYPE} apt={VP8_PAYLOAD_TYPE}"]
    if ssrcs is not None:
        lines.append(f"a=ssrc-group:FID {ssrcs[1]} {ssrcs[2]}")
        lines += ["a=msid:bench video", *(f"a=ssrc:{ssrc} cname:{cname}" for ssrc in ssrcs[1:])]
    return "\r\n".join(lines) + "\r\n"


def without_transport_cc(text: str) -> str:
    """Return a description as one writes it who does not know transport-wide feedback, as aiortc."""
    lines = [line for line in text.splitlines() if "transport-cc" not in line and "transport-wide-cc" not in line]
    return "\r\n".join(lines) + "\r\n"


def answer(local: LocalDescription, remote: RemoteDescription) -> str:
    """Write the answer that receives all that `remote` offers, with its numbers."""
    lines = _session(" ".join(section.mid for section in remote.sections))
    for section in remote.sections:
        numbers = " ".join(map(str, section.payload_types))
        lines += [f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {numbers}", *local.attributes("active")]
        lines += [f"a=mid:{section.mid}", "a=recvonly"]
        lines += [
            line for line in section.lines if line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=extmap:"))
        ]
    return "\r\n".join(lines) + "\r\n"


def _session(mids: str) -> list[str]:
    return ["v=0", f"o=- {secrets.randbits(62)} 1 IN IP4 0.0.0.0", "s=-", "t=0 0", f"a=group:BUNDLE {mids}"]


def _section(block: str) -> Section:
    lines = block.splitlines()
    kind, numbers = _first(r"m=(\w+) ", lines[0]), [int(word) for word in lines[0].split()[3:] if word.isdigit()]
    rtx = {int(apt): int(number) for number, apt in re.findall(r"a=fmtp:(\d+) apt=(\d+)", block)}
    video = re.search(r"a=rtpmap:(\d+) VP8/", block, re.IGNORECASE)
    return Section(
        kind=kind,
        mid=_first(r"a=mid:(\S+)", block),
        payload_types=tuple(numbers),
        rtx=rtx,
        video_payload_type=int(video[1]) if video else None,
        ssrcs=tuple(dict.fromkeys(int(ssrc) for ssrc in re.findall(r"a=ssrc:(\d+)", block))),
        lines=tuple(lines),
    )


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"the server's description lacks {pattern!r}")
    return found[1]


def section_of(sections: Sequence[Section], kind: str) -> Section:
    """Return the first section of a kind; raise ValueError without one."""
    for section in sections:
        if section.kind == kind:
            return section
    raise ValueError(f"the server's description has no {kind}")
