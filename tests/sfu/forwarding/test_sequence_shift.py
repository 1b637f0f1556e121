"""SequenceShift: a viewer's numbers go on after each pause, across every wrap."""

from __future__ import annotations

import pytest

from sfu.forwarding.sequence_shift import SequenceShift


def test_without_a_pause_nothing_changes() -> None:
    shift = SequenceShift()
    shift.begin(5000)
    assert shift.offset == 0
    assert shift.may_send(4000)
    assert shift.to_track(4000) == 4000


@pytest.mark.parametrize("last", [100, 0xFFFE, 0xFFFF, 0x10000, 0x1FFFF])
@pytest.mark.parametrize("gap", [1, 2, 0x8000, 0xFFFF, 0x10000, 1_000_000])
def test_a_gap_of_any_length_is_closed(last: int, gap: int) -> None:
    shift = SequenceShift()
    shift.pause(last)
    first = last + gap
    shift.begin(first)
    assert first - shift.offset == last + 1
    assert not shift.may_send(first - 1)
    assert shift.may_send(first)
    for step in range(3):
        named = (last + 1 + step) & 0xFFFF
        assert shift.to_track(named) == (first + step) & 0xFFFF


def test_pauses_add_up_and_one_without_packets_between_is_none() -> None:
    shift = SequenceShift()
    shift.pause(10)
    shift.begin(20)
    shift.begin(25)
    assert (shift.offset, shift.may_send(22)) == (9, True), "packets out of order are of one run"
    shift.pause(30)
    shift.pause(99)
    shift.begin(131)
    assert 131 - shift.offset == 30 - 9 + 1
    assert not shift.may_send(30)


def test_a_pause_before_anything_was_sent_leaves_no_gap_to_close() -> None:
    shift = SequenceShift()
    shift.pause(None)
    shift.begin(700)
    assert shift.offset == 0
