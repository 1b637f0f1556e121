"""Waiting between attempts, without waiting."""

from __future__ import annotations

import pytest

from signaling.client.backoff import RESTART_ATTEMPTS, RESTART_SECONDS, STABLE_SECONDS, Backoff


def backoff(jitter: float = 0.0) -> Backoff:
    return Backoff(initial=1.0, maximum=10.0, random=lambda: jitter)


def test_doubles_up_to_its_maximum() -> None:
    waits = backoff()
    assert [waits.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 1.0), (0.5, 0.75), (0.999, 0.5005)])
def test_jitter_shortens_by_up_to_half(jitter: float, wait: float) -> None:
    assert backoff(jitter).next() == pytest.approx(wait)


def test_a_success_starts_over_and_a_flap_does_not() -> None:
    waits = backoff()
    assert [waits.next() for _ in range(3)] == [1, 2, 4]
    assert waits.next(STABLE_SECONDS - 0.1) == 8
    assert waits.next(STABLE_SECONDS) == 1
    assert waits.next() == 2


def test_a_server_that_said_it_ends_is_tried_often_for_a_while() -> None:
    waits = backoff(jitter=0.5)
    assert waits.next() == 0.75
    waits.expect_restart()
    assert [waits.next() for _ in range(RESTART_ATTEMPTS)] == [RESTART_SECONDS * 0.75] * RESTART_ATTEMPTS
    assert [waits.next(), waits.next()] == [1.5, 3]
