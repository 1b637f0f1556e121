"""Publisher: the inbound half of a peer connection. Routes packets to its producers and speaks RTCP for them."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiortc.rate import RemoteBitrateEstimator

from .forwarding.bandwidth import TransportFeedbackRecorder
from .rtp.extensions import ABS_SEND_TIME, MID, TRANSPORT_CC, decode_abs_send_time, find_extension
from .rtp.packet import RtpError, RtpHeader, parse_header, unwrap_rtx
from .rtp.rtcp import (
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    RtcpError,
    RtcpPacket,
    SenderReport,
    encode_datagrams,
    parse_rtcp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .numbering import Translation
    from .parameters import TrackParameters
    from .producer import Producer

REPORT_INTERVAL_SECONDS: Final = 1.0
"""Between receiver reports; a sender measures its round trip by them."""
MAX_LEARNT_SSRCS: Final = 64
"""SSRCs learnt from MID or payload type: 16 tracks, each with RTX, each restarted once."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One track as a publisher's connection sends it."""

    parameters: TrackParameters
    producer: Producer
    translation: Translation | None
    """What its packets need to be those that viewers were offered; None for nothing."""


class Publisher:
    """Receive what one peer publishes.

    Producers outlive it: a feed may go on over another connection. `first_packet` is called once, when authentic media
    begins to flow.
    """

    def __init__(
        self, sources: Sequence[Source], send_rtcp: Callable[[bytes], None], first_packet: Callable[[], None]
    ) -> None:
        self.drops: Counter[str] = Counter()
        self.sources: tuple[Source, ...] = ()
        self._ssrc = secrets.randbits(32)
        self._send_rtcp = send_rtcp
        self._first_packet: Callable[[], None] | None = first_packet
        self._next_report = 0.0
        self._fir_number = 0
        # Who gets the packets of an SSRC, and whether they are retransmissions. Seeded from the SDP, then learnt.
        self._routes: dict[int, tuple[Source, bool]] = {}
        self._source_ssrcs: dict[Producer, int] = {}
        # SSRCs that a track has left: a straggler of theirs must not switch it back.
        self._retired: set[int] = set()
        # Set by `take`.
        self._by_mid: dict[str, Source] = {}
        self._by_payload_type: dict[int, Source] = {}
        self._mid_id: int | None = None
        self._transport_cc_id: int | None = None
        self._abs_send_time_id: int | None = None
        self._transport_feedback = TransportFeedbackRecorder()
        self._bitrate_estimator = RemoteBitrateEstimator()
        self.take(sources)

    @property
    def producers(self) -> tuple[Producer, ...]:
        """Who takes the packets of each track."""
        return tuple(source.producer for source in self.sources)

    def take(self, sources: Sequence[Source]) -> None:
        """Receive these tracks from now on; one that was there already goes on, without a gap if its SSRC stays."""
        self.sources = tuple(sources)
        self._by_mid = {source.parameters.mid: source for source in sources}
        self._by_payload_type = _unambiguous_payload_types(sources)
        self._follow_routes()
        for source in sources:
            if source.parameters.ssrc is not None:
                self._route(source.parameters.ssrc, source, retransmission=False)
            if source.parameters.rtx_ssrc is not None:
                self._route(source.parameters.rtx_ssrc, source, retransmission=True)
        extensions = {uri: number for source in sources for uri, number in source.parameters.extensions.items()}
        feedback = frozenset[str]().union(*(source.parameters.feedback for source in sources))
        self._mid_id = extensions.get(MID)
        self._transport_cc_id = extensions.get(TRANSPORT_CC) if "transport-cc" in feedback else None
        # A sender without transport-wide feedback is told its rate by REMB, if it measures by abs-send-time.
        wants_remb = "goog-remb" in feedback and self._transport_cc_id is None
        self._abs_send_time_id = extensions.get(ABS_SEND_TIME) if wants_remb else None

    def _follow_routes(self) -> None:
        """Keep what is known of the SSRCs of tracks that go on, and drop what still comes of the others."""
        by_producer = {source.producer: source for source in self.sources}
        routes = self._routes
        self._routes = {
            ssrc: (by_producer[source.producer], retransmission)
            for ssrc, (source, retransmission) in routes.items()
            if source.producer in by_producer
        }
        # Only those that just left can have packets on their way, so the set does not grow with every change.
        self._retired = set(routes) - set(self._routes)
        self._source_ssrcs = {
            producer: ssrc for producer, ssrc in self._source_ssrcs.items() if producer in by_producer
        }

    def connected(self, now: float) -> None:
        """Begin to report; called once the transport is up."""
        self._next_report = now + REPORT_INTERVAL_SECONDS

    def handle_rtp(self, packets: Sequence[bytes], now: float) -> bool:
        """Take decrypted RTP packets; return whether `next_deadline` may be nearer than before."""
        sooner = False
        for data in packets:
            sooner |= self._receive(data, now)
        if self._first_packet is not None and any(source.producer.packets for source in self.sources):
            first_packet, self._first_packet = self._first_packet, None
            first_packet()
        return sooner

    def _receive(self, data: bytes, now: float) -> bool:
        try:
            header = parse_header(data)
        except RtpError:
            self.drops["rtp_malformed"] += 1
            return False
        sooner = self._note_arrival(data, header, now)
        route = self._routes.get(header.ssrc)
        if route is None:
            route = self._learn(data, header)
            sooner = True  # what waited for an SSRC to name can be asked now
        if route is None:
            self.drops["ssrc_unknown"] += 1
            return sooner
        source, retransmission = route
        if retransmission:
            return self._receive_retransmission(source, data, header, now) or sooner
        if source.translation is not None:
            data = source.translation.apply(data, header)
            header = parse_header(data)
        return source.producer.receive(data, header, now) or sooner

    def handle_rtcp(self, data: bytes, now: float) -> None:
        """Take one decrypted compound RTCP packet."""
        try:
            packets = parse_rtcp(data)
        except RtcpError:
            self.drops["rtcp_malformed"] += 1
            return
        for packet in packets:
            if isinstance(packet, SenderReport):
                route = self._routes.get(packet.ssrc)
                if route is not None and not route[1]:
                    route[0].producer.sender_report(packet, now)

    def next_deadline(self) -> float:
        """Return when `handle_timer` next has something to do."""
        deadline = self._next_report
        when = self._transport_feedback.next_deadline()
        if when is not None and when < deadline:
            deadline = when
        for source in self.sources:
            if source.producer not in self._source_ssrcs:
                continue  # there is nobody yet to ask
            when = source.producer.next_deadline()
            if when is not None and when < deadline:
                deadline = when
        return deadline

    def handle_timer(self, now: float) -> None:
        """Send what is due: reports, transport feedback, NACKs, keyframe requests."""
        packets: list[RtcpPacket] = []
        if self._transport_feedback.due(now):
            packets += self._transport_feedback.build(now, self._ssrc, next(iter(self._source_ssrcs.values()), 0))
        for source in self.sources:
            producer = source.producer
            ssrc = self._source_ssrcs.get(producer)
            if ssrc is None:
                continue
            lost = producer.lost_packets(now)
            if lost:
                packets.append(Nack(self._ssrc, ssrc, tuple(lost)))
            if producer.keyframes.due(now):
                requests = self._keyframe_request(source.parameters.feedback, ssrc)
                producer.keyframe_requests += len(requests)
                packets += requests
        if now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL_SECONDS
            packets.insert(0, self._receiver_report(now))
        for datagram in encode_datagrams(packets):
            self._send_rtcp(datagram)

    def close(self) -> None:
        """Do nothing: the producers are the feed's, which may go on without this connection."""

    def move(self, send_rtcp: Callable[[bytes], None]) -> None:
        """Go on over another connection of the same publisher, with the same tracks."""
        self._send_rtcp = send_rtcp

    def _receive_retransmission(self, source: Source, data: bytes, header: RtpHeader, now: float) -> bool:
        ssrc = self._source_ssrcs.get(source.producer, header.ssrc)
        try:
            original = unwrap_rtx(data, header, payload_type=source.parameters.codec.payload_type, ssrc=ssrc)
            if original is not None:
                if source.translation is not None:
                    original = source.translation.apply(original, parse_header(original))
                return source.producer.receive(original, parse_header(original), now, recovered=True)
        except RtpError:
            self.drops["rtx_malformed"] += 1
        return False

    def _note_arrival(self, data: bytes, header: RtpHeader, now: float) -> bool:
        """Feed the estimate of the publisher's uplink; return whether feedback has become due sooner."""
        if self._transport_cc_id is not None:
            found = find_extension(data, header, self._transport_cc_id)
            if found is not None and found[1] == 2:
                return self._transport_feedback.add(int.from_bytes(data[found[0] : found[0] + 2], "big"), now)
        elif self._abs_send_time_id is not None:
            found = find_extension(data, header, self._abs_send_time_id)
            if found is not None and found[1] == 3 and header.ssrc in self._routes:
                sent = decode_abs_send_time(data[found[0] : found[0] + 3])
                size = len(data) - header.payload_offset
                estimate = self._bitrate_estimator.add(int(now * 1000), sent, size, header.ssrc)
                if estimate is not None:
                    self._send_rtcp(Remb(self._ssrc, estimate[0], tuple(estimate[1])).encode())
        return False

    def _learn(self, data: bytes, header: RtpHeader) -> tuple[Source, bool] | None:
        """Find whose an unknown SSRC is, by MID or else by a payload type that only one track has (RFC 9143)."""
        if header.ssrc in self._retired or len(self._routes) + len(self._retired) >= MAX_LEARNT_SSRCS:
            return None
        source: Source | None = None
        if self._mid_id is not None:
            found = find_extension(data, header, self._mid_id)
            if found is not None:
                mid = data[found[0] : found[0] + found[1]].decode("utf-8", "replace")
                source = self._by_mid.get(mid)
        if source is None:
            source = self._by_payload_type.get(header.payload_type)
        if source is None:
            return None
        rtx = source.parameters.rtx
        retransmission = rtx is not None and header.payload_type == rtx.payload_type
        return self._route(header.ssrc, source, retransmission=retransmission)

    def _route(self, ssrc: int, source: Source, *, retransmission: bool) -> tuple[Source, bool]:
        if not retransmission:
            before = self._source_ssrcs.get(source.producer)
            if before is not None and before != ssrc:
                # The publisher began a track anew, as an encoder restarted does, by SDP or without telling us.
                self._routes.pop(before, None)
                self._retired.add(before)
                source.producer.begin_source()
            self._source_ssrcs[source.producer] = ssrc
        self._retired.discard(ssrc)
        self._routes[ssrc] = (source, retransmission)
        return source, retransmission

    def _receiver_report(self, now: float) -> ReceiverReport:
        blocks = tuple(
            producer.stats.report_block(ssrc, now) for producer, ssrc in self._source_ssrcs.items() if producer.packets
        )
        return ReceiverReport(self._ssrc, blocks)

    def _keyframe_request(self, feedback: frozenset[str], source: int) -> list[RtcpPacket]:
        """Return the request that the publisher understands; one that knows neither form is left alone."""
        if "nack pli" in feedback:
            return [PictureLossIndication(self._ssrc, source)]
        if "ccm fir" in feedback:
            self._fir_number = (self._fir_number + 1) & 0xFF
            return [FullIntraRequest(self._ssrc, ((source, self._fir_number),))]
        return []


def _unambiguous_payload_types(sources: Sequence[Source]) -> dict[int, Source]:
    owners: dict[int, list[Source]] = {}
    for source in sources:
        numbers = {codec.payload_type for codec in source.parameters.codecs}
        if source.parameters.rtx is not None:
            numbers.add(source.parameters.rtx.payload_type)
        for number in numbers:
            owners.setdefault(number, []).append(source)
    return {number: found[0] for number, found in owners.items() if len(found) == 1}
