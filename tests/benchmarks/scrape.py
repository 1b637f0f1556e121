"""Scrape: what a scrape of `/metrics` each second, and a `/status` page that looks on, do to the delay of media."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from .bench import Bench, percentile
from .processes import running_server
from .signalling import signalling_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .scenarios import Context, Row

VIEWERS: Final = 300
QUICK_VIEWERS: Final = 3
INTERVAL_SECONDS: Final = 1.0
ROUNDS: Final = 3
"""Of each case in turn: the machine's own noise is of the size of what is looked for."""

_FEEDS: Final = "/api/v1/feeds"
_CASES: Final[dict[str, Sequence[str]]] = {
    "nobody asks": (),
    "a scrape each second": ("/metrics",),
    "a status page": ("/api/v1/server", "/api/v1/rooms", _FEEDS),
    "200 viewers' statistics each second": (f"{_FEEDS}/{{feed}}/subscriptions?limit=200",),
}


async def scrape(context: Context) -> list[Row]:
    """Measure added delay at 300 viewers: without anybody who asks, and with each who does, in turn."""
    network = context.network
    options = ("--metrics-network", network.load_host, "--admin-network", network.load_host)
    rows: list[Row] = []
    async with running_server("aiosfu", network, options) as server:
        bench = Bench(server, signalling_for("aiosfu", network), network, context.clip, context.settle)
        try:
            await bench.add_source()
            await bench.add_sinks(QUICK_VIEWERS if context.quick else VIEWERS)
            for _ in range(1 if context.quick else ROUNDS):
                for case, paths in _CASES.items():
                    rows.append({"case": case} | await _window(bench, paths, context))
        finally:
            await bench.close()
    return rows


async def _window(bench: Bench, paths: Sequence[str], context: Context) -> Row:
    url = f"http://{context.network.server_host}:{context.network.signalling_port}"
    async with _asking(url, paths, context.seconds / 4 if context.quick else INTERVAL_SECONDS) as took:
        window = await bench.window(context.seconds, delays=True)
    asked: Row = {"asked": len(took)}
    if took:
        asked |= {"answer_p50_ms": round(1000 * percentile(sorted(took), 0.5), 1)}
    return window.row() | asked


@contextlib.asynccontextmanager
async def _asking(url: str, paths: Sequence[str], interval: float) -> AsyncIterator[list[float]]:
    """Ask for each path once an interval; yield the seconds that each answer took."""
    took: list[float] = []

    async def ask(http: aiohttp.ClientSession) -> None:
        async with http.get(f"{url}{_FEEDS}") as answer:
            (feed,) = (await answer.json())["feeds"]
        while True:
            for path in paths:
                began = time.monotonic()
                async with http.get(url + path.format(feed=feed["feed"])) as answer:
                    answer.raise_for_status()
                    await answer.read()
                took.append(time.monotonic() - began)
            await asyncio.sleep(interval)

    async with aiohttp.ClientSession() as http:
        task: asyncio.Task[Any] | None = asyncio.create_task(ask(http)) if paths else None
        try:
            yield took
        finally:
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
