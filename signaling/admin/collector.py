"""ServerCollector: the state of a server as Prometheus metrics. Label values are from fixed sets, never a client's."""

from __future__ import annotations

import platform
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from signaling.logs import bug_count, event_counts
from signaling.protocol import PROTOCOL_VERSION, Role
from signaling.state import FeedState, SubscriptionState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    import sfu
    from signaling.service import Service
    from signaling.sockets.listener import ConnectionGuard

MAX_DROP_REASONS: Final = 200
"""All reasons are words of our source, some forty, and the system's names of errors."""
LabelsT = TypeVar("LabelsT", bound=tuple[str, ...])

KINDS: Final = ("audio", "video")

_BY_DIRECTION: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "rtp_packets": (
        "RTP packets; in: retransmissions included, out: without them",
        (("in", "packets_received"), ("out", "packets_sent")),
    ),
    "rtp_payload_bytes": (
        "Bytes of RTP payload, counted as the packets are",
        (("in", "octets_received"), ("out", "octets_sent")),
    ),
    "rtp_packets_lost": (
        "RTP packets lost for good; in: on the way here, out: as viewers report",
        (("in", "packets_lost"), ("out", "packets_lost_by_viewers")),
    ),
    "rtp_packets_retransmitted": (
        "RTP packets sent again; in: by publishers, out: to viewers, second copies included",
        (("in", "packets_recovered"), ("out", "packets_retransmitted")),
    ),
    "keyframe_requests": (
        "Keyframe requests (PLI, FIR); in: of viewers, out: to publishers",
        (("in", "keyframes_wanted_by_viewers"), ("out", "keyframes_requested")),
    ),
}
"""Metric to its help and, by direction as this server sees it, the field of `sfu.EngineTotals`."""

_BY_KIND: Mapping[str, tuple[str, str]] = {
    "rtp_packets_nacked": ("RTP packets asked for again of publishers, repeats included", "packets_nacked"),
    "rtp_packets_given_up": ("RTP packets asked for again of publishers in vain", "packets_given_up"),
    "keyframes": ("Keyframes that publishers sent", "keyframes_received"),
    "instant_starts": ("Viewers that began with a keyframe of the past", "instant_starts"),
}


