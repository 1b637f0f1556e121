"""Publisher: the inbound half of a peer connection. Routes packets to its producers and speaks RTCP for them."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Final

from aiortc.rate import RemoteBitrateEstimator

from .forwarding.bandwidth import TransportFeedbackRecorder
from .producer import Producer
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
    from collections.abc import Callable

    from .parameters import PublisherOffer
    from .relay import MediaRelay

REPORT_INTERVAL_SECONDS: Final = 1.0
"""Between receiver reports; a sender measures its round trip by them."""
MAX_LEARNT_SSRCS: Final = 64
"""SSRCs learnt from MID or payload type: 16 tracks, each with RTX, each restarted once."""

_GENERATED_ID: Final = re.compile(r"\{?[0-9a-f-]{32,36}\}?|(audio|video)-.*", re.IGNORECASE)
"""A UUID, as browsers and aiortc make them, or what negotiation puts where the publisher names nothing."""


class Publisher:
    """Receive what one peer publishes.

    `first_packet` is called once, when authentic media begins to flow; `wake` when something is due before the timer.
    """

    def __init__(
        self,
        offer: PublisherOffer,
        relay: MediaRelay,
        send_rtcp: Callable[[bytes], None],
        wake: Callable[[], None],
        first_packet: Callable[[], None],
    ) -> None:
        self.drops: Counter[str] = Counter()
        self.stream_id = offer.stream_id
        self.producers: tuple[Producer, ...] = _producers(offer, relay, wake)
        self._ssrc = secrets.randbits(32)
        self._send_rtcp = send_rtcp
        self._first_packet: Callable[[], None] | None = first_packet
        self._next_report = 0.0
        self._fir_number = 0
        # Who gets the packets of an SSRC, and whether they are retransmissions. Seeded from the SDP, then learnt.
        self._routes: dict[int, tuple[Producer, bool]] = {}
        self._source_ssrcs: dict[Producer, int] = {}
        # SSRCs that a track has left: a straggler of theirs must not switch it back.
        self._retired: set[int] = set()
        self._by_mid = {producer.parameters.mid: producer for producer in self.producers}
        self._by_payload_type = _unambiguous_payload_types(self.producers)
        for producer in self.producers:
            if producer.parameters.ssrc is not None:
                self._route(producer.parameters.ssrc, producer, retransmission=False)
            if producer.parameters.rtx_ssrc is not None:
                self._route(producer.parameters.rtx_ssrc, producer, retransmission=True)
        extensions = {
            uri: number for producer in self.producers for uri, number in producer.parameters.extensions.items()
        }
        feedback = frozenset[str]().union(*(producer.parameters.feedback for producer in self.producers))
        self._mid_id = extensions.get(MID)
        self._transport_cc_id = extensions.get(TRANSPORT_CC) if "transport-cc" in feedback else None
        self._transport_feedback = TransportFeedbackRecorder()
        # A sender without transport-wide feedback is told its rate by REMB, if it measures by abs-send-time.
        wants_remb = "goog-remb" in feedback and self._transport_cc_id is None
        self._abs_send_time_id = extensions.get(ABS_SEND_TIME) if wants_remb else None
        self._bitrate_estimator = RemoteBitrateEstimator()

    def connected(self, now: float) -> None:
        """Begin to report; called once the transport is up."""
        self._next_report = now + REPORT_INTERVAL_SECONDS

    def handle_rtp(self, data: bytes, now: float) -> bool:
        """Take one decrypted RTP packet; return whether `next_deadline` may be nearer than before."""
        try:
            header = parse_header(data)
        except RtpError:
            self.drops["rtp_malformed"] += 1
            return False
        sooner = self._note_arrival(data, header, now)
        route = self._routes.get(header.ssrc) or self._learn(data, header)
        if route is None:
            self.drops["ssrc_unknown"] += 1
            return sooner
        producer, retransmission = route
        if retransmission:
            sooner |= self._receive_retransmission(producer, data, header, now)
        else:
            sooner |= producer.receive(data, header, now)
        if self._first_packet is not None and producer.packets:
            first_packet, self._first_packet = self._first_packet, None
            first_packet()
        return sooner

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
                    route[0].sender_report(packet, now)

    def next_deadline(self) -> float:
        """Return when `handle_timer` next has something to do."""
        deadline = self._next_report
        when = self._transport_feedback.next_deadline()
        if when is not None and when < deadline:
            deadline = when
        for producer in self.producers:
            when = producer.next_deadline()
            if when is not None and when < deadline:
                deadline = when
        return deadline

    def handle_timer(self, now: float) -> None:
        """Send what is due: reports, transport feedback, NACKs, keyframe requests."""
        packets: list[RtcpPacket] = []
        if self._transport_feedback.due(now):
            packets += self._transport_feedback.build(now, self._ssrc, next(iter(self._source_ssrcs.values()), 0))
        for producer in self.producers:
            source = self._source_ssrcs.get(producer)
            if source is None:
                continue
            lost = producer.lost_packets(now)
            if lost:
                packets.append(Nack(self._ssrc, source, tuple(lost)))
            if producer.keyframes.due(now):
                requests = self._keyframe_request(producer, source)
                producer.keyframe_requests += len(requests)
                packets += requests
        if now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL_SECONDS
            packets.insert(0, self._receiver_report(now))
        for datagram in encode_datagrams(packets):
            self._send_rtcp(datagram)

    def close(self) -> None:
        """End the tracks; whoever awaits a frame of them learns it."""
        self._first_packet = None
        for producer in self.producers:
            producer.stop()

    def _receive_retransmission(self, producer: Producer, data: bytes, header: RtpHeader, now: float) -> bool:
        source = self._source_ssrcs.get(producer)
        try:
            original = unwrap_rtx(
                data, header, payload_type=producer.parameters.codec.payload_type, ssrc=source or header.ssrc
            )
            if original is not None:
                return producer.receive(original, parse_header(original), now, recovered=True)
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

    def _learn(self, data: bytes, header: RtpHeader) -> tuple[Producer, bool] | None:
        """Find whose an unknown SSRC is, by MID or else by a payload type that only one track has (RFC 9143)."""
        if header.ssrc in self._retired or len(self._routes) + len(self._retired) >= MAX_LEARNT_SSRCS:
            return None
        producer: Producer | None = None
        if self._mid_id is not None:
            found = find_extension(data, header, self._mid_id)
            if found is not None:
                mid = data[found[0] : found[0] + found[1]].decode("utf-8", "replace")
                producer = self._by_mid.get(mid)
        if producer is None:
            producer = self._by_payload_type.get(header.payload_type)
        if producer is None:
            return None
        rtx = producer.parameters.rtx
        retransmission = rtx is not None and header.payload_type == rtx.payload_type
        return self._route(header.ssrc, producer, retransmission=retransmission)

    def _route(self, ssrc: int, producer: Producer, *, retransmission: bool) -> tuple[Producer, bool]:
        if not retransmission:
            before = self._source_ssrcs.get(producer)
            if before is not None:
                # The publisher began a track anew without telling us by SDP, as an encoder restarted does.
                del self._routes[before]
                self._retired.add(before)
                producer.begin_source()
            self._source_ssrcs[producer] = ssrc
        self._routes[ssrc] = (producer, retransmission)
        return producer, retransmission

    def _receiver_report(self, now: float) -> ReceiverReport:
        blocks = tuple(
            producer.stats.report_block(ssrc, now) for producer, ssrc in self._source_ssrcs.items() if producer.packets
        )
        return ReceiverReport(self._ssrc, blocks)

    def _keyframe_request(self, producer: Producer, source: int) -> list[RtcpPacket]:
        """Return the request that the publisher understands; one that knows neither form is left alone."""
        feedback = producer.parameters.feedback
        if "nack pli" in feedback:
            return [PictureLossIndication(self._ssrc, source)]
        if "ccm fir" in feedback:
            self._fir_number = (self._fir_number + 1) & 0xFF
            return [FullIntraRequest(self._ssrc, ((source, self._fir_number),))]
        return []


def _producers(offer: PublisherOffer, relay: MediaRelay, wake: Callable[[], None]) -> tuple[Producer, ...]:
    """Make a producer a track, labelled by its id where a person chose that, else by kind and number."""
    producers = []
    numbers: Counter[str] = Counter()
    for track in offer.accepted:
        numbers[track.kind] += 1
        generated = _GENERATED_ID.fullmatch(track.track_id)
        label = f"{track.kind} {numbers[track.kind]}" if generated else track.track_id
        producers.append(Producer(track, relay, label, wake))
    return tuple(producers)


def _unambiguous_payload_types(producers: tuple[Producer, ...]) -> dict[int, Producer]:
    owners: dict[int, list[Producer]] = {}
    for producer in producers:
        numbers = {codec.payload_type for codec in producer.parameters.codecs}
        if producer.parameters.rtx is not None:
            numbers.add(producer.parameters.rtx.payload_type)
        for number in numbers:
            owners.setdefault(number, []).append(producer)
    return {number: found[0] for number, found in owners.items() if len(found) == 1}
