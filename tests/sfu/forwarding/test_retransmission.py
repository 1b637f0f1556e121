"""Retransmissions: the budget, repeats within a round trip, and what a second copy saves under seeded loss."""

from __future__ import annotations

import random

import pytest

from sfu.forwarding.retransmission import (
    DEFAULT_ROUND_TRIP_SECONDS,
    MAX_RESENT_REMEMBERED,
    MAX_SECOND_COPIES_WAITING,
    RETRANSMISSION_BYTES_PER_SECOND,
    ROUND_TRIP_PART,
    SECOND_COPY_DELAY_SECONDS,
    RetransmissionBudget,
    Retransmissions,
)

NOW = 1000.0
PACKETS_PER_FRAME = 6
FRAMES_PER_SECOND = 30


def test_the_budget_holds_a_second_and_no_more() -> None:
    budget = RetransmissionBudget()
    assert budget.take(RETRANSMISSION_BYTES_PER_SECOND, 5.0)
    assert not budget.take(1, 5.0)
    assert budget.take(RETRANSMISSION_BYTES_PER_SECOND // 4, 5.25)
    assert not budget.take(2, 5.25)
    assert not budget.take(RETRANSMISSION_BYTES_PER_SECOND + 1, 100.0)
    assert budget.take(RETRANSMISSION_BYTES_PER_SECOND, 100.0)


def test_a_reserve_is_left_alone() -> None:
    budget = RetransmissionBudget()
    assert not budget.take(RETRANSMISSION_BYTES_PER_SECOND - 99, 5.0, reserve=100)
    assert budget.take(RETRANSMISSION_BYTES_PER_SECOND - 100, 5.0, reserve=100)
    assert budget.take(100, 5.0)
    assert not budget.take(1, 5.0)


@pytest.mark.parametrize("round_trip", [None, 0.0, 0.04, 0.3])
@pytest.mark.parametrize("number", [0, 0x7FFF, 0xFFFF])
def test_a_nack_is_answered_once_in_most_of_a_round_trip(number: int, round_trip: float | None) -> None:
    plan = Retransmissions()
    wait = ROUND_TRIP_PART * (DEFAULT_ROUND_TRIP_SECONDS if round_trip is None else round_trip)
    assert plan.asked(number, NOW, round_trip)
    assert plan.asked(number, NOW + 0.99 * wait, round_trip) is (wait == 0)
    assert plan.asked(number, NOW + 1.01 * wait, round_trip)


def test_what_is_remembered_is_bounded() -> None:
    plan = Retransmissions()
    for number in range(MAX_RESENT_REMEMBERED + 1):
        assert plan.asked(number, NOW, 1.0)
    assert not plan.asked(1, NOW, 1.0)
    assert plan.asked(0, NOW, 1.0), "the oldest was forgotten"
    assert [plan.plan_second_copy(number, NOW) for number in range(MAX_SECOND_COPIES_WAITING + 1)].count(False) == 1


def test_second_copies_come_in_order_and_once() -> None:
    plan = Retransmissions()
    assert plan.next_deadline() is None
    plan.plan_second_copy(0xFFFF, NOW)
    plan.plan_second_copy(0, NOW + 0.01)
    first = NOW + SECOND_COPY_DELAY_SECONDS
    assert plan.next_deadline() == first
    assert plan.due(first - 0.001) == []
    assert plan.due(first) == [0xFFFF]
    assert plan.due(first + 0.02) == [0]
    assert plan.due(first + 1.0) == []
    assert plan.next_deadline() is None


def test_clearing_forgets_everything() -> None:
    plan = Retransmissions()
    assert plan.asked(7, NOW, 1.0)
    plan.plan_second_copy(7, NOW)
    plan.clear()
    assert plan.next_deadline() is None
    assert plan.asked(7, NOW, 1.0)


class Channel:
    """A link that loses datagrams in bursts, as often as `loss` says in all."""

    def __init__(self, loss: float, burst: int, seed: int) -> None:
        self._start = loss / (burst * (1 - loss) + loss)
        self._burst = burst
        self._left = 0
        self._random = random.Random(seed)

    def loses(self) -> bool:
        if self._left:
            self._left -= 1
            return True
        if self._random.random() >= self._start:
            return False
        self._left = self._burst - 1
        return True


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("loss", "burst", "most"),
    [(0.02, 1, 0.002), (0.05, 1, 0.006), (0.02, 5, 0.006), (0.05, 5, 0.01)],
)
def test_both_copies_are_seldom_lost(loss: float, burst: int, most: float, seed: int) -> None:
    """By one copy the part that `loss` says would stay lost, and in bursts more: the NACK comes soon after the loss."""
    channel, plan = Channel(loss, burst, seed), Retransmissions()
    asked, missing, number = 0, set[int](), 0
    answers: list[tuple[float, int]] = []
    for frame in range(600 * FRAMES_PER_SECOND):
        now = NOW + frame / FRAMES_PER_SECOND
        for packet in range(PACKETS_PER_FRAME):
            number += 1
            if channel.loses():
                asked += 1
                missing.add(number)
                answers.append((now + 0.045 + packet / 10_000, number))
        # What leaves until the next frame does: answers to NACKs, then second copies, each through the same link.
        until = now + 1 / FRAMES_PER_SECOND
        while answers and answers[0][0] < until:
            when, lost = answers.pop(0)
            plan.plan_second_copy(lost & 0xFFFF, when)
            if not channel.loses():
                missing.discard(lost)
        for low in plan.due(until):
            if not channel.loses():
                missing.discard(next((lost for lost in missing if lost & 0xFFFF == low), -1))
    assert asked > 100
    assert len(missing) / asked <= most
