"""Many are woken, in order, and the loop has its turn in between."""

from __future__ import annotations

import asyncio

from signaling.sockets.pacer import MAX_WAKES_PER_TURN, Pacer


class Writer:
    def __init__(self) -> None:
        self.flushed = 0

    def flush(self) -> None:
        self.flushed += 1

    def failed(self, error: Exception) -> None:
        raise error


async def test_thousands_are_woken_in_order_over_several_turns() -> None:
    pacer, writers = Pacer(), [Writer() for _ in range(5 * MAX_WAKES_PER_TURN)]
    for writer in writers:
        pacer.wake(writer)
    for writer in writers[MAX_WAKES_PER_TURN:]:
        pacer.wake(writer)  # they wait already
    turns = []
    while not writers[-1].flushed:
        turns.append(sum(writer.flushed for writer in writers))
        assert all(writer.flushed == 1 for writer in writers[: turns[-1]]), "the first come first"
        await asyncio.sleep(0)
    assert turns == [count * MAX_WAKES_PER_TURN for count in range(1, 5)]
    assert all(writer.flushed == 1 for writer in writers)


async def test_a_few_are_woken_at_once_again_and_again() -> None:
    pacer, writer = Pacer(), Writer()
    for count in range(1000):
        pacer.wake(writer)
        assert writer.flushed == count + 1
        await asyncio.sleep(0)
    assert not pacer._waiting
