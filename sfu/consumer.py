"""Consumer: one outbound track to one viewer. Encrypts and sends; answers NACKs; reports; listens to feedback."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from .forwarding.bandwidth import ReceiverEstimate
from .forwarding.retransmission import SECOND_COPY_RESERVE_BYTES, Retransmissions
from .forwarding.sequence_shift import SequenceShift
from .rtp.batch import divide
from .rtp.packet import parse_header, rewrite_header, wrap_rtx
from .rtp.rtcp import ReportBlock, SenderReport, middle_32
from .statistics import ConsumerStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .parameters import AcceptedTrack, SentTrack
    from .producer import Producer
    from .relay import Totals
    from .rtp.batch import ForwardedPacket, PacketBatch, Run
    from .transport.fanout import Outlet

KEYFRAME_PATIENCE_SECONDS: Final = 3.0
"""How long a new viewer is spared packets that it cannot decode. After that they are sent: an end-to-end encrypted
stream shows no keyframes, and its viewer must not wait for ever."""


class MediaOutlet(Protocol):
    """Where a consumer's packets go: its peer connection."""

    outlet: Outlet | None
    """What `Fanout` needs to send there; None while it cannot."""

    def send_media(self, runs: Sequence[Run]) -> int:
        """Encrypt and send runs of RTP packets; return how many packets left."""
        ...

    def crashed(self, error: Exception) -> None:
        """End: a bug of ours. Never raises."""
        ...


