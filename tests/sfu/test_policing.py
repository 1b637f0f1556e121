"""A peer's rate: what passes, what is refused, and how long."""

from __future__ import annotations

import pytest

from sfu.transport.policing import MAX_BLOCK_SECONDS, WINDOW_SECONDS, Policer

LIMIT = 20  # of a window, at 200 a second


def send(policer: Policer, start: float, seconds: float, per_second: float) -> int:
    """Send at a steady rate; return how many passed."""
    count = round(seconds * per_second)
    return sum(not policer.refuses(start + number / per_second) for number in range(count))


@pytest.mark.parametrize("per_second", [1, 50, 199])
def test_within_the_rate_everything_passes(per_second: int) -> None:
    policer = Policer(200)
    assert send(policer, 1000.0, 60, per_second) == 60 * per_second


def test_one_burst_is_refused_until_its_window_ends() -> None:
    policer = Policer(200)
    assert sum(not policer.refuses(1000.0) for _ in range(500)) == LIMIT
    assert policer.blocked_until == pytest.approx(1000.0 + WINDOW_SECONDS)
    assert not policer.refuses(1000.0 + WINDOW_SECONDS)


def test_the_first_refused_packet_begins_the_block() -> None:
    policer = Policer(200)
    begins = []
    for number in range(50):
        policer.refuses(1000.0)
        if policer.block_begins:
            begins.append(number)
    assert begins == [LIMIT]


def test_a_flood_is_blocked_twice_as_long_each_time_up_to_the_longest() -> None:
    policer = Policer(200)
    blocks = []
    now = 1000.0
    for _ in range(10):
        while not policer.refuses(now):
            now += 0.001
        blocks.append(policer.blocked_until - now)
        now = policer.blocked_until
    assert blocks[0] < WINDOW_SECONDS
    assert blocks[1:] == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, *[MAX_BLOCK_SECONDS] * 4])


def test_a_flood_of_a_minute_gets_little_through() -> None:
    # Nine blocks pass in the first 6.3 s, then one each 6.4.
    assert send(Policer(200), 1000.0, 60, 2000) <= 17 * LIMIT


@pytest.mark.parametrize("quiet", [0.0, 1.0])
def test_a_window_within_the_limit_forgives(quiet: float) -> None:
    policer = Policer(200)
    for _ in range(4):
        now = max(1000.0, policer.blocked_until)
        while not policer.refuses(now):
            pass
    now = policer.blocked_until + quiet
    if not quiet:
        assert not policer.refuses(now)  # the only one of its window
        now += WINDOW_SECONDS
    while not policer.refuses(now):
        pass
    assert policer.blocked_until == pytest.approx(now + WINDOW_SECONDS)


def test_a_rate_of_less_than_one_a_window_lets_one_pass() -> None:
    assert not Policer(1).refuses(1000.0)


def test_what_has_been_blocked_for_years_is_counted_still() -> None:
    policer = Policer(200)
    now = 1000.0
    for _ in range(5000):
        while not policer.refuses(now):
            pass
        now = policer.blocked_until
    assert policer.refuses(now) is False
