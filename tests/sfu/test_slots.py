"""Slots: m-lines are kept, given up and used again as RFC 3264 and RFC 8829 allow. No network."""

from __future__ import annotations

from dataclasses import replace

from sfu.descriptions import MAX_SECTIONS
from sfu.parameters import AcceptedTrack, RemoteTransport, SentTrack, SubscriberAnswer
from sfu.producer import Producer
from sfu.relay import MediaRelay
from sfu.slots import Slots
from tests.helpers.outbound import audio_parameters, video_parameters

RELAY = MediaRelay(lambda: None, None)
TRANSPORT = RemoteTransport("ufrag", (), "server")


def producer(mid: str, *, audio: bool = False) -> Producer:
    parameters = replace(audio_parameters() if audio else video_parameters(), mid=mid, track_id=f"track {mid}")
    return Producer(parameters, RELAY, "label", lambda: None)


def slots(limit: int = MAX_SECTIONS) -> Slots:
    return Slots(lambda each: SentTrack(each.parameters, each.ssrc, 1, "cname", each.parameters.rtx), limit)


def answer(lines: Slots, *, rejects: str = "", keeps_open: bool = False) -> None:
    """Answer as a browser does, or with `keeps_open` as stock aiortc, which rejects nothing."""
    gone = {sent.parameters.mid for sent in lines.offered if sent.use == "gone" and not keeps_open} | set(rejects)
    taken = [sent.parameters.mid for sent in lines.offered if sent.use == "live" and sent.parameters.mid not in gone]
    tracks = tuple(AcceptedTrack(mid, {96: 96}, 97) for mid in taken)
    lines.answer(SubscriberAnswer(TRANSPORT, tracks, frozenset(gone)))


def picture(lines: Slots) -> list[tuple[str, str]]:
    return [(sent.parameters.mid, sent.use) for sent in lines.offered]


def taken(lines: Slots) -> list[Producer]:
    return [each for each, _, _ in lines.accepted()]


def test_a_section_is_used_again_once_both_sides_have_rejected_it() -> None:
    lines = slots()
    a, b, c, d = (producer(mid) for mid in "abcd")
    assert lines.arrange([a, b])
    answer(lines)
    assert lines.tag == "a"
    assert not lines.arrange([a, b])
    assert lines.arrange([a])
    assert picture(lines) == [("a", "live"), ("b", "gone")]
    # Not in the same offer that gives it up.
    assert lines.arrange([a, c])
    assert picture(lines) == [("a", "live"), ("b", "gone"), ("c", "live")]
    answer(lines)
    assert lines.arrange([a, c, d])
    assert picture(lines) == [("a", "live"), ("d", "live"), ("c", "live")]
    answer(lines)
    assert taken(lines) == [a, d, c]


def test_the_section_that_carries_the_bundle_is_never_rejected() -> None:
    lines = slots()
    a, b, c = (producer(mid) for mid in "abc")
    lines.arrange([a, b])
    answer(lines, rejects="a")
    assert lines.tag == "b"
    lines.arrange([])
    assert picture(lines) == [("a", "gone"), ("b", "idle")]
    answer(lines)
    lines.arrange([c])
    assert picture(lines) == [("c", "live"), ("b", "idle")]


def test_what_the_viewer_rejects_is_not_offered_again_until_it_is_another_track() -> None:
    lines = slots()
    a, b = producer("a"), producer("b")
    lines.arrange([a, b])
    answer(lines, rejects="b")
    assert taken(lines) == [a]
    assert not lines.arrange([a, b])
    lines.arrange([a])
    assert lines.arrange([a, producer("e")])


def test_sections_are_used_again_by_their_own_kind_only() -> None:
    lines = slots()
    a, b = producer("a"), producer("b")
    lines.arrange([a, b])
    answer(lines)
    lines.arrange([a])
    answer(lines)
    lines.arrange([a, producer("m", audio=True)])
    assert picture(lines) == [("a", "live"), ("b", "gone"), ("m", "live")]


def test_a_viewer_that_rejects_nothing_gets_further_sections_up_to_the_limit() -> None:
    lines = slots()
    first = producer("first")
    lines.arrange([first])
    answer(lines, keeps_open=True)
    for number in range(MAX_SECTIONS - 1):
        assert lines.arrange([first, producer(str(number))])
        answer(lines, keeps_open=True)
    assert len(lines.offered) == MAX_SECTIONS
    assert lines.left_out == 0
    last = producer("last")
    assert lines.arrange([first, last]), "the one before is gone"
    answer(lines, keeps_open=True)
    assert lines.left_out == 1
    more = slots(limit=MAX_SECTIONS + 1)
    more.arrange([producer(str(number)) for number in range(MAX_SECTIONS + 2)])
    assert (len(more.offered), more.left_out) == (MAX_SECTIONS + 1, 1)
    assert not lines.arrange([first, last]), "and that is the end of it, not a loop of offers"
    assert taken(lines) == [first]
