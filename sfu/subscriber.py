"""Subscriber: the outbound half of a peer connection. Its consumers, and the RTCP between them and one viewer."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Final

from .consumer import Consumer, MediaOutlet
from .descriptions import MAX_SECTIONS
from .negotiation import retransmission_codec
from .parameters import SentTrack
from .rtp.rtcp import (
    DelaySinceReferenceTime,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    ReferenceTime,
    Remb,
    RtcpError,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    encode_datagrams,
    middle_32,
    parse_rtcp,
)
from .slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .parameters import SubscriberAnswer
    from .producer import Producer
    from .relay import MediaRelay
    from .values import Kind

START_DELAY_SECONDS: Final = 0.03
"""From the end of the handshake to the first packet. A stock aiortc viewer loses what comes before its receivers run,
2 ms after its handshake on a desktop and ten times that on a small board; a lost beginning costs it a keyframe. Those
whose answer tells that they are others get the picture sooner."""
REPORT_INTERVAL_SECONDS: Final = 1.0
"""Between sender reports."""
ROUND_TRIP_INTERVAL_SECONDS: Final = 1.0
"""Between answers to a viewer that measures its round trip. libwebrtc asks with every report, and takes the highest
answer of the last 1.5 s."""
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
        max_sections: int = MAX_SECTIONS,
    ) -> None:
        self.drops: Counter[str] = Counter()
        self.first_frame: Callable[[], None] | None = None
        """Called when the first packet of a first picture is sent, for each video track."""
        self._relay = relay
        self._cname = cname
        self._send_rtcp = send_rtcp
        self._slots = Slots(self._sent_track, max_sections)
        self._producers = tuple(producers)
        self._slots.arrange(producers)
        # Whether the newest offer is unanswered, and whether any was ever answered.
        self.awaits_answer = True
        self.answered = False
        self._paused: frozenset[Kind] = frozenset()
        # One for each track that the viewer takes, once connected.
        self._consumers: dict[Producer, Consumer] = {}
        self._by_ssrc: dict[int, Consumer] = {}
        # Set once connected, the second until it has come.
        self._outlet: MediaOutlet | None = None
        self._start_at: float | None = None
        self._start_delay = START_DELAY_SECONDS
        self._next_report = 0.0
        self._next_round_trip = 0.0

    @property
    def offered(self) -> tuple[SentTrack, ...]:
        """The sections of the newest offer."""
        return self._slots.offered

    @property
    def tag(self) -> str | None:
        """The mid that carries the bundle in a further offer."""
        return self._slots.tag

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """One for each track that is sent, or paused."""
        return tuple(self._consumers.values())

    def follow(self, producers: Sequence[Producer]) -> None:
        """Take the feed's new set of tracks: those that are gone end now, what was added has to be offered first."""
        self._producers = tuple(producers)
        for producer in self._consumers.keys() - set(producers):
            self._drop(producer)

    def next_offer(self) -> bool:
        """Put into `offered` what changed since the last; return whether there is something to offer.

        There is nothing while an offer is unanswered: two at a time would cross.
        """
        if self.awaits_answer:
            return False
        left_out = self._slots.left_out
        self.awaits_answer = self._slots.arrange(self._producers)
        if self._slots.left_out > left_out:
            self.drops["no_section"] += self._slots.left_out - left_out
        return self.awaits_answer

    def accept(self, answer: SubscriberAnswer, now: float) -> None:
        """Take the viewer's answer, and see to it that there is a keyframe for what it has not seen yet."""
        self.answered = True
        self.awaits_answer = False
        self._start_delay = 0.0 if answer.starts_early else START_DELAY_SECONDS
        self._slots.answer(answer)
        taken = {producer for producer, _, _ in self._slots.accepted()}
        for producer in self._consumers.keys() - taken:
            self._drop(producer)
        for producer in taken - self._consumers.keys():
            if producer in self._producers and producer.kind not in self._paused and producer.recent_start(now) is None:
                producer.request_keyframe(now)
        if self._outlet is not None:
            self._start_at = now + self._start_delay

    def connected(self, now: float, outlet: MediaOutlet) -> None:
        """Begin to forward soon; called once the transport is up."""
        self._outlet = outlet
        self._next_report = now + FIRST_REPORT_SECONDS
        self._start_at = now + self._start_delay

    def move(self, send_rtcp: Callable[[bytes], None]) -> None:
        """Begin anew on another connection of the same viewer: stop until `connected` is called again."""
        self.close()
        self._outlet = None
        self._send_rtcp = send_rtcp

    def pause(self, kinds: frozenset[Kind]) -> tuple[Kind, ...]:
        """Send nothing more of these kinds; return those that are paused now."""
        self._relay.flush()
        for consumer in self.consumers:
            if consumer.producer.kind in kinds - self._paused:
                self._relay.unsubscribe_packets(consumer.producer, consumer)
                consumer.pause()
        self._paused |= kinds
        return tuple(sorted(self._paused))

    def resume(self, kinds: frozenset[Kind], now: float) -> tuple[Kind, ...]:
        """Send these kinds again, video from a keyframe on; return those that are still paused."""
        resumed, self._paused = self._paused & kinds, self._paused - kinds
        self._relay.flush()
        for consumer in self.consumers:
            if consumer.producer.kind in resumed:
                consumer.resume(now)
                self._relay.subscribe_packets(consumer.producer, consumer)
        return tuple(sorted(self._paused))

    def _start(self, now: float, outlet: MediaOutlet) -> None:
        """Begin to forward what the viewer takes and does not get yet."""
        # What waits in the relay is in the history already, and must not reach a new viewer twice.
        self._relay.flush()
        for producer, sent, track in self._slots.accepted():
            if producer in self._consumers or producer not in self._producers:
                continue
            consumer = Consumer(producer, sent, track, outlet, self._relay.totals(producer), now)
            consumer.first_frame = self.first_frame
            self._consumers[producer] = consumer
            self._by_ssrc[sent.ssrc] = consumer
            if producer.kind in self._paused:
                consumer.pause()
                continue
            consumer.start(now)
            self._relay.subscribe_packets(producer, consumer)

    def _drop(self, producer: Producer) -> None:
        consumer = self._consumers.pop(producer)
        self._relay.unsubscribe_packets(producer, consumer)
        self._by_ssrc.pop(consumer.sent.ssrc, None)
        self._relay.tally.add_consumer(consumer)

    def handle_rtp(self, packets: Sequence[bytes], now: float) -> bool:  # noqa: ARG002  the common interface of media
        """Refuse media: a viewer has none to send here."""
        self.drops["rtp_from_subscriber"] += len(packets)
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
        deadline = self._next_report if self._start_at is None else self._start_at
        for consumer in self._consumers.values():
            when = consumer.next_deadline()
            if when is not None and when < deadline:
                deadline = when
        return deadline

    def handle_timer(self, now: float) -> None:
        """Begin when it is time, and send the second copies and sender reports that are due."""
        if self._start_at is not None and self._outlet is not None and now >= self._start_at:
            self._start_at = None
            self._start(now, self._outlet)
        for consumer in self._consumers.values():
            consumer.handle_timer(now)
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
        for producer in list(self._consumers):
            self._drop(producer)

    def _sent_track(self, producer: Producer) -> SentTrack:
        """Give numbers to what is offered: the publisher's payload types, and a free one for RTX where it has none."""
        parameters = [other.parameters for other in self._producers]
        taken = {codec.payload_type for each in parameters for codec in each.codecs}
        known = [each.rtx for each in parameters] + [each.rtx for each in self.offered]
        taken |= {rtx.payload_type for rtx in known if rtx is not None}
        return SentTrack(
            parameters=producer.parameters,
            ssrc=producer.ssrc,
            rtx_ssrc=secrets.randbits(32),
            cname=self._cname,
            rtx=retransmission_codec(producer.parameters, taken),
        )

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
        elif isinstance(packet, ReferenceTime):
            self._tell_round_trip(packet, now)
        else:
            self._handle_estimate(packet, now)

    def _handle_estimate(self, packet: RtcpPacket, now: float) -> None:
        """Take what is said about the transport, which all tracks share."""
        if isinstance(packet, TransportFeedback):
            for consumer in self.consumers:
                consumer.estimate.on_transport_feedback(packet)
        elif isinstance(packet, Remb):
            for consumer in self.consumers:
                consumer.estimate.on_remb(packet.bitrate, now)

    def _tell_round_trip(self, packet: ReferenceTime, now: float) -> None:
        """Answer a viewer that measures its round trip, which it cannot by reports as it sends no media.

        libwebrtc then repeats a NACK after that, and not after 100 ms.
        """
        consumer = next(iter(self._consumers.values()), None)
        if consumer is not None and now >= self._next_round_trip:
            self._next_round_trip = now + ROUND_TRIP_INTERVAL_SECONDS
            answer = DelaySinceReferenceTime(consumer.sent.ssrc, packet.ssrc, middle_32(packet.ntp_time), 0)
            self._send_rtcp(answer.encode())

    def _request_keyframes(self, ssrcs: Sequence[int], now: float) -> None:
        for ssrc in ssrcs:
            consumer = self._by_ssrc.get(ssrc)
            # A viewer that sees no picture wants one, even where it has paused it itself.
            if consumer is not None and consumer.producer.kind not in self._paused:
                consumer.request_keyframe(now)
