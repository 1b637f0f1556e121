"""Many devices that are connected and do nothing: what they cost, and how soon all are reached."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from .processes import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .network import Network
    from .processes import ServerProcess
    from .scenarios import Context, Row

DEVICES: Final = 10_000
QUICK_DEVICES: Final = 30
WARM_DEVICES: Final = 500
"""Connected before memory is first measured: they bring in code and fill the pools that all share."""
SPARE_FILES: Final = 500
"""Descriptors of a process besides its sockets."""
HEARTBEATS: Final = 3
"""In the window in which CPU is measured, of 10 s each."""
INVITATIONS: Final = 3
LISTS: Final = 200
LIST_PAUSE_SECONDS: Final = 0.02
REPLY_TIMEOUT_SECONDS: Final = 30.0

_ROOT = Path(__file__).parents[2]


class IdleDevices:
    """A process of devices; see `idle_sockets`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def next_report(self) -> dict[str, Any]:
        """Return the process's next line."""
        assert self._process.stdout is not None
        async with asyncio.timeout(REPLY_TIMEOUT_SECONDS * 5):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process of idle devices has ended; its error is above")
        report: dict[str, Any] = json.loads(line)
        return report

    async def report(self) -> dict[str, Any]:
        """Return what has come since the last report."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return await self.next_report()

    async def wait_for(self, event: str, count: int) -> float:
        """Return when the last of `count` devices has got `event`, by the monotonic clock."""
        came, last = 0, 0.0
        async with asyncio.timeout(REPLY_TIMEOUT_SECONDS):
            while came < count:
                await asyncio.sleep(0.05)
                more, at = (await self.report())["events"].get(event, (0, 0.0))
                came, last = came + more, max(last, at)
        return last

    async def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


class Watcher:
    """A client that asks one thing after the other."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def ask(self, event: str, reply: str, **data: Any) -> dict[str, Any]:
        """Send an event and return the `data` of its reply."""
        found: dict[str, Any] = json.loads(await self.ask_text(event, reply, **data))["data"]
        return found

    async def ask_text(self, event: str, reply: str, **data: Any) -> str:
        """Send an event and return its reply as it came."""
        await self._socket.send_str(json.dumps({"event": event, "data": data}))
        return await self._expect_text(reply)

    async def expect(self, event: str) -> dict[str, Any]:
        """Return the `data` of the next such event, passing over others."""
        found: dict[str, Any] = json.loads(await self._expect_text(event))["data"]
        return found

    async def _expect_text(self, event: str) -> str:
        start = f'{{"event":"{event}"'
        while True:
            text = await self._socket.receive_str(timeout=REPLY_TIMEOUT_SECONDS)
            if text.startswith(start):
                return text
            if text.startswith('{"event":"error"'):
                raise RuntimeError(text)


async def idle(context: Context) -> list[Row]:
    """Measure memory and CPU for each of 10,000 idle devices, an invitation to all, and `list_devices`."""
    devices = QUICK_DEVICES if context.quick else DEVICES
    warm = 2 if context.quick else WARM_DEVICES
    raise_file_limit(devices + warm + SPARE_FILES)
    limit = str(devices + warm + SPARE_FILES)
    options = [word for name in _LIMITS for word in (name, limit)]
    async with running_server("aiosfu", context.network, options=options) as server:
        async with idle_devices(context.network, warm, first=devices):
            bare = await _cpu_percent(server, context.seconds)
            before = server.memory_bytes()
            began = time.monotonic()
            async with idle_devices(context.network, devices) as load:
                connected = time.monotonic()
                row: Row = {"server": "aiosfu", "devices": devices}
                row |= await _at_rest(context, server, load, before, bare)
                row["connects_per_second"] = round(devices / (connected - began))
                async with watcher(context.network) as web:
                    row |= await _invitations(context, web, load, devices)
                    row |= await _lists(context, web, devices + warm)
                return [row]


_LIMITS = (
    *("--max-sessions", "--max-sockets-per-address", "--max-pending-connections"),
    *("--max-members-per-room", "--outbox-messages"),
)


def raise_file_limit(wanted: int) -> None:
    """Allow this process, and those it starts, `wanted` descriptors; raise `OSError` where the machine does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise OSError(f"{wanted} file descriptors are needed, this machine allows {hard}: see ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.asynccontextmanager
async def idle_devices(network: Network, count: int, first: int = 0) -> AsyncIterator[IdleDevices]:
    """Have `count` connected devices for the block, numbered from `first`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.idle_sockets"),
        *(network.server_host, str(network.signalling_port), str(count), str(first)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    load = IdleDevices(process)
    try:
        await load.next_report()
        yield load
    finally:
        await load.close()


@contextlib.asynccontextmanager
async def watcher(network: Network, name: str = "watcher", role: str = "WEB") -> AsyncIterator[Watcher]:
    """Have a connected client for the block."""
    url = f"ws://{network.server_host}:{network.signalling_port}/ws/connect/{role}/{name}/x"
    async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as socket:
        web = Watcher(socket)
        await web.expect("welcome")
        yield web


async def _cpu_percent(server: ServerProcess, seconds: float) -> float:
    began, used = time.monotonic(), server.cpu_seconds()
    await asyncio.sleep(seconds)
    return 100 * (server.cpu_seconds() - used) / (time.monotonic() - began)


async def _at_rest(
    context: Context, server: ServerProcess, load: IdleDevices, before: dict[str, int], bare: float
) -> Row:
    await asyncio.sleep(context.settle)
    await load.report()
    percent = await _cpu_percent(server, context.seconds * HEARTBEATS)
    report = await load.report()
    growth = server.memory_bytes()["Rss"] - before["Rss"]
    devices = report["connected"]
    return {
        "rss_kB_per_socket": round(growth / devices / 1000, 1),
        "rss_MB": round(server.memory_bytes()["Rss"] / 1e6, 1),
        "idle_cpu_percent": round(percent, 2),
        "cpu_percent_without": round(bare, 2),
        "pings_per_second": round(report["pings"] / (context.seconds * HEARTBEATS), 1),
        "closed": report["closed"],
    }


async def _invitations(context: Context, web: Watcher, load: IdleDevices, devices: int) -> Row:
    took = []
    for _ in range(1 if context.quick else INVITATIONS):
        room = (await web.ask("create_room", "room_created"))["room_id"]
        await web.ask("join_as_publisher", "joined_as_publisher", room_id=room)
        await load.report()
        began = time.monotonic()
        invited = await web.ask("invite_devices", "devices_invited", room_id=room)
        assert len(invited["invited"]) >= devices, "not all were invited"
        took.append(await load.wait_for("start_streaming", devices) - began)
        await web.ask("leave", "left", room_id=room)
        await load.wait_for("stop_streaming", devices)  # the grace of a room that nobody watches is over
    return {"invite_all_seconds": round(max(took), 3)}


async def _lists(context: Context, web: Watcher, devices: int) -> Row:
    took = []
    for _ in range(5 if context.quick else LISTS):
        began = time.monotonic()
        text = await web.ask_text("list_devices", "devices")
        took.append((time.monotonic() - began) * 1000)
        assert text.count('"device":') == devices
        await asyncio.sleep(0 if context.quick else LIST_PAUSE_SECONDS)
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return {"list_devices_p50_ms": round(cuts[49], 1), "list_devices_p99_ms": round(cuts[98], 1)}
