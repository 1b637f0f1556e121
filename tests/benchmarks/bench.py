"""Bench: one server under one load, and the windows in which it is measured."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sfu.transport.dtls import Certificate

from . import sdp
from .network import receive_overflows
from .processes import running_server
from .signalling import signalling_for
from .sink import Sink
from .source import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .clip import Clip
    from .network import Network
    from .processes import Kind, ServerProcess
    from .signalling import Signalling, Viewer

JOINS_AT_ONCE = 8
"""While a load is built up; the join storm has its own way."""
MEDIA_TIMEOUT_SECONDS = 20.0
"""From the last join until every sink receives."""
DEFAULT_SETTLE_SECONDS = 2.0
"""After that, before a window: handshakes' leftovers and the first keyframes are over."""


class BenchmarkError(Exception):
    """A load that could not be brought up or a run that proves nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was measured between two moments."""

    server: str
    viewers: int
    sources: int
    seconds: float
    cpu_seconds: float
    """Of the server, user and system."""
    sent: int
    """RTP packets that the sources sent."""
    expected: int
    """RTP packets that the sinks should have got."""
    received: int
    lost: int
    """Holes in the sequence numbers that the sinks saw: unlike expected and received, sharp at the window's ends."""
    sink_overflows: int
    """Datagrams that the load's own sockets had no room for: above 0 the window is not valid."""
    server_overflows: int
    """The same of the server's sockets, where its namespace is its own."""
    lateness_p99_ms: float
    """By which the sources' frames left too late."""
    delay_p50_ms: float | None = None
    delay_p99_ms: float | None = None

    @property
    def microseconds_per_packet(self) -> float:
        """CPU of the server for each packet that a sink received."""
        return self.cpu_seconds / self.received * 1e6 if self.received else float("nan")

    @property
    def delivered(self) -> float:
        """The part of the expected packets that came."""
        return self.received / self.expected if self.expected else 0.0

    @property
    def valid(self) -> bool:
        """Whether the load kept up."""
        return self.sink_overflows == 0

    def row(self) -> dict[str, Any]:
        """Return everything as one row of a table."""
        values = asdict(self)
        return {
            **{name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()},
            "us_per_packet": round(self.microseconds_per_packet, 2),
            "cpu_percent": round(100 * self.cpu_seconds / self.seconds, 1),
            "cpu_percent_per_viewer": round(100 * self.cpu_seconds / self.seconds / max(1, self.viewers), 3),
            "delivered": round(self.delivered, 4),
            "valid": self.valid,
        }


