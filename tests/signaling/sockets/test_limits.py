"""Token bucket: burst, refill, a clock that steps. Places by address."""

from __future__ import annotations

import pytest

from signaling.sockets.limits import NoPlaceError, Places, TokenBucket, address_key


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


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        (None, ""),
        ("a name", ""),
    ],
)
def test_an_address_is_counted_by_what_one_customer_has(host: str | None, key: str) -> None:
    assert address_key(host) == key


def test_places_are_counted_by_key_and_given_back() -> None:
    places = Places(2, "seats")
    with places.hold("a"), places.hold("a"), places.hold("b"):
        assert len(places) == 3
        with pytest.raises(NoPlaceError, match="there are 2 seats"):
            with places.hold("a"):
                pytest.fail("a third place of two")
    with pytest.raises(ZeroDivisionError), places.hold("a"):
        raise ZeroDivisionError
    assert len(places) == 0
    assert not places._taken, "nothing is kept of who was there"
