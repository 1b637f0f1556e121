"""Subscriber: the outbound half of a peer connection. Its consumers, and the RTCP between them and one viewer."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Final

from .consumer import Consumer, MediaOutlet
from .negotiation import retransmission_codec
from .parameters import SentTrack, SubscriberAnswer
from .rtp.rtcp import (
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    RtcpError,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    encode_datagrams,
    parse_rtcp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .producer import Producer
    from .relay import MediaRelay

START_DELAY_SECONDS: Final = 0.03
"""From the end of the handshake to the first packet. A stock aiortc viewer loses what comes before its receivers run,
2 ms after its handshake on a desktop and ten times that on a small board; a lost beginning costs it a keyframe."""
REPORT_INTERVAL_SECONDS: Final = 1.0
"""Between sender reports."""
FIRST_REPORT_SECONDS: Final = 0.1
"""The first report comes early: audio and video play out of step until it does."""


class Subscriber:
    """Send tracks of one feed to one viewer."""

    def __init__(
        self,
        producers: Sequence[Producer],
        relay: MediaRelay,
        cname: str,
        send_rtcp: Callable[[bytes], None],
    ) -> None:
        self.drops: Counter[str] = Counter()
        self.offered: tuple[SentTrack, ...] = _sent_tracks(producers, cname)
        self.consumers: tuple[Consumer, ...] = ()
        self._producers = tuple(producers)
        self._relay = relay
        self._cname = cname
        self._send_rtcp = send_rtcp
        self._answer: SubscriberAnswer | None = None
        self._by_ssrc: dict[int, Consumer] = {}
        # Set once connected, the second until it has come.
        self._outlet: MediaOutlet | None = None
        self._start_at: float | None = None
        self._next_report = 0.0

    @property
    def answered(self) -> bool:
        """Whether the viewer's answer has come."""
        return self._answer is not None

    def accept(self, answer: SubscriberAnswer, now: float) -> None:
        """Take the viewer's answer, and see to it that there is a keyframe to begin with once it is connected."""
        self._answer = answer
        accepted = {track.mid for track in answer.tracks}
        for producer in self._producers:
            if producer.parameters.mid in accepted and producer.recent_start(now) is None:
                producer.request_keyframe(now)

    def connected(self, now: float, outlet: MediaOutlet) -> None:
        """Begin to forward soon; called once the transport is up."""
        self._outlet = outlet
        self._next_report = now + FIRST_REPORT_SECONDS
        self._start_at = now + START_DELAY_SECONDS

    def _start(self, now: float, outlet: MediaOutlet) -> None:
        """Begin to forward."""
        assert self._answer is not None  # noqa: S101  the transport starts with the answer's parameters
        accepted = {track.mid: track for track in self._answer.tracks}
        consumers = []
        # What waits in the relay is in the history already, and must not reach a new viewer twice.
        self._relay.flush()
        for producer, sent in zip(self._producers, self.offered, strict=True):
            track = accepted.get(sent.parameters.mid)
            if track is None:
                continue
            consumer = Consumer(producer, sent, track, outlet, self._relay.totals(producer), now)
            consumers.append(consumer)
            self._by_ssrc[sent.ssrc] = consumer
            consumer.start(now)
            self._relay.subscribe_packets(producer, consumer)
        self.consumers = tuple(consumers)

    def handle_rtp(self, data: bytes, now: float) -> bool:  # noqa: ARG002  the peer connection's common interface
        """Refuse media: a viewer has none to send here."""
        self.drops["rtp_from_subscriber"] += 1
        return False

    def handle_rtcp(self, data: bytes, now: float) -> None:
        """Take one decrypted compound RTCP packet."""
        try:
            packets = parse_rtcp(data)
        except RtcpError:
            self.drops["rtcp_malformed"] += 1
            return
        for packet in packets:
            self._handle_rtcp_packet(packet, now)

    def next_deadline(self) -> float:
        """Return when `handle_timer` next has something to do."""
        return self._next_report if self._start_at is None else self._start_at

    def handle_timer(self, now: float) -> None:
        """Begin when it is time, and send the sender reports that are due."""
        if self._start_at is not None and self._outlet is not None and now >= self._start_at:
            self._start_at = None
            self._start(now, self._outlet)
        if now < self._next_report:
            return
        self._next_report = now + REPORT_INTERVAL_SECONDS
        packets: list[RtcpPacket] = []
        for consumer in self.consumers:
            report = consumer.sender_report(now)
            if report is not None:
                packets += (report, SourceDescription(((consumer.sent.ssrc, self._cname),)))
        for datagram in encode_datagrams(packets):
            self._send_rtcp(datagram)

    def close(self) -> None:
        """Leave the relay. Idempotent."""
        self._start_at = None
        for consumer in self.consumers:
            self._relay.unsubscribe_packets(consumer.producer, consumer)
        self._by_ssrc.clear()

    def _handle_rtcp_packet(self, packet: RtcpPacket, now: float) -> None:
        if isinstance(packet, (ReceiverReport, SenderReport)):
            for block in packet.reports:
                consumer = self._by_ssrc.get(block.ssrc)
                if consumer is not None:
                    consumer.handle_report(block, now)
        elif isinstance(packet, Nack):
            consumer = self._by_ssrc.get(packet.media_ssrc)
            if consumer is not None:
                # A packet gets its final bytes when the relay hands it round, not before.
                self._relay.flush()
                consumer.retransmit(packet.lost, now)
        elif isinstance(packet, PictureLossIndication):
            self._request_keyframes([packet.media_ssrc], now)
        elif isinstance(packet, FullIntraRequest):
            self._request_keyframes([ssrc for ssrc, _ in packet.entries], now)
        elif isinstance(packet, TransportFeedback):
            for consumer in self.consumers:
                consumer.estimate.on_transport_feedback(packet)
        elif isinstance(packet, Remb):
            for consumer in self.consumers:
                consumer.estimate.on_remb(packet.bitrate, now)

    def _request_keyframes(self, ssrcs: Sequence[int], now: float) -> None:
        for ssrc in ssrcs:
            consumer = self._by_ssrc.get(ssrc)
            if consumer is not None:
                consumer.request_keyframe(now)


def _sent_tracks(producers: Sequence[Producer], cname: str) -> tuple[SentTrack, ...]:
    """Give numbers to what is offered: the publisher's payload types, and free ones for RTX that it lacks."""
    taken = {codec.payload_type for producer in producers for codec in producer.parameters.codecs}
    taken |= {producer.parameters.rtx.payload_type for producer in producers if producer.parameters.rtx}
    tracks = []
    for producer in producers:
        rtx = retransmission_codec(producer.parameters, taken)
        if rtx is not None:
            taken.add(rtx.payload_type)
        tracks.append(
            SentTrack(
                parameters=producer.parameters,
                ssrc=producer.ssrc,
                rtx_ssrc=secrets.randbits(32),
                cname=cname,
                rtx=rtx,
            )
        )
    return tuple(tracks)
