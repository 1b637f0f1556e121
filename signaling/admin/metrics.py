"""Metrics: what Prometheus is told at `/metrics`. Counts and times; no client, room or feed by its name.

A scrape walks every track once, some 2 us each, and writes a fixed set of lines; so one a second is nothing that media
could notice (measured: `tests/benchmarks/scrape.py`). Names and labels are listed in `metrics_collector`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import prometheus_client
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

import sfu
from signaling.inputs import FeedFlowing

from .collector import ServerCollector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signaling.effects import Effect
    from signaling.inputs import RoomsEvent
    from signaling.service import Service
    from signaling.sockets.listener import ConnectionGuard

LAG_INTERVAL_SECONDS: Final = 0.1
"""Between looks at how late the event loop is; each costs some 5 us."""
SCRAPE_CACHE_SECONDS: Final = 0.2
"""Within which a scrape gets the one before: however many ask, the cost is bounded."""
LAG_BUCKETS_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
JOIN_BUCKETS_SECONDS: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)


class LoopLag:
    """Measure by how much the event loop is late: what every packet and message waits."""

    def __init__(self, histogram: prometheus_client.Histogram) -> None:
        self.latest_seconds = 0.0
        self.worst_seconds = 0.0
        """Since somebody last asked `take_worst`."""
        self._histogram = histogram
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin to look."""
        self._due = asyncio.get_running_loop().time() + LAG_INTERVAL_SECONDS
        self._timer = asyncio.get_running_loop().call_at(self._due, self._look)

    def stop(self) -> None:
        """Look no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take_worst(self) -> float:
        """Return the worst since the last call, in seconds."""
        worst, self.worst_seconds = self.worst_seconds, 0.0
        return worst

    def _look(self) -> None:
        self.latest_seconds = max(0.0, asyncio.get_running_loop().time() - self._due)
        self.worst_seconds = max(self.worst_seconds, self.latest_seconds)
        self._histogram.observe(self.latest_seconds)
        self.start()


class Metrics:
    """Everything that is measured of one server; an `Observer` of its service."""

    def __init__(self, service: Service, guard: ConnectionGuard, version: str) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.started = time.time()
        self._rooms = service.rooms
        self._first_frame = self._histogram(
            "first_frame_seconds",
            "From a viewer's request to the first packet of a picture that it can decode",
            JOIN_BUCKETS_SECONDS,
        )
        self._join = self._histogram(
            "join_seconds", "From a viewer's request to its connected media", JOIN_BUCKETS_SECONDS
        )
        self._publish = self._histogram(
            "publish_seconds", "From a device's first offer to its first media", JOIN_BUCKETS_SECONDS
        )
        lag = self._histogram(
            "event_loop_lag_seconds", "By how much the event loop was late, ten times a second", LAG_BUCKETS_SECONDS
        )
        self.lag = LoopLag(lag)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(ServerCollector(service, guard, version))
        self._cached: dict[str, tuple[float, bytes]] = {}

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(f"aiosfu_{name}", text, registry=self.registry, buckets=buckets)

    def decided(self, event: RoomsEvent, effects: Sequence[Effect], now: float) -> None:  # noqa: ARG002  an observer's
        """Measure how long a device took."""
        if isinstance(event, FeedFlowing):
            feed = self._rooms.state.feeds.get(event.feed)
            if feed is not None:
                self._publish.observe(now - feed.since)

    def media(self, event: sfu.EngineEvent, now: float) -> None:
        """Measure how long a viewer waited."""
        if not isinstance(event, sfu.SubscriptionStarted | sfu.FirstFrameSent):
            return
        subscription = self._rooms.state.subscriptions.get(event.subscription)
        if subscription is not None:
            histogram = self._join if isinstance(event, sfu.SubscriptionStarted) else self._first_frame
            histogram.observe(now - subscription.since)

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition in the newest format that an `Accept` header allows, and its content type."""
        encode, content_type = choose_encoder(accept)
        now = time.monotonic()
        when, body = self._cached.get(content_type, (-SCRAPE_CACHE_SECONDS, b""))
        if now - when >= SCRAPE_CACHE_SECONDS:
            body = encode(self.registry)
            self._cached = {content_type: (now, body)}
        return body, content_type
