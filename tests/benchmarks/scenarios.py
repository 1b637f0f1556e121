"""The scenarios that compare load and cost: cost, scale, delay, many devices, memory."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .bench import DEFAULT_SETTLE_SECONDS, Window, running_bench
from .processes import janus_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .clip import Clip
    from .network import Network
    from .processes import Kind

Row = dict[str, Any]

DELAY_LIMIT_MS: Final = 20.0
"""Of the 99th percentile: beyond it a viewer counts as too many."""
MEMORY_SETTLE_SECONDS: Final = 5.0
"""For what joining needed and gives back."""
MIN_DELIVERED: Final = 0.98
"""Below it a server was overloaded, and its cost is that of another load."""
STOCK_VIEWERS: Final = (1, 2)
"""Each is an encoder: a two-core machine takes no more."""


@dataclass(frozen=True, slots=True)
class Context:
    """What every scenario gets."""

    network: Network
    clip: Clip
    seconds: float
    """Of one measuring window."""
    quick: bool
    """The tiny form, without Janus: it proves that a scenario works and measures nothing."""

    @property
    def settle(self) -> float:
        """Seconds to let pass before a window."""
        return 0.1 if self.quick else DEFAULT_SETTLE_SECONDS

    def servers(self) -> tuple[Kind, ...]:
        """Return ours, and Janus where it can run: it has no use for loopback."""
        if self.quick or not self.network.server_prefix or janus_version() is None:
            return ("aiosfu",)
        return ("aiosfu", "janus")


async def cost(context: Context) -> list[Row]:
    """Measure CPU per forwarded packet: ours and Janus in turn, then the stock server."""
    rows: list[Row] = []
    for viewers in (3,) if context.quick else (50, 150, 300):
        rows += [await _fan_out(context, kind, viewers) for kind in context.servers()]
    stock = (1,) if context.quick else STOCK_VIEWERS
    return rows + [await _fan_out(context, "stock", viewers) for viewers in stock]


async def scale(context: Context) -> list[Row]:
    """Measure our cost and delay from 1 viewer to 600, one server growing."""
    steps = (1, 2) if context.quick else (1, 50, 150, 300, 450, 600)
    rows: list[Row] = []
    async with running_bench("aiosfu", context.network, context.clip, context.settle) as bench:
        await bench.add_source()
        for viewers in steps:
            await bench.add_sinks(viewers - len(bench.sinks))
            window = await bench.window(context.seconds, delays=True)
            rows.append(window.row() | {"within_20_ms": _within(window)})
    return rows


async def viewers_per_core(context: Context) -> list[Row]:
    """Find how many viewers the server carries before the 99th percentile of added delay passes 20 ms."""
    step, most = (1, 2) if context.quick else (50, 900)
    rows: list[Row] = []
    async with running_bench("aiosfu", context.network, context.clip, context.settle) as bench:
        await bench.add_source()
        await bench.add_sinks(0 if context.quick else 250)
        while len(bench.sinks) < most:
            await bench.add_sinks(step)
            window = await bench.window(context.seconds, delays=True)
            rows.append(window.row() | {"within_20_ms": _within(window)})
            if not _within(window):
                break
    return rows


async def delay(context: Context) -> list[Row]:
    """Measure added delay at 150 viewers, ours and Janus: from the publisher's send to the sink's kernel."""
    viewers = 2 if context.quick else 150
    return [await _fan_out(context, kind, viewers, delays=True) for kind in context.servers()]


async def many(context: Context) -> list[Row]:
    """Measure 40 devices to one viewer each, ours and Janus."""
    devices = 2 if context.quick else 40
    rows = []
    for kind in context.servers():
        phases = random.Random(1)
        async with running_bench(kind, context.network, context.clip, context.settle) as bench:
            for number in range(devices):
                await bench.add_source(phase=phases.random())
                await bench.join(bench.new_sink(number), number)
            await bench.receiving(bench.sinks)
            rows.append(
                (await bench.window(context.seconds)).row() | {"profile": bench.sinks[0].transport.srtp_profile}
            )
    return rows


async def memory(context: Context) -> list[Row]:
    """Measure the growth of the server's memory for each viewer, its signalling session included."""
    viewers = 2 if context.quick else 150
    rows = []
    for kind in context.servers():
        async with running_bench(kind, context.network, context.clip, context.settle) as bench:
            await bench.add_source()
            # The first viewers bring in code and fill the pools that all share.
            await bench.add_sinks(2 if context.quick else 10)
            before = bench.server.memory_bytes()
            await bench.add_sinks(viewers)
            await asyncio.sleep(0 if context.quick else MEMORY_SETTLE_SECONDS)
            after = bench.server.memory_bytes()
            growth = {
                f"{name.lower()}_kB_per_viewer": round((after[name] - before[name]) / viewers / 1000, 1)
                for name in after
            }
            total = {f"{name.lower()}_MB": round(value / 1e6, 1) for name, value in after.items()}
            rows.append({"server": kind, "viewers": viewers} | growth | total)
    return rows


async def _fan_out(context: Context, kind: Kind, viewers: int, *, delays: bool = False) -> Row:
    """Measure one source to some viewers on a fresh server."""
    async with running_bench(kind, context.network, context.clip, context.settle) as bench:
        source = await bench.add_source()
        await bench.add_sinks(viewers)
        requests = source.keyframe_requests
        window: Window = await bench.window(context.seconds, delays=delays)
        return window.row() | {
            "keyframe_requests": source.keyframe_requests - requests,
            "profile": bench.sinks[0].transport.srtp_profile,
        }


def _within(window: Window) -> bool:
    return window.delay_p99_ms is not None and window.delay_p99_ms <= DELAY_LIMIT_MS and window.lost == 0


def ratios(rows: Sequence[Row]) -> list[str]:
    """Return sentences that compare ours with the others, row by row of the same load."""
    lines = []
    ours = {(row["viewers"], row["sources"]): row for row in rows if row["server"] == "aiosfu"}
    for row in rows:
        mine = ours.get((row["viewers"], row["sources"]))
        if row["server"] == "janus" and mine is not None:
            ratio = mine["us_per_packet"] / row["us_per_packet"]
            short = "" if row["delivered"] > MIN_DELIVERED else f"; Janus delivered {row['delivered']:.0%} only"
            lines.append(
                f"{row['sources']} to {row['viewers']}: {mine['us_per_packet']} us against Janus's "
                f"{row['us_per_packet']} us, {ratio:.2f} of it{short}"
            )
    return lines
