"""NackGenerator: scripted steps, and whole streams under seeded loss and reordering."""

from __future__ import annotations

import heapq
import random

import pytest

from sfu.forwarding.nack import (
    MAX_NACKED_AT_ONCE,
    MAX_RETRY_SECONDS,
    MAX_TRIES,
    MIN_RETRY_SECONDS,
    REORDER_ALLOWANCE_SECONDS,
    ROUND_TRIP_GAIN,
    NackGenerator,
)

EDGES = (65536, 65536 + 0x7FFE, 65536 + 0xFFFE, 65536 + 0xFFFF, 3 * 65536 - 1)
ALLOWANCE = REORDER_ALLOWANCE_SECONDS


def numbers(*sequences: int) -> list[int]:
    return [sequence & 0xFFFF for sequence in sequences]


@pytest.mark.parametrize("first", EDGES)
def test_a_gap_is_asked_for_once_the_allowance_is_over(first: int) -> None:
    generator = NackGenerator()
    generator.add(first, 0.0)
    assert generator.next_deadline() is None
    generator.add(first + 3, 1.0)
    assert generator.missing == 2
    assert generator.next_deadline() == 1.0 + ALLOWANCE
    assert generator.due(1.0, 0.1) == []
    assert generator.due(1.0 + ALLOWANCE, 0.1) == numbers(first + 1, first + 2)
    assert generator.next_deadline() == pytest.approx(1.1 + ALLOWANCE)
    assert generator.due(1.09, 0.1) == []
    generator.add(first + 1, 1.1)
    assert generator.due(1.11 + ALLOWANCE, 0.1) == numbers(first + 2)
    generator.add(first + 2, 1.15)
    assert generator.next_deadline() is None
    assert generator.due(9.0, 0.1) == []
    assert generator.take_given_up() == 0


@pytest.mark.parametrize("first", EDGES)
def test_reordering_costs_nothing(first: int) -> None:
    generator = NackGenerator()
    for step, sequence in enumerate([0, 2, 1, 5, 4, 3, 6, 6, 0]):
        generator.add(first + sequence, step * 0.001)
    assert generator.missing == 0
    assert generator.due(1.0, 0.1) == []


def test_packets_before_the_first_are_not_waited_for() -> None:
    generator = NackGenerator()
    generator.add(65540, 0.0)
    generator.add(65536, 0.0)
    assert generator.missing == 0


@pytest.mark.parametrize(
    ("round_trip", "interval"),
    [(0.0, MIN_RETRY_SECONDS), (0.005, MIN_RETRY_SECONDS), (0.1, 0.1), (60.0, MAX_RETRY_SECONDS)],
)
def test_retries_are_a_bounded_round_trip_apart(round_trip: float, interval: float) -> None:
    generator = NackGenerator(max_wait=1000.0)
    generator.add(65536, 0.0)
    generator.add(65538, 0.0)
    now = ALLOWANCE
    for _ in range(MAX_TRIES):
        assert generator.next_deadline() == pytest.approx(now)
        assert generator.due(now + 1e-9, round_trip) == [1]
        assert generator.due(now + interval * 0.9, round_trip) == []
        now += interval + 1e-9
    assert generator.missing == 1
    assert generator.due(now + 1e-6, round_trip) == []
    assert generator.missing == 0
    assert generator.take_given_up() == 1
    assert generator.take_given_up() == 0


def test_nothing_is_waited_for_too_long() -> None:
    generator = NackGenerator(max_wait=0.3)
    generator.add(65536, 0.0)
    generator.add(65538, 0.0)
    asked = [now for now in (0.01, 0.15, 0.31) if generator.due(now, 0.1)]
    assert asked == [0.01, 0.15]
    assert generator.take_given_up() == 1


def test_a_jump_beyond_the_limit_is_given_up_at_once() -> None:
    generator = NackGenerator(max_missing=100)
    generator.add(65536, 0.0)
    generator.add(65538, 0.0)
    generator.add(65538 + 102, 0.0)
    assert generator.missing == 0
    assert generator.next_deadline() is None
    assert generator.take_given_up() == 1 + 101
    generator.add(65538 + 104, 0.0)
    assert generator.due(1.0, 0.1) == numbers(65538 + 103)


def test_a_jump_of_the_limit_is_waited_for() -> None:
    generator = NackGenerator(max_missing=100)
    generator.add(65536, 0.0)
    generator.add(65536 + 101, 0.0)
    assert (generator.missing, generator.take_given_up()) == (100, 0)


def test_of_too_many_gaps_the_oldest_are_given_up() -> None:
    generator = NackGenerator(max_missing=10)
    for step in range(20):
        generator.add(65536 + 2 * step, 0.0)
    assert generator.missing == 10
    assert generator.take_given_up() == 9
    assert generator.due(1.0, 0.1) == [2 * step + 1 for step in range(9, 19)]


def test_what_does_not_fit_one_answer_stays_due() -> None:
    generator = NackGenerator()
    generator.add(65536, 0.0)
    generator.add(65536 + 301, 0.0)
    first = generator.due(0.5, 0.1)
    assert first == list(range(1, MAX_NACKED_AT_ONCE + 1))
    deadline = generator.next_deadline()
    assert deadline is not None
    assert deadline <= 0.5
    assert generator.due(0.5, 0.1) == list(range(MAX_NACKED_AT_ONCE + 1, 301))
    assert generator.next_deadline() == pytest.approx(0.6)


