"""One timer beats for all: each at its time, sooner where asked, no more when removed."""

from __future__ import annotations

import asyncio

from signaling.sockets.heartbeat import MAX_BEATS_PER_TURN, Heartbeat

INTERVAL = 0.1


class Beating:
    def __init__(self, *answers: float) -> None:
        self.times: list[float] = []
        self._answers = list(answers)
        self.over = asyncio.Event()

    def beat(self, now: float) -> float:
        self.times.append(now)
        answer = self._answers.pop(0)
        if not self._answers:
            self.over.set()
        return answer

    def failed(self, error: Exception) -> None:
        raise error


async def test_each_beats_at_the_interval_and_sooner_where_asked() -> None:
    heartbeat = Heartbeat(INTERVAL)
    began = asyncio.get_running_loop().time()
    regular, sooner = Beating(INTERVAL, INTERVAL, 0), Beating(INTERVAL, INTERVAL / 10, 0)
    heartbeat.add(regular)
    heartbeat.add(sooner)
    async with asyncio.timeout(5):
        await regular.over.wait()
        await sooner.over.wait()
    assert began + INTERVAL / 2 <= regular.times[0]
    assert regular.times[1] - regular.times[0] >= INTERVAL / 2
    assert sooner.times[2] - sooner.times[1] < regular.times[2] - regular.times[1]
    assert len(heartbeat) == 0, "who answered 0 beats no more"


async def test_many_that_are_due_at_once_leave_the_loop_its_turns() -> None:
    heartbeat, loop = Heartbeat(INTERVAL), asyncio.get_running_loop()
    many = [Beating(0) for _ in range(4 * MAX_BEATS_PER_TURN)]
    for beating in many:
        heartbeat.add(beating)
    most, before = 0, 0
    deadline = loop.time() + 5
    while not many[-1].times and loop.time() < deadline:
        await asyncio.sleep(0)
        now = sum(bool(beating.times) for beating in many)
        most, before = max(most, now - before), now
    assert 0 < most <= MAX_BEATS_PER_TURN
    assert all(len(beating.times) == 1 for beating in many)


async def test_who_is_removed_beats_no_more_and_nothing_is_left() -> None:
    heartbeat = Heartbeat(INTERVAL)
    removed, kept = Beating(INTERVAL), Beating(0)
    heartbeat.add(removed)
    heartbeat.add(kept)
    heartbeat.remove(removed)
    heartbeat.remove(removed)
    async with asyncio.timeout(5):
        await kept.over.wait()
    assert not removed.times
    last = Beating(0)
    heartbeat.add(last)
    heartbeat.remove(last)
    assert heartbeat._timer is None
