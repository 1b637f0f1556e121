"""The join storm: a hundred viewers within a second, and viewers whose device makes no keyframe for them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from . import sdp
from .bench import Bench, gather, percentile, running_bench, until

if TYPE_CHECKING:
    from .processes import Kind
    from .scenarios import Context, Row
    from .signalling import Viewer

STORM_VIEWERS = 100
STORM_SECONDS = 1.0
LATE_VIEWERS = 8
LATE_SPACING_SECONDS = 0.4
"""It grows by itself from viewer to viewer, so that they come at all distances from a keyframe every three seconds."""
KEYFRAME_TIMEOUT_SECONDS = 15.0


async def storm(context: Context) -> list[Row]:
    """Measure joins: CPU, time to the first complete keyframe, and requests that the device sees."""
    rows = [await _storm(context, kind, ignore_pli=False) for kind in context.servers()]
    rows.append(await _storm(context, "aiosfu", ignore_pli=True))
    rows += [await _late(context, kind) for kind in context.servers()]
    return rows


async def _storm(context: Context, kind: Kind, *, ignore_pli: bool) -> Row:
    viewers = 3 if context.quick else STORM_VIEWERS
    async with running_bench(kind, context.network, context.clip, context.settle) as bench:
        source = await bench.add_source(ignore_pli=ignore_pli)
        await bench.add_sinks(1)
        # Sockets and rooms first: the clock runs from the wish to watch.
        joined = [await bench.signalling.viewer(0) for _ in range(viewers)]
        await asyncio.sleep(context.settle)
        requests, cpu, load_cpu, sinks = (
            source.keyframe_requests,
            bench.server.cpu_seconds(),
            time.process_time(),
            len(bench.sinks),
        )
        packets = sum(sink.packets for sink in bench.sinks)
        loop = asyncio.get_running_loop()
        began = loop.time()
        times: list[float] = []
        await gather(
            [_join(bench, viewer, began + STORM_SECONDS * n / viewers, times) for n, viewer in enumerate(joined)]
        )
        took = loop.time() - began
        cpu = bench.server.cpu_seconds() - cpu
        load_cpu = time.process_time() - load_cpu
        packets = sum(sink.packets for sink in bench.sinks) - packets
        requests = source.keyframe_requests - requests
        await bench.receiving(bench.sinks[sinks:])
        steady = await bench.window(context.seconds)
        forwarding = packets * steady.cpu_seconds / max(1, steady.received)
        return {
            "server": kind,
            "case": "device ignores PLI" if ignore_pli else f"{viewers} joins within a second",
            "viewers": viewers,
            **_times(times),
            "cpu_ms_per_join": round(1000 * (cpu - forwarding) / viewers, 2),
            "cpu_ms_per_join_with_forwarding": round(1000 * cpu / viewers, 2),
            "keyframe_requests": requests,
            "server_cpu_percent": round(100 * cpu / took),
            "load_cpu_percent": round(100 * load_cpu / took),
        }


async def _late(context: Context, kind: Kind) -> Row:
    """Let viewers come one by one to a device that ignores PLI."""
    viewers = 1 if context.quick else LATE_VIEWERS
    async with running_bench(kind, context.network, context.clip, context.settle) as bench:
        source = await bench.add_source(ignore_pli=True)
        await bench.add_sinks(1)
        requests = source.keyframe_requests
        times: list[float] = []
        for number in range(viewers):
            viewer = await bench.signalling.viewer(0)
            await _join(bench, viewer, 0.0, times)
            await asyncio.sleep(0 if context.quick else LATE_SPACING_SECONDS * (number + 1))
        return {
            "server": kind,
            "case": "late single viewers, device ignores PLI",
            "viewers": viewers,
            **_times(times),
            "keyframe_requests": source.keyframe_requests - requests,
        }


async def _join(bench: Bench, viewer: Viewer, when: float, times: list[float]) -> None:
    """Subscribe at loop time `when` and note the seconds to the first complete keyframe."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(0.0, when - loop.time()))
    sink = bench.new_sink()
    sink.time_keyframe()
    began = loop.time()
    offer = sdp.parse(await viewer.subscribe())
    sink.expect(offer)
    await viewer.start(sdp.answer(sink.local, offer))
    await sink.connect(offer, offered=False)
    await until(lambda: sink.first_keyframe_at is not None, KEYFRAME_TIMEOUT_SECONDS, "no keyframe")
    assert sink.first_keyframe_at is not None
    times.append(sink.first_keyframe_at - began)


def _times(times: list[float]) -> Row:
    ordered = sorted(times)
    return {
        "first_frame_p50_ms": round(1000 * percentile(ordered, 0.5)),
        "first_frame_p95_ms": round(1000 * percentile(ordered, 0.95)),
        "first_frame_max_ms": round(1000 * ordered[-1]),
    }