class Bench:
    """One server, its signalling, and the peers that load it."""

    def __init__(
        self, server: ServerProcess, signalling: Signalling, network: Network, clip: Clip, settle: float
    ) -> None:
        self.server = server
        self.signalling = signalling
        self.network = network
        self.clip = clip
        self.certificate = Certificate()
        self.sources: list[Source] = []
        self.sinks: list[Sink] = []
        self._watched: list[int] = []
        self._settle = settle

    async def add_source(
        self,
        *,
        phase: float = 0.0,
        ignore_pli: bool = False,
        via: tuple[str, int] | None = None,
        transport_cc: bool = True,
    ) -> Source:
        """Publish one more source and return it, connected; `transport_cc` as a browser has it and aiortc has not."""
        source = Source(
            self.network.load_host, self.certificate, self.clip, phase=phase, ignore_pli=ignore_pli, via=via
        )
        self.sources.append(source)
        offer = source.offer() if transport_cc else sdp.without_transport_cc(source.offer())
        answer = await self.signalling.publish(len(self.sources) - 1, offer)
        await source.connect(sdp.parse(answer), offered=True)
        return source

    async def add_sinks(self, count: int, number: int = 0) -> None:
        """Connect `count` more sinks to a source; returns once all of them receive."""
        gate = asyncio.Semaphore(JOINS_AT_ONCE)
        sinks = [self.new_sink(number) for _ in range(count)]

        async def join(sink: Sink) -> None:
            async with gate:
                await self.join(sink, number)

        await gather([join(sink) for sink in sinks])
        await self.receiving(sinks)

    def new_sink(self, number: int = 0, via: tuple[str, int] | None = None) -> Sink:
        """Return one more sink, for source `number`, not connected yet."""
        sink = Sink(self.network.load_host, self.certificate, via=via)
        self.sinks.append(sink)
        self._watched.append(number)
        return sink

    async def join(self, sink: Sink, number: int = 0) -> None:
        """Connect a sink to a source."""
        if self.server.kind == "stock":
            answer = sdp.parse(await self.signalling.watch(sink.offer()))
            sink.expect(answer)
            await sink.connect(answer, offered=True)
            return
        await self.start(await self.signalling.viewer(number), sink)

    async def start(self, viewer: Viewer, sink: Sink) -> None:
        """Let a viewer that has joined receive by a sink."""
        offer = sdp.parse(await viewer.subscribe())
        sink.expect(offer)
        await viewer.start(sdp.answer(sink.local, offer))
        await sink.connect(offer, offered=False)

    async def remove_sink(self, sink: Sink) -> None:
        """Close a sink and count it no more."""
        place = self.sinks.index(sink)
        del self.sinks[place], self._watched[place]
        await sink.close()

    async def receiving(self, sinks: Sequence[Sink]) -> None:
        """Return once every sink has got media on two streams, and some time has gone by."""
        await until(lambda: all(len(sink.streams) >= 2 for sink in sinks), MEDIA_TIMEOUT_SECONDS, "sinks without media")
        await asyncio.sleep(self._settle)

    async def window(self, seconds: float, *, delays: bool = False) -> Window:
        """Measure for some seconds; with `delays` also from the publisher's send to the sinks' kernel."""
        for place, (sink, number) in enumerate(zip(self.sinks, self._watched, strict=True)):
            if delays:
                sink.sample_delay(self.sources[number].send_times, place)
                sink.delays.clear()
        for source in self.sources:
            source.lateness.clear()
        sent = [source.packets for source in self.sources]
        before = self._counters()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(seconds)
        after = self._counters()
        took = loop.time() - began
        sent = [source.packets - count for source, count in zip(self.sources, sent, strict=True)]
        samples = sorted(delay for sink in self.sinks for delay in sink.delays) if delays else []
        lateness = [late for source in self.sources for late in source.lateness]
        return Window(
            server=self.server.kind,
            viewers=len(self.sinks),
            sources=len(self.sources),
            seconds=took,
            cpu_seconds=after[0] - before[0],
            sent=sum(sent),
            expected=sum(sent[number] for number in self._watched),
            received=after[1] - before[1],
            lost=after[4] - before[4],
            sink_overflows=after[2] - before[2],
            server_overflows=after[3] - before[3],
            lateness_p99_ms=1000 * percentile(sorted(lateness), 0.99),
            delay_p50_ms=1000 * statistics.median(samples) if samples else None,
            delay_p99_ms=1000 * percentile(samples, 0.99) if samples else None,
        )

    async def close(self) -> None:
        """Close every peer, then the signalling."""
        for peer in (*self.sources, *self.sinks):
            await peer.close()
        await self.signalling.close()

    def _counters(self) -> tuple[float, int, int, int, int]:
        shared = not self.network.server_prefix
        return (
            self.server.cpu_seconds(),
            sum(sink.packets for sink in self.sinks),
            receive_overflows(),
            0 if shared else receive_overflows(self.server.pid),
            sum(sink.lost for sink in self.sinks),
        )


@contextlib.asynccontextmanager
async def running_bench(
    kind: Kind, network: Network, clip: Clip, settle: float = DEFAULT_SETTLE_SECONDS
) -> AsyncIterator[Bench]:
    """Run a server and an empty load for the block."""
    async with running_server(kind, network) as server:
        bench = Bench(server, signalling_for(kind, network), network, clip, settle)
        try:
            yield bench
        finally:
            await bench.close()


async def gather(coroutines: Sequence[Any]) -> None:
    """Run all at once; the first failure ends the others."""
    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(coroutine)


async def until(condition: Any, seconds: float, failure: str) -> None:
    """Wait for a condition that packets bring about; raise `BenchmarkError` after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        if loop.time() > deadline:
            raise BenchmarkError(f"{failure} after {seconds} s")
        await asyncio.sleep(0.02)


def percentile(ordered: Sequence[float], part: float) -> float:
    """Return the value below which `part` of the sorted values lie; NaN of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")
