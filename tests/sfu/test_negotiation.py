"""Offers and answers: what is chosen, what is refused and how the refusal reads."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription, sdp
from hypothesis import given
from hypothesis import strategies as st

from sfu.descriptions import MAX_SECTION_LINES
from sfu.negotiation import (
    START_BITRATE_KBPS,
    build_answer,
    build_offer,
    parse_answer,
    parse_offer,
    retransmission_codec,
)
from sfu.parameters import Candidate, LocalTransport, SentTrack
from sfu.values import NoCommonCodecError, SdpError

ANSWERS = Path(__file__).parents[1] / "fuzz" / "corpus" / "answers"
"""What clients sent."""
CANDIDATES = (Candidate("127.0.0.1", 8003), Candidate("127.0.0.1", 8003, "tcp"))
LOCAL = LocalTransport(7, 1, "ufrag", "p" * 24, (("sha-256", ":".join(["AB"] * 32)),), CANDIDATES)

SESSION = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\na=msid-semantic: WMS *\r\n"
TRANSPORT = (
    "c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:secretsecretsecretsecret\r\n"
    "a=fingerprint:sha-256 " + ":".join(["CD"] * 32) + "\r\na=setup:actpass\r\na=rtcp-mux\r\n"
)
VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100\r\n" + TRANSPORT + "a=mid:{mid}\r\na=sendonly\r\na=msid:cam front\r\n"
    "a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n"
    "a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n"
    "a=extmap:9 urn:example:unknown\r\n"
    "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 ccm fir\r\n"
    "a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 made up\r\n"
    "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
    "a=rtpmap:98 H264/90000\r\na=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r\n"
    "a=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\na=rtpmap:100 H266/90000\r\n"
    "a=ssrc-group:FID 111 222\r\na=ssrc:111 cname:camera\r\na=ssrc:222 cname:camera\r\n"
)
AUDIO = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0\r\n" + TRANSPORT + "a=mid:{mid}\r\na=sendrecv\r\na=msid:cam mic\r\n"
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
    "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;stereo=1;useinbandfec=1;usedtx=1\r\n"
    "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=ssrc:333 cname:camera\r\n"
)
DATA = (
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" + TRANSPORT.replace("a=rtcp-mux\r\n", "") + "a=mid:{mid}\r\n"
    "a=sctp-port:5000\r\n"
)


def offer(*sections: str) -> str:
    mids = " ".join(str(number) for number in range(len(sections)))
    return SESSION.format(mids=mids) + "".join(text.format(mid=number) for number, text in enumerate(sections))


def sent_tracks(text: str) -> list[SentTrack]:
    accepted = parse_offer(text, max_tracks=16).accepted
    taken = {codec.payload_type for track in accepted for codec in track.codecs}
    return [
        SentTrack(track, 1000 + number, 2000 + number, "cname", retransmission_codec(track, taken))
        for number, track in enumerate(accepted)
    ]


def answer_to(text: str) -> sdp.SessionDescription:
    return sdp.SessionDescription.parse(build_answer(parse_offer(text, max_tracks=16), LOCAL))


def test_the_first_supported_codec_is_taken_with_everything_that_both_sides_have() -> None:
    parsed = parse_offer(offer(AUDIO, VIDEO), max_tracks=16)
    audio, video = parsed.accepted
    assert (video.codec.name, video.codec.payload_type, video.rtx and video.rtx.payload_type) == ("VP8", 96, 97)
    assert video.feedback == {"goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"}
    assert sorted(video.extensions.values()) == [3, 4]
    assert (video.ssrc, video.rtx_ssrc, video.cname, video.track_id) == (111, 222, "camera", "front")
    assert [codec.name for codec in audio.codecs] == ["opus", "red"]
    assert dict(audio.codec.parameters) == {"minptime": 10, "stereo": 1, "useinbandfec": 1, "usedtx": "1"}
    assert parsed.stream_id == "cam"
    assert parsed.transport.role == "server"


def test_the_answer_receives_and_refuses_section_by_section() -> None:
    audio, data, video = answer_to(offer(AUDIO, DATA, VIDEO)).media
    assert [audio.direction, video.direction] == ["recvonly", "recvonly"]
    assert data.port == 0
    assert [codec.payloadType for codec in video.rtp.codecs] == [96, 97]
    assert [codec.payloadType for codec in audio.rtp.codecs] == [111, 63]
    assert audio.rtp.codecs[0].parameters["stereo"] == 1
    assert video.dtls is not None
    assert video.dtls.role == "server"
    assert video.ice is not None
    assert video.ice.iceLite
    udp, tcp = video.ice_candidates
    assert (udp.ip, udp.port, udp.protocol) == ("127.0.0.1", 8003, "udp")
    assert (tcp.ip, tcp.port, tcp.protocol, tcp.tcpType) == ("127.0.0.1", 8003, "tcp", "passive")
    assert udp.priority > tcp.priority


def test_an_encoder_that_hears_our_feedback_is_told_where_to_begin() -> None:
    heard = answer_to(offer(VIDEO)).media[0].rtp.codecs[0]
    assert heard.parameters == {"x-google-start-bitrate": str(START_BITRATE_KBPS)}
    deaf = answer_to(offer(VIDEO.replace("a=rtcp-fb:96 transport-cc\r\n", ""))).media[0].rtp.codecs[0]
    assert deaf.parameters == {}
    profile = answer_to(offer(VIDEO.replace("96 97 98 99 100", "98 99"))).media[0].rtp.codecs[0].parameters
    assert profile["profile-level-id"] == "640c1f"


def test_only_accepted_sections_are_bundled() -> None:
    assert answer_to(offer(AUDIO, DATA, VIDEO)).group[0].items == ["0", "2"]


def test_a_bundle_only_section_is_not_taken_for_a_refused_one() -> None:
    hidden = VIDEO.replace("m=video 9", "m=video 0").replace("a=mid:", "a=bundle-only\r\na=mid:")
    assert len(parse_offer(offer(AUDIO, hidden), max_tracks=16).accepted) == 2
    refused = VIDEO.replace("m=video 9", "m=video 0")
    assert len(parse_offer(offer(AUDIO, refused), max_tracks=16).accepted) == 1


def test_an_offer_that_wants_to_be_called_makes_us_the_dtls_client() -> None:
    assert parse_offer(offer(VIDEO.replace("actpass", "passive")), max_tracks=16).transport.role == "client"


def test_h264_is_taken_with_any_profile_and_mode() -> None:
    only = VIDEO.replace("96 97 98 99 100", "98 99")
    codec = parse_offer(offer(only), max_tracks=16).accepted[0].codec
    assert (codec.name, dict(codec.parameters)["profile-level-id"]) == ("H264", "640c1f")


def test_a_static_payload_type_needs_no_rtpmap() -> None:
    plain = AUDIO.replace("111 63 0", "0 111")
    assert parse_offer(offer(plain), max_tracks=16).accepted[0].codec.name == "PCMU"


def test_a_track_without_msid_still_has_an_id() -> None:
    parsed = parse_offer(offer(VIDEO.replace("a=msid:cam front\r\n", "")), max_tracks=16)
    assert (parsed.stream_id, parsed.accepted[0].track_id) == ("", "video-0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not begin with v=0"),
        ("garbage", "does not begin with v=0"),
        ("v=0\r\n", "sends no audio or video"),
        (offer(DATA), "sends no audio or video"),
        (offer(VIDEO.replace("sendonly", "recvonly")), "sends no audio or video"),
        (offer(*[VIDEO] * 200), "200 m-lines, at most 32"),
        (offer(*[VIDEO] * 20), "20 tracks, at most 16"),
        (offer(VIDEO + "a=ssrc:1 cname:x\r\n" * MAX_SECTION_LINES), "m-line 0 has"),
        (offer(VIDEO.replace("m=video 9", "m=video nine")), "m=video nine"),
        (offer(VIDEO.replace("a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP8/fast")), "a=rtpmap:96 VP8/fast"),
        (offer(VIDEO.replace("a=setup:actpass", "a=setup:sideways")), "a=setup:sideways"),
        (offer(VIDEO.replace("a=setup:actpass\r\n", "")), "a=setup is missing"),
        (offer(VIDEO.replace("a=ice-pwd:secretsecretsecretsecret\r\n", "")), "a=ice-pwd is missing"),
        (offer(VIDEO.replace("sha-256", "sha-1")), "expected sha-256"),
        (offer(VIDEO.replace("a=mid:{mid}\r\n", "")), "no a=mid"),
        (offer(VIDEO.replace("a=rtcp-mux\r\n", "")), "no a=rtcp-mux"),
        (offer(AUDIO, VIDEO).replace("BUNDLE 0 1", "BUNDLE 0"), "BUNDLE does not name mid '1'"),
        (offer(AUDIO.replace("{mid}", "0"), VIDEO.replace("{mid}", "0")), "same a=mid"),
    ],
)
def test_a_bad_offer_is_told_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(SdpError, match=".*".join(map(str, [words.replace("+", r"\+")]))):
        parse_offer(text, max_tracks=16)


def test_no_password_comes_back_in_an_error() -> None:
    text = offer(VIDEO).replace("a=ice-ufrag:abcd", "a=ice-pwd:hush\r\na=rtcp:x")
    with pytest.raises(SdpError) as caught:
        parse_offer(text, max_tracks=16)
    assert "secret" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_no_common_codec_names_both_sides() -> None:
    with pytest.raises(NoCommonCodecError, match=r"has video H266, video X; forwarded are video VP8, .*opus"):
        parse_offer(
            offer(VIDEO.replace("96 97 98 99 100", "100").replace("VP8", "X").replace("H264", "rtx")), max_tracks=9
        )


def test_viewers_are_offered_the_publishers_own_numbers() -> None:
    text = build_offer(sent_tracks(offer(AUDIO, VIDEO)), "cam", LOCAL)
    audio, video = sdp.SessionDescription.parse(text).media
    assert [codec.payloadType for codec in video.rtp.codecs] == [96, 97]
    assert [(codec.name, codec.payloadType) for codec in audio.rtp.codecs] == [("opus", 111), ("red", 63)]
    assert [video.msid, audio.msid] == ["cam front", "cam mic"]
    assert {header.id for header in video.rtp.headerExtensions} == {3, 4}
    assert video.ssrc_group[0].items == [1001, 2001]
    assert "a=rtcp-fb:96 rrtr\r\n" in text, "or a browser never learns its round trip"
    assert video.ssrc[0].cname == audio.ssrc[0].cname == "cname"
    assert video.direction == "sendonly"
    assert "a=ice-lite" in text


def test_a_viewer_gets_rtx_even_from_a_publisher_without() -> None:
    plain = VIDEO.replace("96 97 98 99 100", "96").replace("a=ssrc-group:FID 111 222\r\n", "")
    track = sent_tracks(offer(plain))[0]
    assert track.parameters.rtx is None
    assert track.rtx is not None
    assert track.rtx.payload_type != 96
    assert dict(track.rtx.parameters) == {"apt": 96}


async def test_a_stock_client_and_we_understand_each_other_both_ways() -> None:
    publisher, viewer = RTCPeerConnection(), RTCPeerConnection()
    try:
        publisher.addTransceiver("audio", direction="sendonly")
        publisher.addTransceiver("video", direction="sendonly")
        await publisher.setLocalDescription(await publisher.createOffer())
        parsed = parse_offer(publisher.localDescription.sdp, max_tracks=16)
        assert [track.codec.name for track in parsed.accepted] == ["opus", "VP8"]
        tracks = sent_tracks(publisher.localDescription.sdp)
        await viewer.setRemoteDescription(RTCSessionDescription(build_offer(tracks, "cam", LOCAL), "offer"))
        await viewer.setLocalDescription(await viewer.createAnswer())
        answer = parse_answer(viewer.localDescription.sdp, tracks)
        assert answer.transport.role == "server"
        assert [track.payload_types for track in answer.tracks] == [{96: 96}, {97: 97}]
        assert answer.tracks[1].rtx_payload_type == 98
        assert [r.track.kind for r in viewer.getReceivers()] == ["audio", "video"]
    finally:
        await publisher.close()
        await viewer.close()


def viewer_answer(text: str) -> str:
    return text.replace("a=setup:actpass", "a=setup:active").replace("sendonly", "recvonly")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.split("m=video")[0], "the answer has 1 m-lines, the offer has 2"),
        (lambda text: text.replace("a=setup:active", "a=setup:actpass"), "actpass stands in an answer"),
        (lambda text: text.replace("a=mid:1", "a=mid:9"), "m-line 1 of the answer is video with mid '9'"),
    ],
)
def test_a_bad_answer_is_told_what_is_wrong(change: object, words: str) -> None:
    tracks = sent_tracks(offer(AUDIO, VIDEO))
    text = viewer_answer(build_offer(tracks, "cam", LOCAL))
    assert callable(change)
    with pytest.raises(SdpError, match=words):
        parse_answer(change(text), tracks)


def test_an_answer_that_takes_no_codec_names_both_sides() -> None:
    tracks = sent_tracks(offer(VIDEO))
    text = viewer_answer(build_offer(tracks, "cam", LOCAL))
    with pytest.raises(NoCommonCodecError, match="sent as video VP8; the answer takes none"):
        parse_answer(text.replace("m=video 9", "m=video 0"), tracks)
    with pytest.raises(NoCommonCodecError, match="sent as video VP8; the answer takes video VP9"):
        parse_answer(text.replace("VP8", "VP9"), tracks)


def test_an_answer_may_refuse_one_track_and_renumber_another() -> None:
    tracks = sent_tracks(offer(AUDIO, VIDEO))
    text = viewer_answer(build_offer(tracks, "cam", LOCAL)).replace("m=audio 9", "m=audio 0")
    text = text.replace("SAVPF 96 97", "SAVPF 106 107").replace(":96 ", ":106 ").replace(":97 ", ":107 ")
    answer = parse_answer(text.replace("apt=96", "apt=106"), tracks)
    assert [(track.mid, track.payload_types, track.rtx_payload_type) for track in answer.tracks] == [
        ("1", {96: 106}, 107)
    ]


@pytest.mark.parametrize("client", ["chromium-0", "firefox-form-0", "aiortc-0"])
def test_an_answer_tells_whether_media_may_begin_at_once(client: str) -> None:
    text = (ANSWERS / client).read_bytes().decode()
    assert parse_answer(text, sent_tracks(offer(AUDIO, VIDEO))).starts_early is (client != "aiortc-0")


@given(st.lists(st.sampled_from(offer(AUDIO, VIDEO, DATA).split("\r\n")), max_size=80), st.text(max_size=30))
def test_shuffled_sdp_raises_nothing_but_its_own_errors(lines: list[str], extra: str) -> None:
    for text in (
        "v=0\r\n" + "\r\n".join(lines) + "\r\n",
        "v=0\r\n" + extra,
        "\r\n".join(["v=0", *lines, "a=" + extra]),
    ):
        with contextlib.suppress(SdpError, NoCommonCodecError):
            parse_offer(text, max_tracks=16)
