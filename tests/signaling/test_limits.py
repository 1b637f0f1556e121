"""Token bucket: burst, refill, a clock that steps."""

from __future__ import annotations

from signaling.limits import TokenBucket


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(10.4)
    assert bucket.take(10.5)
    assert not bucket.take(10.5)


def test_an_idle_bucket_holds_no_more_than_its_burst() -> None:
    bucket = TokenBucket(rate=100, burst=2, now=0.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]


def test_a_clock_that_steps_back_gives_nothing() -> None:
    bucket = TokenBucket(rate=1, burst=1, now=5.0)
    assert bucket.take(5.0)
    assert not bucket.take(0.0)
    assert not bucket.take(5.5)
    assert bucket.take(6.0)
