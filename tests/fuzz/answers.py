"""Fuzz the negotiator with viewers' answers: what is accepted names what was offered."""

from __future__ import annotations

from sfu.negotiation import parse_answer, parse_offer, retransmission_codec
from sfu.parameters import SentTrack
from sfu.values import NoCommonCodecError, SdpError

from . import offers
from .harness import Target

_TRANSPORT = (
    "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:secretsecretsecretsecret\r\n"
    "a=fingerprint:sha-256 " + ":".join(["CD"] * 32) + "\r\na=setup:actpass\r\na=rtcp-mux\r\na=sendonly\r\n"
)
OFFER = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\n" + _TRANSPORT + "a=mid:0\r\na=msid:cam mic\r\n"
    "a=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=ssrc:333 cname:camera\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n" + _TRANSPORT + "a=mid:1\r\na=msid:cam front\r\n"
    "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n"
    "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n"
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 transport-cc\r\n"
    "a=rtcp-fb:96 goog-remb\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
    "a=ssrc-group:FID 111 222\r\na=ssrc:111 cname:camera\r\na=ssrc:222 cname:camera\r\n"
)
"""The offer of the device whose tracks the answers take: audio as mid 0, video as mid 1, numbered as Chromium does."""

PUBLISHED = parse_offer(OFFER, max_tracks=2)
TRACKS = [
    SentTrack(track, 1000 + number, 2000 + number, "cname", retransmission_codec(track, {96, 97, 111, 63}))
    for number, track in enumerate(PUBLISHED.accepted)
]


def one_input(data: bytes) -> None:
    """Take an answer. Documented: `SdpError`, `NoCommonCodecError`, with short texts."""
    text = data.decode("utf-8", "replace")
    try:
        answer = parse_answer(text, TRACKS)
    except (SdpError, NoCommonCodecError) as error:
        offers.check_error(str(error))
        return
    offered = {track.parameters.mid: track for track in TRACKS}
    assert 0 < len(answer.tracks) <= len(TRACKS)
    for track in answer.tracks:
        parameters = offered[track.mid].parameters
        assert parameters.codec.payload_type in track.payload_types
        assert set(track.payload_types) <= {codec.payload_type for codec in parameters.codecs}
        numbers = [*track.payload_types.values(), *([track.rtx_payload_type] if track.rtx_payload_type else [])]
        assert all(0 <= number <= 127 for number in numbers), numbers
        assert len(set(numbers)) == len(numbers), numbers
    assert answer.transport.ufrag
    assert answer.transport.fingerprints


TARGET = Target("answers", one_input, offers.mutate, offers.strategy)
