"""Fairness: the added delay of well-behaved viewers while others, or another device, misbehave."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sfu.rtp.rtcp import Nack, PictureLossIndication

from .bench import Bench, BenchmarkError, percentile, running_bench
from .processes import unread_socket
from .signalling import OurSignalling

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from .scenarios import Context, Row
    from .signalling import OurViewer
    from .sink import Sink

VIEWERS = 55
MISBEHAVING_VIEWERS = 5
QUICK_VIEWERS = 3
QUICK_MISBEHAVING_VIEWERS = 1
RTCP_PER_SECOND = 2_000
"""Datagrams from each flooding viewer: ten times what the server reads of one."""
RTP_PER_SECOND = 20_000
"""From the flooding device: four times what the server reads of one."""
QUICK_DIVISOR = 4
"""The floods of the quick form: a test's machine has other things to do."""
TICK_SECONDS = 0.004
MAX_TICK_PACKETS = 200
"""Of a flood that is behind: more would keep the load from its other work, and the debt is dropped."""
NACKED_PACKETS = 16
"""By each flooding NACK: the last ones, which the server still has."""
CONTROL = ", to a socket that nobody reads"
"""Ends the name of a flood's control: what the flood costs the machine, which it shares with server and load."""


class Flood:
    """Call `send` with a number of datagrams that makes up a rate; `sent` counts them."""

    def __init__(self, per_second: float, send: Callable[[int], None]) -> None:
        self.sent = 0
        self._rate = per_second
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._owed = 0.0
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def stop(self) -> None:
        """Send no more."""
        self._timer.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        self._owed = min(self._owed + (now - self._last) * self._rate, MAX_TICK_PACKETS)
        self._last = now
        count = int(self._owed)
        self._owed -= count
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        self._send(count)
        self.sent += count