class Consumer:
    """Send one producer's packets to one viewer.

    The packets are the relay's, untouched, but for a payload type that the viewer wants under another number.
    """

    def __init__(
        self,
        producer: Producer,
        sent: SentTrack,
        accepted: AcceptedTrack,
        peer: MediaOutlet,
        totals: Totals,
        now: float,
    ) -> None:
        self.producer = producer
        self.sent = sent
        self.drops: Counter[str] = Counter()
        self.retransmitted = 0
        self.second_copies = 0
        self.keyframe_requests = 0
        self.instant_start = False
        """Whether the viewer began with a keyframe of the past."""
        self.first_frame: Callable[[], None] | None = None
        """Called once, when a first packet is sent that can be decoded; None afterwards. For video."""
        self.estimate = ReceiverEstimate()
        self._payload_types = accepted.payload_types
        self._rtx_payload_type = accepted.rtx_payload_type
        # In the lower half for the reason given at Producer.
        self._rtx_sequence = secrets.randbits(15)
        self._retransmissions = Retransmissions()
        self._peer = peer
        self._send = peer.send_media
        self._renumbers = any(ours != theirs for ours, theirs in accepted.payload_types.items()) or len(
            accepted.payload_types
        ) < len(sent.parameters.codecs)
        # What went out. While every packet goes by the outlet, the track's totals count for all its viewers, from where
        # they stood when this one joined.
        self._packets = 0
        self._octets = 0
        self._totals = totals
        self._direct = False
        self._joined_at = (0, 0)
        # The track's number after which the last pause began; None without, or where nothing had been sent.
        self._paused_after: int | None = None
        self._shift = SequenceShift()
        # Whether the rest of a frame, part of which could not be sent, is still coming.
        self._broken_frame = False
        self._waits_for_keyframe = producer.kind == "video"
        self._patient_until = now + KEYFRAME_PATIENCE_SECONDS

    @property
    def packets(self) -> int:
        """Packets sent, retransmissions not counted."""
        return self._packets + (self._totals.packets - self._joined_at[0] if self._direct else 0)

    @property
    def octets(self) -> int:
        """Payload bytes sent, retransmissions not counted."""
        return self._octets + (self._totals.octets - self._joined_at[1] if self._direct else 0)

    @property
    def outlet(self) -> Outlet | None:
        """Where every packet may go without `forward`; None while this consumer has to choose or to change some."""
        chooses = self._waits_for_keyframe or self._renumbers or self._broken_frame
        outlet = None if chooses else self._peer.outlet
        if (outlet is not None) is not self._direct:
            self._change_counting()
        return outlet

    def start(self, now: float) -> None:
        """Begin with the newest keyframe and what followed it, or else ask the publisher for a new one."""
        if self.producer.kind != "video":
            return
        recent = self.producer.recent_start(now)
        if recent is None or (self._paused_after is not None and recent.packets[0].sequence <= self._paused_after):
            self.request_keyframe(now)
        else:
            self.instant_start = True
            self.forward(recent)

    def pause(self) -> None:
        """Take note that the relay hands on no more packets; what it handed on so far has been sent."""
        if self._direct:
            self._change_counting()
        self._paused_after = self.producer.highest_sequence if self.packets else None
        self._shift.pause(self._paused_after)
        self._retransmissions.clear()
        self._renumbers = True
        self._broken_frame = False
        self._waits_for_keyframe = self.producer.kind == "video"

    def resume(self, now: float) -> None:
        """Begin again after a pause, as `start` does; the relay hands on packets from now on."""
        self._patient_until = now + KEYFRAME_PATIENCE_SECONDS
        self.start(now)

    def forward(self, batch: PacketBatch) -> None:
        """Send packets of the relay."""
        if self._waits_for_keyframe or self._renumbers or self._broken_frame:
            self._forward_some(batch)
            return
        sent = self._send(batch.runs)
        self._packets += sent
        self._octets += batch.octets
        if sent < len(batch.packets):
            self._octets -= _octets(batch.packets[sent:])
            self._not_all_left(batch.packets, sent)

    def fell_short(self, batch: PacketBatch, sent: int) -> None:
        """Take note that of a batch for the outlet only the first `sent` packets left."""
        self._packets -= len(batch.packets) - sent
        self._octets -= _octets(batch.packets[sent:])
        self._not_all_left(batch.packets, sent)

    def crashed(self, error: Exception) -> None:
        """End the viewer's connection: handing it a packet has failed, by a bug of ours."""
        self._peer.crashed(error)

    def _change_counting(self) -> None:
        """Begin to count by the track's totals, or by ourselves again."""
        packets, octets = self.packets, self.octets
        self._direct = not self._direct
        if self._direct:
            self._joined_at = (self._totals.packets, self._totals.octets)
        else:
            self._packets, self._octets = packets, octets

    def _forward_some(self, batch: PacketBatch) -> None:
        """Send those packets of a batch that the viewer can use, as it wants them."""
        packets = [packet for packet in batch.packets if self._wants(packet)]
        if not packets:
            return
        runs = divide([data for packet in packets if (data := self._as_negotiated(packet)) is not None])
        sent = self._send(runs)
        self._packets += sent
        self._octets += _octets(packets[:sent])
        if sent < len(packets):
            self._not_all_left(packets, sent)

    def _wants(self, packet: ForwardedPacket) -> bool:
        if self._waits_for_keyframe:
            if not packet.keyframe and packet.arrival < self._patient_until:
                self.drops["before_keyframe"] += 1
                return False
            self._waits_for_keyframe = False
            if self.first_frame is not None:
                self.first_frame()
                self.first_frame = None
        if self._broken_frame:
            self._broken_frame = not packet.marker
            self.drops["broken_frame"] += 1
            return False
        if packet.payload_type not in self._payload_types:
            self.drops["payload_type"] += 1
            return False
        self._shift.begin(packet.sequence)
        if not self._shift.may_send(packet.sequence):
            self.drops["before_resume"] += 1
            return False
        return True

    def _not_all_left(self, packets: Sequence[ForwardedPacket], sent: int) -> None:
        """Count what the kernel had no room for; what follows of the same frame is not sent: half a frame is none."""
        self.drops["not_sent"] += len(packets) - sent
        self._broken_frame = not packets[-1].marker

    def retransmit(self, lost: Iterable[int], now: float) -> None:
        """Send packets again that the viewer misses, as RTX if it knows that (RFC 4588), else as they were.

        RTX goes out once more a little later, since a lost retransmission costs the viewer a further round trip.
        Without RTX a second copy would be the same packet, a replay to the viewer's SRTP.
        """
        plan = self._retransmissions
        for sequence_number in lost:
            if not plan.asked(sequence_number, now, self.estimate.round_trip):
                self.drops["nack_repeated"] += 1
                continue
            sent = self._send_again(sequence_number, now)
            self.retransmitted += sent
            if sent and self._rtx_payload_type is not None and not plan.plan_second_copy(sequence_number, now):
                self.drops["second_copy"] += 1

    def next_deadline(self) -> float | None:
        """Return when `handle_timer` next has something to do, None for not at all."""
        return self._retransmissions.next_deadline()

    def handle_timer(self, now: float) -> None:
        """Send the second copies that are due."""
        for sequence_number in self._retransmissions.due(now):
            self.second_copies += self._send_again(sequence_number, now, reserve=SECOND_COPY_RESERVE_BYTES)

    def _send_again(self, sequence_number: int, now: float, *, reserve: int = 0) -> int:
        """Send one packet of the history again, leaving `reserve` bytes in the budget; return how many left: 0 or 1."""
        packet = self.producer.history.get(self._shift.to_track(sequence_number), now)
        if packet is None or not self._shift.may_send(packet.sequence):
            self.drops["nack_too_old"] += 1
            return 0
        data = self._as_negotiated(packet)
        if data is None:
            return 0
        if not self._retransmissions.budget.take(len(data), now, reserve=reserve):
            self.drops["second_copy" if reserve else "retransmission_budget"] += 1
            return 0
        if self._rtx_payload_type is not None:
            self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            data = wrap_rtx(
                data,
                parse_header(data),
                payload_type=self._rtx_payload_type,
                sequence_number=self._rtx_sequence,
                ssrc=self.sent.rtx_ssrc,
            )
        return self._send([[data]])

    def request_keyframe(self, now: float) -> None:
        """Pass on that the viewer cannot decode what it has; requests of many viewers become one."""
        self.keyframe_requests += 1
        self.producer.request_keyframe(now)

    def handle_report(self, block: ReportBlock, now: float) -> None:
        """Take what the viewer says about the track."""
        self.estimate.on_report(block, now, self.producer.parameters.codec.clock_rate)

    def sender_report(self, now: float) -> SenderReport | None:
        """Tell the viewer the publisher's clocks, so that it plays audio and video in time with each other.

        None until the publisher has told them itself, and before the first packet.
        """
        clock = self.producer.clock
        if clock is None or not self.packets:
            return None
        ntp_time, timestamp = clock.at(now, self.producer.parameters.codec.clock_rate)
        self.estimate.note_sender_report(middle_32(ntp_time), now)
        return SenderReport(
            self.sent.ssrc, ntp_time, timestamp, self.packets & 0xFFFF_FFFF, self.octets & 0xFFFF_FFFF, ()
        )

    def statistics(self) -> ConsumerStatistics:
        """Return a snapshot of what was sent and what the viewer says of it."""
        estimate = self.estimate
        return ConsumerStatistics(
            track=self.producer.info,
            packets=self.packets,
            octets=self.octets,
            retransmitted=self.retransmitted,
            second_copies=self.second_copies,
            keyframe_requests=self.keyframe_requests,
            instant_start=self.instant_start,
            fraction_lost=estimate.fraction_lost,
            packets_lost=estimate.packets_lost,
            jitter=estimate.jitter_seconds,
            round_trip=estimate.round_trip,
            bitrate_estimate=estimate.bitrate,
            transport_fraction_lost=estimate.transport_fraction_lost,
            drops=dict(self.drops),
        )

    def _as_negotiated(self, packet: ForwardedPacket) -> bytes | None:
        """Return the packet under the payload type that the viewer knows it by; None if it did not take that codec."""
        number = self._payload_types.get(packet.payload_type)
        if number is None:
            return None
        if number == packet.payload_type and not self._shift.offset:
            return packet.data
        return rewrite_header(
            packet.data,
            payload_type=number,
            sequence_number=(packet.sequence - self._shift.offset) & 0xFFFF,
            timestamp=packet.timestamp,
            ssrc=self.sent.ssrc,
        )


def _octets(packets: Iterable[ForwardedPacket]) -> int:
    return sum(packet.octets for packet in packets)
