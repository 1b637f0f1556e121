"""Rooms that are created, filled and left, 200 a second: what is left of them must be nothing."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .idle import Watcher, watcher
from .processes import running_server

if TYPE_CHECKING:
    from .network import Network
    from .processes import ServerProcess
    from .scenarios import Context, Row

ROOMS_PER_SECOND: Final = 200
QUICK_ROOMS_PER_SECOND: Final = 20
WINDOWS: Final = 6
"""Of 10 s each: the minute that the figures are of."""
GROUPS: Final = 40
"""Of one WEB and its devices, with a room at a time each: enough that none waits for its turn."""
QUICK_GROUPS: Final = 4
DEVICES_PER_ROOM: Final = 2


@dataclass(slots=True)
class Churn:
    """What has been done so far."""

    interval: float
    """Between two rooms, over all groups."""
    next_at: float = field(default_factory=time.monotonic)
    rooms: int = 0
    seconds: list[float] = field(default_factory=list)
    """Of each room, from its creation to its being left by all."""
    is_over: bool = False

    async def turn(self) -> bool:
        """Wait until the next room is to be made; return whether one is."""
        at, self.next_at = self.next_at, self.next_at + self.interval
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        return not self.is_over


class Group:
    """A WEB and the devices that it fills its rooms with."""

    def __init__(self, web: Watcher, devices: list[Watcher], names: list[str]) -> None:
        self._web = web
        self._devices = devices
        self._names = names

    async def run(self, churn: Churn) -> None:
        """Make one room after the other."""
        while await churn.turn():
            began = time.monotonic()
            await self._one_room()
            churn.rooms += 1
            churn.seconds.append(time.monotonic() - began)

    async def _one_room(self) -> None:
        room = (await self._web.ask("create_room", "room_created"))["room_id"]
        await self._web.ask("join_as_publisher", "joined_as_publisher", room_id=room)
        invited = await self._web.ask("invite_devices", "devices_invited", room_id=room, devices=self._names)
        assert invited["invited"] == self._names, invited
        for device in self._devices:
            asked = await device.expect("start_streaming")
            assert asked["room_id"] == room
            await device.ask("join_as_publisher", "joined_as_publisher", **asked)
        for member in (*self._devices, self._web):
            await member.ask("leave", "left", room_id=room)


async def churn(context: Context) -> list[Row]:
    """Measure memory and CPU over a minute in which 200 rooms a second are created, filled and left."""
    rate, groups = (QUICK_ROOMS_PER_SECOND, QUICK_GROUPS) if context.quick else (ROOMS_PER_SECOND, GROUPS)
    # Limits without a place to spare: one room or session that stayed would have the next one refused.
    options = ("--max-rooms", str(groups), "--max-sessions", str(groups * (1 + DEVICES_PER_ROOM)))
    async with running_server("aiosfu", context.network, options=options) as server:
        return [await _measure(context, server, rate, groups)]


async def _measure(context: Context, server: ServerProcess, rate: int, groups: int) -> Row:
    state = Churn(1 / rate)
    ready: list[Group] = []
    async with asyncio.TaskGroup() as tasks:
        done, there = asyncio.Event(), asyncio.Barrier(groups + 1)
        for number in range(groups):
            tasks.create_task(_hold(context.network, number, ready, there, done))
        await there.wait()
        state.next_at = time.monotonic()
        running = [tasks.create_task(group.run(state)) for group in ready]
        await asyncio.sleep(context.seconds)  # what the first rooms bring in is there now
        row = await _windows(context, server, state)
        state.is_over = True
        await asyncio.gather(*running)
        done.set()
    return {"server": "aiosfu", "groups": groups} | row


async def _windows(context: Context, server: ServerProcess, state: Churn) -> Row:
    rss = [server.memory_bytes()["Rss"]]
    rooms, began, used = state.rooms, time.monotonic(), server.cpu_seconds()
    state.seconds.clear()
    for _ in range(1 if context.quick else WINDOWS):
        await asyncio.sleep(context.seconds)
        rss.append(server.memory_bytes()["Rss"])
    took = time.monotonic() - began
    cuts = statistics.quantiles(state.seconds, n=100, method="inclusive")
    made = state.rooms - rooms
    return {
        "rooms": made,
        "rooms_per_second": round(made / took, 1),
        "room_p50_ms": round(cuts[49] * 1000, 1),
        "room_p99_ms": round(cuts[98] * 1000, 1),
        "cpu_percent": round(100 * (server.cpu_seconds() - used) / took, 1),
        "rss_MB": round(rss[-1] / 1e6, 1),
        "rss_growth_kB": round((rss[-1] - rss[0]) / 1000),
        "rss_growth_bytes_per_room": round((rss[-1] - rss[0]) / max(1, made), 1),
    }


async def _hold(network: Network, number: int, ready: list[Group], there: asyncio.Barrier, done: asyncio.Event) -> None:
    """Have a group's clients connected until `done`."""
    names = [f"churn-{number}-{index}" for index in range(DEVICES_PER_ROOM)]
    async with contextlib.AsyncExitStack() as stack:
        web = await stack.enter_async_context(watcher(network, f"churn-{number}"))
        devices = [await stack.enter_async_context(watcher(network, name, role="DEVICE")) for name in names]
        ready.append(Group(web, devices, names))
        await there.wait()
        await done.wait()
