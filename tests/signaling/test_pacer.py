"""Many are woken, in order, and the loop has its turn in between."""

from __future__ import annotations

import asyncio

from signaling.pacer import MAX_WAKES_PER_TURN, Pacer


async def test_thousands_are_woken_in_order_over_several_turns() -> None:
    pacer, events = Pacer(), [asyncio.Event() for _ in range(5 * MAX_WAKES_PER_TURN)]
    for event in (*events, *events):
        pacer.wake(event)
    turns = []
    while not events[-1].is_set():
        turns.append(sum(event.is_set() for event in events))
        assert all(event.is_set() for event in events[: turns[-1]]), "the first come first"
        await asyncio.sleep(0)
    assert turns == [count * MAX_WAKES_PER_TURN for count in range(1, 5)]


async def test_a_few_are_woken_at_once_again_and_again() -> None:
    pacer, event = Pacer(), asyncio.Event()
    for _ in range(1000):
        pacer.wake(event)
        assert event.is_set()
        event.clear()
        await asyncio.sleep(0)
    assert not pacer._waiting
