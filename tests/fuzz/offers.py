"""Fuzz the negotiator with publishers' offers: what is accepted can be answered, forwarded and offered to viewers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiortc import sdp
from hypothesis import strategies as st

from sfu.feed import Feed
from sfu.negotiation import SUPPORTED_CODECS, build_answer, build_offer, parse_answer, parse_offer
from sfu.parameters import Candidate, LocalTransport, TrackParameters
from sfu.relay import MediaRelay
from sfu.subscriber import Subscriber
from sfu.values import NoCommonCodecError, SdpError

from .harness import Target
from .mutators import MAX_REPEATS, NUMBERS, mutate_lines

if TYPE_CHECKING:
    from random import Random

    from sfu.parameters import Codec, PublisherOffer
    from sfu.publisher import Source

MAX_ERROR_CHARS = 1000
MAX_TRACKS = 16
LOCAL = LocalTransport(
    7,
    1,
    "ufrag",
    "p" * 24,
    (("sha-256", ":".join(["AB"] * 32)),),
    (Candidate("127.0.0.1", 8003), Candidate("127.0.0.1", 8003, "tcp")),
)
TOKENS = (
    *("v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "c=IN IP6 ::1", "c=IN IP4 x", "a=group:BUNDLE 0 1", "a="),
    *("a=group:BUNDLE", "m=audio 9 UDP/TLS/RTP/SAVPF 111 0", "m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=video 0 X 96"),
    *("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:0", "a=mid:1", "a=mid:0 1", "a=bundle-only", "m=x"),
    *("a=sendonly", "a=recvonly", "a=inactive", "a=sendrecv", "a=rtcp-mux", "a=rtcp:9", "a=setup:actpass"),
    *("a=setup:active", "a=setup:passive", "a=setup:holdconn", "a=ice-ufrag:u", "a=ice-pwd:secret", "a=ice-lite"),
    *("a=fingerprint:sha-256 AA", "a=fingerprint:sha-1 AA", "a=extmap:1 u", "a=extmap:4/sendonly u", "a=msid:- x"),
    *("a=rtpmap:96 VP8/90000", "a=rtpmap:96 H264/90000", "a=rtpmap:111 opus/48000/2", "a=fmtp:96 apt=96", "a=rtpmap:1"),
    *(
        "a=fmtp:97 apt=96",
        "a=rtpmap:97 rtx/90000",
        "a=rtcp-fb:* nack",
        "a=rtcp-fb:96 nack pli",
        "a=rtpmap:63 red/48000/2",
    ),
    *(
        "a=fmtp:63 111/111",
        "a=ssrc:1 cname:c",
        "a=ssrc-group:FID 1 2",
        "a=ssrc-group:FID 1 1",
        "a=ssrc-group:SIM 1 2 3",
    ),
    *("a=simulcast:send h;m;l", "a=rid:h send", "a=candidate:1 1 udp 1 127.0.0.1 1 typ host", "a=end-of-candidates"),
    *(
        "a=sctp-port:5000",
        "a=max-message-size:1",
        "a=sctpmap:5000 webrtc-datachannel 1024",
        "VP8",
        "red",
        "rtx",
        "opus",
    ),
    *("\u2028", "\0", "é", "\x1c", "video", "audio", "application", "96", "97", "111", "0", "1", "-", "*"),
)


def one_input(data: bytes) -> None:
    """Negotiate an offer to the end. Documented: `SdpError`, `NoCommonCodecError`, with short texts."""
    text = data.decode("utf-8", "replace")
    try:
        # Of a live publication a further offer may do what a first may not.
        further = parse_offer(text, max_tracks=MAX_TRACKS, further=True)
        _check_answer(further, text)
        offer = parse_offer(text, max_tracks=MAX_TRACKS)
    except (SdpError, NoCommonCodecError) as error:
        check_error(str(error))
        return
    assert 0 < len(offer.accepted) <= MAX_TRACKS
    for track in offer.accepted:
        check_track(track)
    _check_ssrcs(offer)
    _check_answer(offer, text)
    _check_viewers_offer(offer)


def check_error(text: str) -> None:
    """Hold an error's text against what may be sent back and logged."""
    assert len(text) <= MAX_ERROR_CHARS, f"an error of {len(text)} characters"
    assert "ice-pwd:" not in text.replace("ice-pwd:...", ""), text


def check_track(track: TrackParameters) -> None:
    """Hold a track against the widths of the fields that its values go into."""
    assert 0 < len(track.mid.encode()) <= 255
    assert len(track.codecs) <= 2
    for codec in (*track.codecs, *([track.rtx] if track.rtx else [])):
        _check_codec(codec)
    assert track.codec.name.lower() in {name.lower() for name in SUPPORTED_CODECS[track.kind]}
    assert all(1 <= number <= 255 for number in track.extensions.values()), track.extensions
    assert len(set(track.extensions.values())) == len(track.extensions), track.extensions
    assert all(ssrc is None or 0 <= ssrc < 1 << 32 for ssrc in (track.ssrc, track.rtx_ssrc))


