"""Sequence and timestamp arithmetic across every wrap edge."""

from __future__ import annotations

import random

import pytest
from aiortc.utils import uint16_gt
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.sequence import SequenceUnwrapper, seq16, sequence_newer, timestamp_delta

UINT16 = st.integers(0, 0xFFFF)
EDGES_16 = (0, 1, 0x7FFE, 0x7FFF, 0x8000, 0x8001, 0xFFFE, 0xFFFF)
EDGES_32 = (0, 1, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0xFFFFFFFF)


@pytest.mark.parametrize("first", EDGES_16)
@pytest.mark.parametrize("steps", [(1, 1, 1), (2, -1, 2), (100, -99, 0, 5), (0x7FFF, 0x7FFF, 0x7FFF), (-0x7FFF, 3)])
def test_unwrap_follows_steps_from_every_edge(first: int, steps: tuple[int, ...]) -> None:
    unwrapper = SequenceUnwrapper()
    assert unwrapper.last is None
    position = unwrapper.unwrap(first)
    assert position == first + 65536
    highest = position
    for step in steps:
        position = highest + step
        assert unwrapper.unwrap(position & 0xFFFF) == position
        highest = max(highest, position)
        assert unwrapper.last == highest


def test_half_a_cycle_away_counts_as_older() -> None:
    unwrapper = SequenceUnwrapper()
    assert unwrapper.unwrap(5) == 65541
    assert unwrapper.unwrap(0x8005) == 65541 - 0x8000
    assert unwrapper.last == 65541


def test_unwrap_through_many_cycles_with_seeded_reordering() -> None:
    source = random.Random(1)
    order = sorted(range(300_000), key=lambda n: n + source.uniform(0, 200))
    start = order[0] + 0xFFF0
    unwrapper = SequenceUnwrapper()
    shift = unwrapper.unwrap(start & 0xFFFF) - start
    for n in order[1:]:
        number = n + 0xFFF0
        assert unwrapper.unwrap(number & 0xFFFF) - shift == number


@given(st.lists(UINT16, min_size=1, max_size=50))
def test_unwrap_keeps_the_low_bits_and_never_goes_negative_at_first(numbers: list[int]) -> None:
    unwrapper = SequenceUnwrapper()
    extended = [unwrapper.unwrap(number) for number in numbers]
    assert [seq16(value) for value in extended] == numbers
    assert min(extended) > 0
    assert unwrapper.last == max(extended)


@pytest.mark.parametrize("b", EDGES_16)
@pytest.mark.parametrize(("step", "newer"), [(0, False), (1, True), (0x7FFF, True), (0x8000, False), (0xFFFF, False)])
def test_newer(b: int, step: int, newer: bool) -> None:  # noqa: FBT001 - a table's column
    assert sequence_newer((b + step) & 0xFFFF, b) is newer


@given(UINT16, UINT16)
def test_newer_agrees_with_aiortc(a: int, b: int) -> None:
    if (a - b) & 0xFFFF != 0x8000:  # the RFC leaves this one open
        assert sequence_newer(a, b) is uint16_gt(a, b)


@pytest.mark.parametrize("b", EDGES_32)
@pytest.mark.parametrize("difference", [0, 1, -1, 3000, -3000, 0x7FFFFFFF, -0x80000000])
def test_timestamp_delta(b: int, difference: int) -> None:
    assert timestamp_delta((b + difference) & 0xFFFFFFFF, b) == difference
