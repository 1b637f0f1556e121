"""Demand: told at once when a track is wanted, late when it is not any more, and never before anybody came."""

from __future__ import annotations

from sfu.forwarding.demand import Demand

HOLD = 3.0


def test_nothing_is_told_before_anybody_received_anything() -> None:
    demand: Demand[str] = Demand(HOLD)
    assert demand.update("av", "", 0.0) is None
    assert demand.next_deadline() is None
    assert demand.update("av", "", 100.0) is None
    assert demand.update("av", "a", 100.0) == frozenset({"a", "v"}), "the other is held first"
    assert demand.next_deadline() == 100.0 + HOLD
    assert demand.update("av", "a", 100.0 + HOLD) == frozenset({"a"})
    assert demand.next_deadline() is None


def test_a_short_absence_is_no_news_and_a_return_is_told_at_once() -> None:
    demand: Demand[str] = Demand(HOLD)
    assert demand.update("a", "a", 0.0) == frozenset({"a"})
    assert demand.update("a", "", 1.0) is None
    assert demand.next_deadline() == 1.0 + HOLD
    assert demand.update("a", "a", 3.9) is None
    assert demand.next_deadline() is None
    assert demand.update("a", "", 5.0) is None
    assert demand.update("a", "", 7.9) is None, "the hold began when it was left"
    assert demand.update("a", "", 8.0) == frozenset()
    assert demand.update("a", "a", 8.1) == frozenset({"a"})


def test_what_is_added_is_held_and_what_is_removed_is_told() -> None:
    demand: Demand[str] = Demand(HOLD)
    demand.update("a", "a", 0.0)
    assert demand.update("ab", "a", 1.0) == frozenset({"a", "b"})
    assert demand.update("ab", "a", 1.0 + HOLD) == frozenset({"a"})
    assert demand.update("b", "", 5.0) == frozenset()
    assert demand.next_deadline() is None


def test_a_publisher_that_began_anew_is_told_again() -> None:
    demand: Demand[str] = Demand(HOLD)
    demand.update("a", "a", 0.0)
    demand.forget()
    assert demand.update("a", "a", 1.0) == frozenset({"a"})
    assert demand.update("a", "a", 2.0) is None