class ServerCollector(Collector):
    """Read a service when it is scraped; nothing is kept up to date in between."""

    def __init__(self, service: Service, guard: ConnectionGuard, version: str) -> None:
        self._service = service
        self._guard = guard
        self._version = version
        self._peaks: dict[tuple[str, ...], int] = {}

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect: the server has not started yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield InfoMetricFamily(
            "aiosfu_build",
            "What is running",
            {"version": self._version, "protocol": str(PROTOCOL_VERSION), "python": platform.python_version()},
        )
        yield from self._signaling()
        yield from self._sockets()
        yield from self._media(self._service.engine.census.totals())
        yield _counter(
            "aiosfu_events",
            "What was logged, or would be at level debug, by event name and error code",
            ("event", "code"),
            event_counts(),
        )
        faults = self._service.engine.census.faults()
        yield _counter(
            "aiosfu_media_faults",
            "Bugs in the media engine that were kept from other connections, by what failed; the log has each",
            ("what",),
            {(what,): count for what, count in faults.items()},
        )
        # A series from the start, so that a rate sees the first one too.
        text = "Bugs of the server that were kept from other clients, in media or not; the log has each, at level error"
        yield _counter("aiosfu_bugs", text, (), {(): bug_count() + sum(faults.values())})

    def _signaling(self) -> Iterator[Metric]:
        state, sessions = self._service.rooms.state, self._service.sessions
        yield _gauge("rooms", "Rooms", {(): len(state.rooms)})
        yield _gauge("draining", "1 while the server is about to end", {(): int(self._service.draining)})
        online = Counter(client.role for client in sessions)
        found = {Role.WEB: len(state.webs), Role.DEVICE: len(state.devices)}
        participants = {(role.value, "online"): online[role] for role in Role}
        participants |= {(role.value, "absent"): max(0, found[role] - online[role]) for role in Role}
        text = "Clients; absent: without a socket, within the grace period"
        yield _gauge("participants", text, participants, ("role", "presence"))
        feeds = Counter(feed.state for feed in state.feeds.values())
        by_state = {(each.name.lower(),): feeds[each] for each in FeedState}
        yield _gauge("feeds", "Publications by how far they have come", by_state, ("state",))
        subscriptions = Counter(each.state for each in state.subscriptions.values())
        by_state = {(each.name.lower(),): subscriptions[each] for each in SubscriptionState}
        yield _gauge("subscriptions", "Subscriptions by how far they have come", by_state, ("state",))
        viewers = len({each.client for each in state.subscriptions.values()})
        yield _gauge("viewers", "Clients that watch at least one feed", {(): viewers})

    def _sockets(self) -> Iterator[Metric]:
        sockets = self._service.engine.census.sockets()
        counts = {
            ("websocket",): len(self._service.sessions),
            ("http_pending",): len(self._guard),
            ("media_udp",): len(sockets),
            ("media_tcp",): self._service.engine.census.tcp_connections(),
        }
        yield _gauge(
            "sockets",
            "Open sockets; http_pending: TCP connections without a client; media_tcp: media of clients over TCP",
            counts,
            ("kind",),
        )
        closed = {
            ("timed_out",): self._guard.timed_out,
            ("evicted",): self._guard.evicted,
            ("tls_failed",): self._guard.handshakes_failed,
        }
        text = "TCP connections without a client that took too long, had to make room, or did not get through TLS"
        yield _counter("aiosfu_http_connections_closed", text, ("reason",), closed)
        if sockets:
            buffers = {
                ("receive",): min(each.receive_buffer for each in sockets),
                ("send",): min(each.send_buffer for each in sockets),
            }
            text = "Buffer that the kernel granted the media sockets: the smallest"
            yield _gauge("media_socket_buffer_bytes", text, buffers, ("direction",))
        dropped = self._peak(("kernel",), sum(each.kernel_drops for each in sockets))
        yield _counter("aiosfu_kernel_drops", "Datagrams that the kernel dropped on arrival", (), {(): dropped})

    def _media(self, totals: sfu.EngineTotals) -> Iterator[Metric]:
        for name, (text, directions) in _BY_DIRECTION.items():
            values = {
                (direction, kind): self._peak((name, direction, kind), getattr(totals, field).get(kind, 0))
                for direction, field in directions
                for kind in KINDS
            }
            yield _counter(f"aiosfu_{name}", text, ("direction", "kind"), values)
        for name, (text, field) in _BY_KIND.items():
            values_by_kind = {(kind,): getattr(totals, field).get(kind, 0) for kind in KINDS}
            yield _counter(f"aiosfu_{name}", text, ("kind",), values_by_kind)
        drops: Counter[tuple[str, ...]] = Counter()
        for place, count in totals.drops.items():
            drops[place if place in drops or len(drops) < MAX_DROP_REASONS else (place[0], "other")] += count
        text = "What was dropped, by which part of the server and why: packets, datagrams, requests for a packet"
        yield _counter("aiosfu_drops", text, ("where", "reason"), drops)

    def _peak(self, key: tuple[str, ...], value: int) -> int:
        """Return the highest value so far: what is late after all lowers a loss, and a counter must not go back."""
        peak = self._peaks[key] = max(value, self._peaks.get(key, 0))
        return peak


def _gauge(name: str, text: str, values: Mapping[LabelsT, float], labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(f"aiosfu_{name}", text, labels=labels)
    for found, value in values.items():
        family.add_metric(found, value)
    return family


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[LabelsT, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for found, value in values.items():
        family.add_metric(found, value)
    return family
