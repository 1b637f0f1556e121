"""Timestamps across media connections."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest

from signaling.client.continuity import Continuity

VIDEO = Fraction(1, 90_000)
STEP = 3000
"""A thirtieth of a second."""


def test_one_connection_is_left_as_it_is() -> None:
    clock = Continuity()
    assert [clock.shifted(5 + number * STEP, VIDEO, 100 + number / 30) for number in range(3)] == [5, 3005, 6005]


@pytest.mark.parametrize("origin", [0, 5_000_000_000, -1])
def test_the_next_connection_goes_on_by_the_clock(origin: int) -> None:
    clock = Continuity()
    assert clock.shifted(1000, VIDEO, 10.0) == 1000
    clock.switch()
    assert clock.shifted(origin, VIDEO, 12.0) == 1000 + 180_000
    assert clock.shifted(origin + STEP, VIDEO, 12.0 + 1 / 30) == 1000 + 180_000 + STEP


def test_a_burst_of_the_past_does_not_put_the_track_ahead() -> None:
    clock = Continuity()
    clock.shifted(0, VIDEO, 10.0)
    clock.switch()
    burst = [clock.shifted(number * STEP, VIDEO, 11.0 + number / 1000) for number in range(60)]  # two seconds of it
    live = [clock.shifted((60 + number) * STEP, VIDEO, 11.06 + number / 30) for number in range(90)]
    stamps = burst + live
    assert all(before < after for before, after in pairwise(stamps))
    assert live[-1] / 90_000 == pytest.approx(1.06 + 89 / 30, abs=0.1)


def test_a_late_frame_long_after_is_no_measure() -> None:
    clock = Continuity()
    clock.shifted(0, VIDEO, 10.0)
    clock.switch()
    stamps = [clock.shifted(number * STEP, VIDEO, 11.0 + number / 30) for number in range(60)]
    early = clock.shifted(60 * STEP, VIDEO, 11.0 + 59.1 / 30)
    assert early == stamps[-1] + STEP


def test_a_switch_before_anything_came_is_none() -> None:
    clock = Continuity()
    clock.switch()
    assert clock.shifted(77, VIDEO, 1.0) == 77
