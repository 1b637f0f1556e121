"""Consumer: one outbound track to one viewer. Encrypts and sends; answers NACKs; reports; listens to feedback."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Final

import pylibsrtp

from .forwarding.bandwidth import ReceiverEstimate
from .rtp.packet import parse_header, rewrite_header, wrap_rtx
from .rtp.rtcp import ReportBlock, SenderReport, middle_32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .parameters import AcceptedTrack, SentTrack
    from .producer import Producer
    from .relay import ForwardedPacket

KEYFRAME_PATIENCE_SECONDS: Final = 3.0
"""How long a new viewer is spared packets that it cannot decode. After that they are sent: an end-to-end encrypted
stream shows no keyframes, and its viewer must not wait for ever."""
RETRANSMISSION_BYTES_PER_SECOND: Final = 500_000
"""Sent again to one viewer at most: all of a 4 Mbit/s stream. More would drown a link that loses that much."""


class RetransmissionBudget:
    """A bucket of bytes that fills with time."""

    __slots__ = ("_bytes", "_since")

    def __init__(self) -> None:
        self._bytes = float(RETRANSMISSION_BYTES_PER_SECOND)
        self._since = 0.0

    def take(self, size: int, now: float) -> bool:
        """Take `size` bytes if they are there."""
        gained = (now - self._since) * RETRANSMISSION_BYTES_PER_SECOND
        self._bytes = min(self._bytes + gained, RETRANSMISSION_BYTES_PER_SECOND)
        self._since = now
        if self._bytes < size:
            return False
        self._bytes -= size
        return True


class Consumer:
    """Send one producer's packets to one viewer.

    The packets are the relay's, untouched, but for a payload type that the viewer wants under another number.
    """

    def __init__(
        self,
        producer: Producer,
        sent: SentTrack,
        accepted: AcceptedTrack,
        protect: Callable[[bytes], bytes],
        send: Callable[[bytes], None],
        now: float,
    ) -> None:
        self.producer = producer
        self.sent = sent
        self.drops: Counter[str] = Counter()
        self.packets = 0
        self.octets = 0
        self.retransmitted = 0
        self.estimate = ReceiverEstimate()
        self._payload_types = accepted.payload_types
        self._rtx_payload_type = accepted.rtx_payload_type
        # In the lower half for the reason given at Producer.
        self._rtx_sequence = secrets.randbits(15)
        self._budget = RetransmissionBudget()
        self._protect = protect
        self._send = send
        self._waits_for_keyframe = producer.kind == "video"
        self._patient_until = now + KEYFRAME_PATIENCE_SECONDS

    def forward(self, packet: ForwardedPacket) -> None:
        """Send one packet of the relay."""
        if self._waits_for_keyframe:
            if not packet.keyframe and packet.arrival < self._patient_until:
                self.drops["before_keyframe"] += 1
                return
            self._waits_for_keyframe = False
        data = self._as_negotiated(packet)
        if data is None:
            self.drops["payload_type"] += 1
            return
        if self._transmit(data):
            self.packets += 1
            self.octets += len(data) - packet.payload_offset

    def retransmit(self, lost: Iterable[int], now: float) -> None:
        """Send packets again that the viewer misses, as RTX if it knows that (RFC 4588), else as they were."""
        for sequence_number in lost:
            packet = self.producer.history.get(sequence_number, now)
            if packet is None:
                self.drops["nack_too_old"] += 1
                continue
            data = self._as_negotiated(packet)
            if data is None:
                continue
            if not self._budget.take(len(data), now):
                self.drops["retransmission_budget"] += 1
                continue
            if self._rtx_payload_type is not None:
                self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
                data = wrap_rtx(
                    data,
                    parse_header(data),
                    payload_type=self._rtx_payload_type,
                    sequence_number=self._rtx_sequence,
                    ssrc=self.sent.rtx_ssrc,
                )
            if self._transmit(data):
                self.retransmitted += 1

    def request_keyframe(self, now: float) -> None:
        """Pass on that the viewer cannot decode what it has; requests of many viewers become one."""
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

    def _as_negotiated(self, packet: ForwardedPacket) -> bytes | None:
        """Return the packet under the payload type that the viewer knows it by; None if it did not take that codec."""
        number = self._payload_types.get(packet.payload_type)
        if number is None:
            return None
        if number == packet.payload_type:
            return packet.data
        return rewrite_header(
            packet.data,
            payload_type=number,
            sequence_number=packet.sequence & 0xFFFF,
            timestamp=packet.timestamp,
            ssrc=self.sent.ssrc,
        )

    def _transmit(self, data: bytes) -> bool:
        try:
            protected = self._protect(data)
        except (pylibsrtp.Error, ValueError):
            # Too long for SRTP, or an index outside its window.
            self.drops["srtp_protect"] += 1
            return False
        self._send(protected)
        return True
