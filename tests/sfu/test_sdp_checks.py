"""Descriptions that parse and yet would do harm, by what they cost or by numbers that no packet can carry."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import pytest

from sfu.descriptions import MAX_SECTION_LINES
from sfu.negotiation import build_answer, parse_offer
from sfu.sdp_checks import MAX_CODECS, MAX_LINES, MAX_WILDCARD_FEEDBACK
from sfu.values import NoCommonCodecError, SdpError
from tests.sfu.test_negotiation import AUDIO, LOCAL, VIDEO, offer

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PARSE_SECONDS = 0.25
"""Of processor time for the worst that passes the limits; all peers wait meanwhile."""


@pytest.fixture(autouse=True, scope="module")
def others_objects_are_not_collected() -> Iterator[None]:
    """Have the collector leave alone what all the other tests keep, as the server has it leave its modules alone."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def refusal(text: str) -> str:
    with pytest.raises((SdpError, NoCommonCodecError)) as caught:
        parse_offer(text, max_tracks=16)
    return str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("VP8/90000", "VP8/0", "m-line 0 has a clock rate that is not between 1 and 4294967295"),
        ("VP8/90000", "VP8/4294967296", "clock rate"),
        ("a=rtpmap:100 H266", "a=rtpmap:128 H266", "m-line 0 has a payload type that is not between 0 and 127"),
        ("a=rtpmap:100 H266", "a=rtpmap:-1 H266", "payload type"),
        ("a=ssrc:222 cname:camera", "a=ssrc:4294967296 cname:camera", "m-line 0 has a SSRC that is not between"),
        ("FID 111 222", "FID 111 -1", "SSRC"),
        ("FID 111 222", "FID 111 111", "a=ssrc-group that names one SSRC twice"),
        ("a=rtpmap:97 rtx", "a=rtpmap:096 rtx", "m-line 0 has two a=rtpmap for one payload type"),
        ("a=extmap:4 ", "a=extmap:3 ", "m-line 0 has two a=extmap with the same id"),
        ("a=mid:0", "a=mid:0 1", "a=mid that is no token"),
        ("a=mid:0", f"a=mid:{'0' * 65}", "a=mid that is no token of at most 64"),
        ("H266/", f"{'H' * 65}/", "a codec whose name is no token of at most 64"),
        ("m=video", f"m={'v' * 33}", "expected m=<kind>"),
    ],
)
def test_what_no_packet_can_carry_is_refused_with_its_place(before: str, after: str, words: str) -> None:
    text = offer(VIDEO)
    assert before in text
    assert words in refusal(text.replace(before, after))


def test_channels_have_a_limit() -> None:
    assert "number of channels" in refusal(offer(AUDIO.replace("opus/48000/2", "opus/48000/256")))


def test_an_ssrc_that_two_tracks_name_is_the_first_ones() -> None:
    tracks = parse_offer(offer(AUDIO.replace("ssrc:333", "ssrc:111"), VIDEO), max_tracks=16).accepted
    assert [(track.ssrc, track.rtx_ssrc) for track in tracks] == [(111, None), (222, None)]


def test_a_format_named_often_is_answered_once() -> None:
    flood = offer(VIDEO.replace("SAVPF 96", "SAVPF" + " 96" * 50_000))
    parsed = parse_offer(flood, max_tracks=16)
    assert len(parsed.accepted[0].codecs) == 1
    assert len(build_answer(parsed, LOCAL)) < 2000


def test_extension_ids_that_ask_for_a_number_are_passed_over() -> None:
    track = parse_offer(offer(VIDEO.replace("a=extmap:3 ", "a=extmap:4096 ")), max_tracks=16).accepted[0]
    assert sorted(track.extensions.values()) == [4]


def test_an_error_is_short_however_long_its_cause() -> None:
    codecs = "".join(f"a=rtpmap:{number} {chr(97 + number % 26) * 60}{number}/90000\r\n" for number in range(96, 127))
    lines = VIDEO.split("a=rtpmap")[0].replace("96 97 98 99 100", " ".join(map(str, range(96, 127)))) + codecs
    assert len(refusal(offer(lines))) < 1000


def test_a_password_in_the_wrong_place_is_not_repeated() -> None:
    assert "hush" not in refusal(offer(VIDEO).replace("a=rtpmap:97 rtx/90000", "a=rtpmap:a=ice-pwd:hush"))


@pytest.mark.parametrize(
    "lines",
    [
        ["a=rtpmap:96 VP8/90000"] * 200 + ["a=rtcp-fb:96 nack"] * 300,
        [f"a=rtpmap:{number} VP8/90000" for number in range(MAX_CODECS + 1)],
        [f"a=rtpmap:{number} VP8/90000" for number in range(120)] + ["a=rtcp-fb:* nack"] * 400,
        ["a=rtcp-fb:* nack"] * (MAX_WILDCARD_FEEDBACK + 1),
        ["a=x"] * MAX_SECTION_LINES,
    ],
)
def test_lines_that_multiply_are_refused_before_they_are_parsed(lines: list[str]) -> None:
    begun = time.process_time()
    refusal("v=0\r\n" + ("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" + "\r\n".join(lines) + "\r\n") * 20)
    assert time.process_time() - begun < MAX_PARSE_SECONDS


def test_the_dearest_description_within_the_limits_holds_nobody_up() -> None:
    codecs = [f"a=rtpmap:{number} VP8/90000" for number in range(MAX_CODECS)]
    lines = [*codecs, *["a=rtcp-fb:* nack"] * MAX_WILDCARD_FEEDBACK]
    lines += [f"a=rtcp-fb:{number % MAX_CODECS} nack" for number in range(MAX_SECTION_LINES - len(lines) - 1)]
    section = "m=video 9 UDP/TLS/RTP/SAVPF 1\r\n" + "\r\n".join(lines) + "\r\n"
    text = "v=0\r\n" + section * (MAX_LINES // MAX_SECTION_LINES)
    for bad in ("", "a=setup:sideways\r\n"):
        begun = time.process_time()
        refusal(text.replace("a=rtpmap:0 VP8/90000\r\n", bad))
        assert time.process_time() - begun < MAX_PARSE_SECONDS
