"""KeyframeRequester, step by step."""

from __future__ import annotations

import itertools
import random

import pytest

from sfu.forwarding.keyframes import MAX_TRIES, MIN_INTERVAL_SECONDS, KeyframeRequester


def test_nobody_waits_at_first() -> None:
    requester = KeyframeRequester()
    assert not requester.pending
    assert not requester.due(100.0)
    assert requester.next_deadline() is None
    requester.keyframe_seen(1.0)
    assert not requester.pending


def test_the_first_wish_is_sent_at_once_and_met_by_a_keyframe() -> None:
    requester = KeyframeRequester()
    requester.request(10.0)
    assert requester.pending
    assert requester.next_deadline() == 10.0
    assert requester.due(10.0)
    assert not requester.due(10.0)
    requester.keyframe_seen(10.1)
    assert not requester.pending
    assert requester.next_deadline() is None
    assert not requester.due(11.0)


def test_wishes_are_coalesced() -> None:
    requester = KeyframeRequester()
    sent = 0
    for step in range(40):
        now = 10.0 + step * 0.01
        requester.request(now)
        sent += requester.due(now)
    assert sent == 1


def test_a_wish_soon_after_a_keyframe_is_honoured_later() -> None:
    requester = KeyframeRequester()
    requester.request(10.0)
    assert requester.due(10.0)
    requester.keyframe_seen(10.05)
    requester.request(10.1)
    assert requester.pending
    assert not requester.due(10.2)
    assert requester.next_deadline() == 10.0 + MIN_INTERVAL_SECONDS
    assert requester.due(10.5)


def test_a_keyframe_meets_a_wish_that_was_not_yet_sent() -> None:
    requester = KeyframeRequester()
    requester.request(10.0)
    assert requester.due(10.0)
    requester.keyframe_seen(10.05)
    requester.request(10.1)
    requester.keyframe_seen(10.2)
    assert not requester.due(10.5)
    assert not requester.pending


def test_retries_slow_down_and_end() -> None:
    requester = KeyframeRequester()
    requester.request(10.0)
    times = []
    for _ in range(MAX_TRIES):
        deadline = requester.next_deadline()
        assert deadline is not None
        assert not requester.due(deadline - 0.001)
        assert requester.due(deadline)
        times.append(deadline - 10.0)
    assert times == [0.0, 0.5, 1.5, 3.5, 5.5, 7.5, 9.5, 11.5]
    last = requester.next_deadline()
    assert last == 23.5
    assert requester.given_up == 0
    assert not requester.due(23.5)
    assert not requester.pending
    assert requester.given_up == 1
    requester.request(24.0)
    assert requester.due(24.0)


@pytest.mark.parametrize("seed", range(5))
def test_never_two_within_the_interval(seed: int) -> None:
    source = random.Random(seed)
    requester = KeyframeRequester()
    now, sent = 0.0, []
    for _ in range(3000):
        now += source.uniform(0, 0.05)
        if source.random() < 0.3:
            requester.request(now)
        if source.random() < 0.05:
            requester.keyframe_seen(now)
        if requester.due(now):
            sent.append(now)
    assert len(sent) > 50
    assert all(later - earlier >= MIN_INTERVAL_SECONDS for earlier, later in itertools.pairwise(sent))
