"""Loss recovery: frames complete at a viewer when both hops lose packets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.helpers.lossy_proxy import Link, LossyProxy

from .bench import percentile, running_bench

if TYPE_CHECKING:
    from .processes import Kind
    from .scenarios import Context, Row

ONE_WAY_SECONDS = 0.02
LOSS = 0.05
BURST = 5
"""Datagrams in a row; the part that is lost stays the same."""
SETTLE_SECONDS = 1.0
LAST_CALL_SECONDS = 1.5
"""For what was sent at the end of the window to be recovered: a second, the sinks' limit, and the way."""
MIN_SECONDS = 20.0
"""600 frames: one frame is then less than the 0.2 % that tell the goals apart."""


async def loss(context: Context) -> list[Row]:
    """Measure frames complete at the viewer, with loss one by one and in bursts, and without for the control."""
    cases = {"no loss": Link(ONE_WAY_SECONDS), "random": Link(ONE_WAY_SECONDS, LOSS)}
    if not context.quick:
        cases["bursts of 5"] = Link(ONE_WAY_SECONDS, LOSS, BURST)
    return [await _loss(context, "aiosfu", name, link) for name, link in cases.items()]


async def _loss(context: Context, kind: Kind, name: str, link: Link) -> Row:
    calm = Link(ONE_WAY_SECONDS)
    seconds = context.seconds if context.quick else max(MIN_SECONDS, context.seconds)
    host, target = context.network.load_host, (context.network.server_host, context.network.media_port)
    async with running_bench(kind, context.network, context.clip, context.settle) as bench:
        with (
            LossyProxy(host, target, up=calm, down=calm, seed=1) as first,
            LossyProxy(host, target, up=calm, down=calm, seed=3) as second,
        ):
            source = await bench.add_source(via=first.address)
            sink = bench.new_sink(via=second.address)
            sink.repair()
            await bench.join(sink)
            await bench.receiving([sink])
            for proxy in (first, second):
                proxy.set_links(up=link, down=link)
            await asyncio.sleep(0 if context.quick else SETTLE_SECONDS)
            loop = asyncio.get_running_loop()
            requests, began = source.keyframe_requests, loop.time()
            await asyncio.sleep(seconds)
            ended = loop.time()
            await asyncio.sleep(LAST_CALL_SECONDS)
            sent = {picture: when for picture, when in source.frames.items() if began <= when < ended}
            assert sink.reassembly is not None
            complete = sink.reassembly.complete
            took = sorted(complete[picture] - when for picture, when in sent.items() if picture in complete)
            return {
                "server": kind,
                "loss": name,
                "seconds": round(ended - began, 1),
                "frames_sent": len(sent),
                "frames_complete_percent": round(100 * len(took) / max(1, len(sent)), 2),
                "frame_delay_p50_ms": round(1000 * percentile(took, 0.5)),
                "frame_delay_p99_ms": round(1000 * percentile(took, 0.99)),
                "sink_nacked": sink.reassembly.requested,
                "sink_recovered": sink.reassembly.recovered,
                "sink_given_up": sink.reassembly.given_up,
                "source_retransmitted": source.nacked,
                "keyframe_requests": source.keyframe_requests - requests,
                "lost_up": sum(proxy.counts["up"]["lost"] for proxy in (first, second)),
                "lost_down": sum(proxy.counts["down"]["lost"] for proxy in (first, second)),
            }