def _check_codec(codec: Codec) -> None:
    assert 0 <= codec.payload_type <= 127, codec.payload_type
    assert 1 <= codec.clock_rate < 1 << 32, codec.clock_rate
    assert codec.channels is None or 1 <= codec.channels <= 255, codec.channels


def _check_ssrcs(offer: PublisherOffer) -> None:
    ssrcs = [ssrc for track in offer.accepted for ssrc in (track.ssrc, track.rtx_ssrc) if ssrc is not None]
    assert len(set(ssrcs)) == len(ssrcs), "one SSRC for two streams"


def _check_answer(offer: PublisherOffer, text: str) -> None:
    answer = build_answer(offer, LOCAL)
    assert len(answer) <= len(text) + 1200 * len(offer.sections) + 1000, f"{len(text)} characters give {len(answer)}"
    assert "\n" not in answer.replace("\r\n", "")
    media = sdp.SessionDescription.parse(answer).media
    assert [section.kind for section in media] == [section.kind for section in offer.sections]
    taken = [sent or idle for sent, idle in zip(offer.tracks, offer.idle, strict=True)]
    assert [section.port != 0 for section in media] == [track is not None for track in taken]


def _check_viewers_offer(offer: PublisherOffer) -> None:
    """Offer the tracks to a viewer that takes them: as the feed's first, and where it had others before."""
    for before in (None, BEFORE):
        relay = MediaRelay(lambda: None, None)
        feed = Feed(1, relay, offer.stream_id, 1.0)
        if before is not None:
            feed.take(feed.plan(before, same_connection=False))
        try:
            feed.take(feed.plan(offer, same_connection=before is None))
        except SdpError as error:
            check_error(str(error))
            continue
        subscriber = Subscriber(feed.producers, relay, "cname", lambda _data: None)
        text = build_offer(subscriber.offered, feed.stream_id, LOCAL)
        answer = text.replace("a=sendonly\r\n", "a=recvonly\r\n").replace("a=setup:actpass", "a=setup:active")
        accepted = parse_answer(answer, subscriber.offered)
        assert [track.mid for track in accepted.tracks] == [track.parameters.mid for track in subscriber.offered]
        for track in subscriber.offered:
            check_track(track.parameters)
        for source in feed.sources:
            _check_translation(source)


def _check_translation(source: Source) -> None:
    """Hold the numbers that a packet is given against the bits that they go into."""
    if source.translation is not None:
        assert all(0 <= number <= 127 for number in source.translation.payload_types.values())
        assert all(1 <= number <= 255 for number in source.translation.extensions.values())


def mutate(rng: Random, corpus: list[bytes]) -> bytes:
    """Change lines of a client's offer."""
    return mutate_lines(rng, corpus, TOKENS)


_parts = st.sampled_from(TOKENS) | st.sampled_from(NUMBERS) | st.text(max_size=12)
_lines = st.one_of(
    st.sampled_from(TOKENS),
    st.builds("a=rtpmap:{} {}/{}".format, _parts, _parts, _parts),
    st.builds("a=fmtp:{} {}={}".format, _parts, _parts, _parts),
    st.builds("a=rtcp-fb:{} {}".format, _parts, _parts),
    st.builds("a=extmap:{} {}".format, _parts, _parts),
    st.builds("a=ssrc:{} cname:{}".format, _parts, _parts),
    st.builds("a=ssrc-group:FID {} {}".format, _parts, _parts),
    st.builds("m={} {} {} {}".format, _parts, _parts, _parts, _parts),
)
_blocks = st.lists(_lines, max_size=12) | st.builds(
    lambda line, count: [line] * count, _lines, st.integers(0, MAX_REPEATS)
)
_HEAD = "\r\n".join(
    (
        *("v=0", "a=group:BUNDLE 0 1", "a=setup:actpass", "a=ice-ufrag:u", "a=ice-pwd:secret"),
        *("a=fingerprint:sha-256 AA", "m=video 9 UDP/TLS/RTP/SAVPF 96 97", "a=mid:0", "a=rtcp-mux", "a=sendonly"),
        "a=rtpmap:96 VP8/90000\r\n",
    )
)
BEFORE = parse_offer(_HEAD.replace("96", "102").replace("a=mid:0", "a=mid:5"), max_tracks=1)
"""What the feed had before, under other numbers."""
strategy = st.lists(_blocks, max_size=4).map(
    lambda blocks: (_HEAD + "\r\n".join(line for block in blocks for line in block)).encode("utf-8", "replace")
)
TARGET = Target("offers", one_input, mutate, strategy)
