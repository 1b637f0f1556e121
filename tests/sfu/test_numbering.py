"""Numbering: viewers keep one meaning of each number while a publisher's connections come and go. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sfu.numbering import Numbering, continues, match_tracks, translation
from sfu.parameters import Codec
from sfu.rtp.extensions import ABS_SEND_TIME, MID, encode_extensions, iterate_extensions
from sfu.rtp.packet import build_packet, parse_header
from sfu.values import SdpError
from tests.helpers.outbound import audio_parameters, video_parameters

if TYPE_CHECKING:
    from sfu.parameters import TrackParameters


def video(track_id: str, mid: str = "0", payload_type: int = 96, codec: str = "VP8") -> TrackParameters:
    rtx = Codec("rtx", "video", 90_000, None, payload_type + 1, (("apt", payload_type),))
    codecs = (Codec(codec, "video", 90_000, None, payload_type),)
    return replace(video_parameters(), track_id=track_id, mid=mid, codecs=codecs, rtx=rtx)


def audio(track_id: str, mid: str = "1") -> TrackParameters:
    return replace(audio_parameters(), track_id=track_id, mid=mid)


@pytest.mark.parametrize(
    ("old", "new", "same_connection", "matches"),
    [
        ([video("a"), audio("m")], [video("a"), audio("m")], True, (0, 1)),
        ([video("a"), audio("m")], [audio("m"), video("a")], False, (1, 0)),
        ([video("a")], [video("a"), video("b")], True, (0, None)),
        ([video("a"), video("b")], [video("b")], True, (1,)),
        ([video("a"), audio("m")], [video("x"), audio("n")], False, (0, 1)),
        ([video("a"), audio("m")], [video("x"), audio("n")], True, (None, None)),
        ([video("a"), video("b")], [video("x"), video("a")], False, (1, 0)),
        ([video("a"), video("b")], [video("x")], False, (None,)),
        ([video("a")], [video("a", codec="H264")], False, (None,)),
        ([video("a")], [video("x", codec="H264")], False, (None,)),
        ([video("a"), video("b", codec="H264")], [video("x", codec="H264"), video("y")], False, (None, None)),
        ([video("a")], [video("a"), video("a")], True, (0, None)),
        ([], [video("a")], False, (None,)),
    ],
)
def test_tracks_go_on_by_id_or_on_a_new_connection_by_kind_and_order(
    old: list[TrackParameters],
    new: list[TrackParameters],
    same_connection: bool,  # noqa: FBT001
    matches: tuple[int | None, ...],
) -> None:
    assert match_tracks(old, new, same_connection=same_connection) == matches


def test_a_track_goes_on_under_other_numbers_but_not_with_another_codec() -> None:
    assert continues(video("a"), video("a", payload_type=120))
    assert not continues(video("a"), video("a", codec="VP9"))
    assert not continues(video("a"), audio("a"))
    with_profile = Codec("VP8", "video", 90_000, None, 96, (("max-fr", 30),))
    assert not continues(video("a"), replace(video("a"), codecs=(with_profile,)))


def test_the_first_publication_keeps_its_own_numbers() -> None:
    sources = (video("a"), audio("m"))
    assert Numbering().assign(sources) == sources
    for source in sources:
        assert translation(source, source) is None


def test_a_publisher_without_rtx_is_given_a_number_for_it_once() -> None:
    numbering = Numbering()
    (first,) = numbering.assign([replace(video("a"), rtx=None)])
    assert first.rtx is not None
    (second,) = numbering.assign([replace(video("b", mid="1"), rtx=None)])
    assert second.rtx == first.rtx
    (other,) = numbering.assign([video("c", mid="2", payload_type=first.rtx.payload_type, codec="H264")])
    assert other.codec.payload_type not in {96, first.rtx.payload_type}


def test_a_number_that_means_something_else_by_now_is_replaced() -> None:
    numbering = Numbering()
    numbering.assign([video("a"), audio("m")])
    (added,) = numbering.assign([video("b", mid="0", codec="H264")])
    assert added.mid not in {"0", "1"}
    assert added.codec.payload_type not in {96, 97, 111, 63}
    assert added.rtx is not None
    assert dict(added.rtx.parameters) == {"apt": added.codec.payload_type}
    moved_red = replace(
        audio("n", mid="5"),
        codecs=(Codec("opus", "audio", 48_000, 2, 96), Codec("red", "audio", 48_000, 2, 97, (("96/96", None),))),
    )
    (sound,) = numbering.assign([moved_red])
    assert sound.mid == "5"
    assert sound.codec.payload_type == 111
    assert dict(sound.codecs[1].parameters) == {"111/111": None}


def test_mids_are_never_used_twice_and_cost_no_memory() -> None:
    numbering = Numbering()
    seen = [track.mid for track in numbering.assign([video("a", "front"), video("b", "t1"), audio("m", "7")])]
    for own in ("7", "8", "8", "front", "t1", "9", "09", "1"):
        (track,) = numbering.assign([video("x", own)])
        seen.append(track.mid)
    assert len(seen) == len(set(seen))
    assert seen[3:6] == ["t2", "8", "t3"]
    assert seen[8] == "9"


def test_numbers_run_out_with_a_clear_error() -> None:
    numbering = Numbering()
    profiles = [Codec("H264", "video", 90_000, None, 96, (("profile-level-id", f"{n:06x}"),)) for n in range(200)]
    with pytest.raises(SdpError, match="no payload type is left for"):
        numbering.assign([replace(video("x"), codecs=(codec,)) for codec in profiles])


def test_packets_are_changed_to_the_numbers_that_viewers_know() -> None:
    known = replace(video("a"), extensions={MID: 4, ABS_SEND_TIME: 2})
    source = replace(video("b", mid="9", payload_type=120), extensions={MID: 1, ABS_SEND_TIME: 4, "urn:other": 7})
    change = translation(source, known)
    assert change is not None
    data = build_packet(
        payload_type=120,
        sequence_number=1,
        timestamp=2,
        ssrc=3,
        marker=True,
        extensions=encode_extensions([(1, b"9"), (4, b"abc"), (7, b"x")]),
        payload=b"picture",
    )
    changed = change.apply(data, parse_header(data))
    header = parse_header(changed)
    assert len(changed) == len(data)
    assert (header.payload_type, header.marker, changed[header.payload_offset :]) == (96, True, b"picture")
    found = [(number, changed[at : at + size]) for number, at, size in iterate_extensions(changed, header)]
    assert found == [(2, b"abc")]


@pytest.mark.parametrize("long", [False, True], ids=["one-byte", "two-byte"])
def test_a_mid_that_stays_is_kept_in_both_forms(long: bool) -> None:  # noqa: FBT001
    known = replace(video("a", mid="cam"), extensions={MID: 4})
    change = translation(replace(known, extensions={MID: 5, "urn:other": 6}), known)
    assert change is not None
    values = [(5, b"cam"), (6, b"x" * (20 if long else 2))]
    data = build_packet(
        payload_type=96,
        sequence_number=1,
        timestamp=2,
        ssrc=3,
        marker=False,
        extensions=encode_extensions(values),
        payload=b"",
    )
    changed = change.apply(data, parse_header(data))
    found = [
        (number, changed[at : at + size]) for number, at, size in iterate_extensions(changed, parse_header(changed))
    ]
    assert found[0] == (4, b"cam")
    assert len(found) == 1


def test_another_mid_alone_is_taken_out() -> None:
    known = replace(video("a", mid="0"), extensions={MID: 4})
    change = translation(replace(known, mid="1"), known)
    assert change is not None
    assert change.extensions == {}