class FeedbackFlood:
    """Send receiver reports, keyframe requests and NACKs of the latest packets in turn, as a viewer without manners."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._turn = itertools.cycle((sink.report, self._request_keyframe, self._nack))

    def send(self, count: int) -> None:
        for _ in range(count):
            next(self._turn)()

    def _request_keyframe(self) -> None:
        self._sink.send_rtcp(PictureLossIndication(self._sink.ssrc, self._video()).encode())

    def _nack(self) -> None:
        ssrc = self._video()
        highest = self._sink.streams[ssrc].highest
        lost = tuple(number & 0xFFFF for number in range(highest - NACKED_PACKETS + 1, highest + 1))
        self._sink.send_rtcp(Nack(self._sink.ssrc, ssrc, lost).encode())

    def _video(self) -> int:
        """Return the SSRC with the most bytes."""
        streams = self._sink.streams
        return max(streams, key=lambda ssrc: streams[ssrc].bytes)


@dataclass(slots=True)
class Scene:
    """The well-behaved viewers, those of the next case, and what floods at present."""

    context: Context
    bench: Bench
    others: list[Sink]
    misbehaving: dict[Sink, OurViewer] = field(default_factory=dict)
    floods: list[Flood] = field(default_factory=list)

    async def add_misbehaving(self) -> None:
        """Connect viewers that still behave."""
        signalling = self.bench.signalling
        if not isinstance(signalling, OurSignalling):
            raise BenchmarkError("only our server's viewers leave and are replaced")
        for _ in range(QUICK_MISBEHAVING_VIEWERS if self.context.quick else MISBEHAVING_VIEWERS):
            viewer, sink = await signalling.viewer(0), self.bench.new_sink()
            await self.bench.start(viewer, sink)
            self.misbehaving[sink] = viewer
        await self.bench.receiving(list(self.misbehaving))

    async def replace_misbehaving(self) -> None:
        """End the floods and let new viewers take the place of those of the last case."""
        for flood in self.floods:
            flood.stop()
        self.floods.clear()
        for sink, viewer in self.misbehaving.items():
            await viewer.leave()
            await self.bench.remove_sink(sink)
        self.misbehaving.clear()
        await self.add_misbehaving()

    def flood(self, per_second: int, send: Callable[[int], None]) -> None:
        """Begin one more flood."""
        self.floods.append(Flood(per_second / (QUICK_DIVISOR if self.context.quick else 1), send))

    async def measure(self, case: str) -> Row:
        """Measure one window, of the well-behaved viewers only."""
        # What a flood may take at first, by the server's bursts, is over before the window.
        await asyncio.sleep(self.context.settle)
        device = self.bench.sources[0]
        watched = [device, *self.others]
        before = (
            device.keyframe_requests,
            sum(peer.overflows for peer in watched),
            sum(sink.lost for sink in self.others),
            sum(flood.sent for flood in self.floods),
            self._misbehaving_overflows(),
        )
        window = await self.bench.window(self.context.seconds, delays=True)
        samples = sorted(delay for sink in self.others for delay in sink.delays)
        return {
            "case": case,
            "viewers": len(self.others),
            "delay_p50_ms": round(1000 * percentile(samples, 0.5), 3),
            "delay_p99_ms": round(1000 * percentile(samples, 0.99), 3),
            "keyframe_requests": device.keyframe_requests - before[0],
            "cpu_percent": round(100 * window.cpu_seconds / window.seconds, 1),
            "lost": sum(sink.lost for sink in self.others) - before[2],
            "flood_per_second": round((sum(flood.sent for flood in self.floods) - before[3]) / window.seconds),
            "misbehaving_overflows": self._misbehaving_overflows() - before[4],
            "server_overflows": window.server_overflows,
            "lateness_p99_ms": round(window.lateness_p99_ms, 3),
            "valid": sum(peer.overflows for peer in watched) == before[1],
        }

    def _misbehaving_overflows(self) -> int:
        return sum(sink.overflows for sink in self.misbehaving if sink.sock.fileno() >= 0)


async def fairness(context: Context) -> list[Row]:
    """Measure the delay of well-behaved viewers: alone, beside each kind of misbehaviour, and alone again."""
    async with running_bench("aiosfu", context.network, context.clip, context.settle) as bench:
        await bench.add_source()
        await bench.add_sinks(QUICK_VIEWERS if context.quick else VIEWERS)
        scene = Scene(context, bench, list(bench.sinks))
        await scene.add_misbehaving()
        rows = [await scene.measure("baseline, before")]

        for sink in scene.misbehaving:
            sink.vanish()
        rows.append(await scene.measure(f"vanished without a word: {len(scene.misbehaving)}"))

        with unread_socket(context.network) as unread:
            for astray in (unread, None):
                await scene.replace_misbehaving()
                rows.append(await _viewers_flood(scene, astray))

        await scene.replace_misbehaving()
        for sink in scene.misbehaving:
            sink.stop_reading()
        rows.append(await scene.measure(f"read nothing, tiny buffers: {len(scene.misbehaving)}"))

        await scene.replace_misbehaving()
        with unread_socket(context.network) as unread:
            rows += await _device_floods(scene, unread)

        await scene.replace_misbehaving()
        rows.append(await scene.measure("baseline, after"))
    return _with_ratios(rows)


async def _viewers_flood(scene: Scene, astray: socket.socket | None) -> Row:
    """Measure beside viewers that flood RTCP, or send it astray."""
    for sink in scene.misbehaving:
        sink.astray = astray
        scene.flood(RTCP_PER_SECOND, FeedbackFlood(sink).send)
    return await scene.measure(f"RTCP flood by {len(scene.misbehaving)}{CONTROL if astray else ''}")


async def _device_floods(scene: Scene, unread: socket.socket) -> list[Row]:
    """Measure beside a second device that has one viewer and sends its flood astray, then to the server; both go."""
    bench = scene.bench
    device = await bench.add_source()
    await bench.add_sinks(1, number=1)
    watcher = bench.sinks[-1]
    scene.flood(RTP_PER_SECOND, device.burst)
    rows = []
    for device.astray in (unread, None):
        rows.append(await scene.measure(f"device floods RTP{CONTROL if device.astray else ''}"))
    scene.floods[-1].stop()
    await bench.remove_sink(watcher)
    bench.sources.remove(device)
    await device.close()
    return rows


def _with_ratios(rows: Sequence[Row]) -> list[Row]:
    """Put each row in relation to the mean of the first and the last, and a flood to its control."""
    controls = {row["case"].removesuffix(CONTROL): row for row in rows if row["case"].endswith(CONTROL)}
    for name in ("p50", "p99"):
        column = f"delay_{name}_ms"
        baseline = (rows[0][column] + rows[-1][column]) / 2
        for row in rows:
            row[f"{name}_to_baseline"] = round(row[column] / baseline, 3)
            if row["case"] in controls:
                row[f"{name}_to_control"] = round(row[column] / controls[row["case"]][column], 3)
    return list(rows)