def test_a_stale_deadline_does_not_wake_for_a_new_gap() -> None:
    generator = NackGenerator()
    generator.add(65536, 0.0)
    generator.add(65538, 0.0)
    generator.add(65537, 0.001)
    generator.add(65540, 5.0)
    assert generator.next_deadline() == 5.0 + ALLOWANCE


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loss", [0.01, 0.1, 0.3])
def test_a_lossy_reordering_path_is_mended(seed: int, loss: float) -> None:
    """4,000 packets, 1 ms apart, across the wrap: what is asked for comes a round trip later, or is lost again."""
    source = random.Random(seed)
    round_trip = 0.04
    first = 65536 + 0xFFF0 - 1000
    generator = NackGenerator()
    arrivals: list[tuple[float, int]] = []
    for n in range(4000):
        if n == 0 or source.random() >= loss:
            heapq.heappush(arrivals, (n * 0.001 + source.uniform(0, 0.004), first + n))
    heapq.heappush(arrivals, (4.1, first + 4000))
    received: set[int] = set()
    asked: dict[int, int] = {}
    while arrivals or generator.next_deadline() is not None:
        deadline = generator.next_deadline()
        if arrivals and (deadline is None or arrivals[0][0] <= deadline):
            now, sequence = heapq.heappop(arrivals)
            received.add(sequence)
            generator.add(sequence, now)
            continue
        assert deadline is not None
        for number in generator.due(deadline, round_trip):
            sequence = next(s for s in range(first, first + 4001) if s & 0xFFFF == number)
            assert sequence not in received, "never asked for what has come"
            asked[sequence] = asked.get(sequence, 0) + 1
            if source.random() >= loss:
                heapq.heappush(arrivals, (deadline + round_trip, sequence))
    expected = set(range(min(received), first + 4001))
    assert generator.take_given_up() == len(expected - received)
    assert len(received) >= len(expected) - 1
    assert all(tries <= MAX_TRIES for tries in asked.values())
    assert len(asked) <= 4000 * loss * 1.5 + 20, "reordering within the allowance is not asked for"


@pytest.mark.parametrize("first", EDGES)
def test_adding_tells_whether_packets_were_skipped(first: int) -> None:
    generator = NackGenerator()
    assert [generator.add(first + step, 0.0) for step in (0, 1, 4, 2, 4, 5, 3, 7)] == [
        False,  # the first: nothing is known to be missing before it
        False,
        True,
        False,  # it fills a hole
        False,  # again
        False,
        False,
        True,
    ]
    assert generator.missing == 1


def test_adding_tells_of_a_jump_too_far_to_wait_for() -> None:
    generator = NackGenerator(max_missing=10)
    generator.add(65536, 0.0)
    assert generator.add(65536 + 100, 0.0), "there is something to see to: it is given up"
    assert generator.take_given_up() == 99


def ask_and_answer(
    generator: NackGenerator, sequence: int, now: float, answer_after: float, *, recovered: bool = True
) -> None:
    """Miss the packet before `sequence`, ask for it once, and have it come."""
    generator.add(sequence, now)
    asked_at = now + ALLOWANCE
    assert generator.due(asked_at, 1.0) == numbers(sequence - 1)
    generator.add(sequence - 1, asked_at + answer_after, recovered=recovered)


def test_the_round_trip_is_that_of_the_first_request_then_smoothed() -> None:
    generator = NackGenerator()
    generator.add(65536, 0.0)
    assert generator.round_trip is None
    ask_and_answer(generator, 65538, 1.0, 0.08)
    assert generator.round_trip == pytest.approx(0.08)
    ask_and_answer(generator, 65540, 2.0, 0.16)
    assert generator.round_trip == pytest.approx(0.08 + ROUND_TRIP_GAIN * 0.08)


def test_a_late_original_measures_nothing() -> None:
    generator = NackGenerator()
    generator.add(65536, 0.0)
    ask_and_answer(generator, 65538, 1.0, 0.08, recovered=False)
    assert (generator.missing, generator.round_trip) == (0, None)


def test_an_answer_before_the_request_measures_nothing() -> None:
    generator = NackGenerator()
    generator.add(65536, 0.0)
    generator.add(65538, 1.0)
    generator.add(65537, 1.001, recovered=True)
    assert (generator.missing, generator.round_trip) == (0, None)


def test_a_packet_asked_for_twice_measures_nothing() -> None:
    """Nobody knows which of the two requests was answered (Karn's algorithm)."""
    generator = NackGenerator()
    generator.add(65536, 0.0)
    generator.add(65538, 1.0)
    assert generator.due(1.0 + ALLOWANCE, 0.05) == [1]
    assert generator.due(1.1 + ALLOWANCE, 0.05) == [1]
    generator.add(65537, 1.2, recovered=True)
    assert (generator.missing, generator.round_trip) == (0, None)


def test_a_repeated_answer_is_measured_once() -> None:
    generator = NackGenerator()
    generator.add(65536, 0.0)
    ask_and_answer(generator, 65538, 1.0, 0.08)
    generator.add(65537, 5.0, recovered=True)
    assert generator.round_trip == pytest.approx(0.08)
