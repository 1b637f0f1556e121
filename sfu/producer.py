"""Producer: one inbound track. Receives, numbers, keeps and hands on its packets; asks for what is missing."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from .forwarding.history import PacketHistory
from .forwarding.keyframes import KeyframeRequester
from .forwarding.nack import NackGenerator
from .forwarding.receive_stats import ReceiveStats
from .forwarding.rewriter import StreamRewriter
from .frames import DecodableTrack
from .rtp import codecs
from .rtp.batch import ForwardedPacket, PacketBatch
from .rtp.extensions import ABS_SEND_TIME, abs_send_time, find_extension
from .rtp.packet import RtpHeader, rewrite_header, rewrite_header_and_value
from .rtp.sequence import SequenceUnwrapper, seq16
from .statistics import ProducerStatistics
from .values import TrackInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from .parameters import TrackParameters
    from .relay import MediaRelay
    from .rtp.rtcp import SenderReport

HISTORY_PACKETS: Final = {"video": 2048, "audio": 256}
"""Two seconds at 4 Mbit/s in packets of 1,000 bytes, doubled; five seconds of audio."""
HISTORY_SECONDS: Final = 2.5
"""A retransmission later than that is of no use to a live picture."""
DEFAULT_ROUND_TRIP_SECONDS: Final = 0.1
"""Taken between two NACKs for one packet while the round trip is unknown; a receiver does not measure it by itself."""
_NTP_FRACTION: Final = 1 << 32
INSTANT_START_SECONDS: Final = 2.0
"""How old a keyframe may be for a new viewer to begin with it and all that followed. A browser decodes what it is
behind at once and is then as live as the others: measured in Chromium, its jitter buffer held 3 ms after a start with
a second of history. More would be a visible rush, and a new keyframe is cheaper."""
INSTANT_START_BYTES: Final = 500_000
"""What may be sent to a new viewer at once: two seconds at 2 Mbit/s, 250 ms of a 16 Mbit/s downlink."""
RANDOM_SEQUENCE_BITS: Final = 15
"""The outgoing numbering begins in the lower half, so that it cannot wrap while a first viewer joins: a receiver that
misses the packets before a wrap guesses the wrong SRTP rollover counter (RFC 3711 section 3.3.1)."""


class SenderClock:
    """What a publisher's sender reports say of its clocks: which RTP timestamp stands for which instant."""

    __slots__ = ("arrival", "ntp_time", "timestamp")

    def __init__(self, ntp_time: int, timestamp: int, arrival: float) -> None:
        self.ntp_time = ntp_time
        """64-bit NTP time by the publisher's own clock, so that its audio and video keep together."""
        self.timestamp = timestamp
        """In the outgoing numbering."""
        self.arrival = arrival

    def at(self, now: float, clock_rate: int) -> tuple[int, int]:
        """Return NTP time and outgoing RTP timestamp of the instant `now`."""
        elapsed = now - self.arrival
        ntp_time = self.ntp_time + int(elapsed * _NTP_FRACTION)
        return ntp_time & 0xFFFF_FFFF_FFFF_FFFF, (self.timestamp + int(elapsed * clock_rate)) & 0xFFFF_FFFF


class Producer(DecodableTrack):
    """Receive one published track and relay it.

    Packets are rewritten here, once for all viewers: an SSRC and a numbering of our own, which go on when the
    publisher's begin anew, and the sending time. As an aiortc track it gives decoded frames to whoever awaits `recv`.
    """

    def __init__(
        self, parameters: TrackParameters, relay: MediaRelay, label: str, keyframe_wanted: Callable[[], None]
    ) -> None:
        super().__init__(parameters.codec, relay)
        self.parameters = parameters
        self.info = TrackInfo(id=parameters.track_id, kind=parameters.kind, codec=parameters.codec.name, label=label)
        self.ssrc = secrets.randbits(32)
        """Of the outgoing stream, the same for every viewer."""
        self.drops: Counter[str] = Counter()
        self.packets = 0
        self.octets = 0
        self.recovered = 0
        self.given_up = 0
        self.nacked = 0
        self.keyframe_requests = 0
        self.keyframe_count = 0
        self._lost_before = 0
        """Packets that were lost of earlier sources."""
        self.size: tuple[int, int] | None = None
        """Width and height, where a keyframe has told them."""
        self.clock: SenderClock | None = None
        self.history: PacketHistory[ForwardedPacket] = PacketHistory(HISTORY_PACKETS[parameters.kind], HISTORY_SECONDS)
        self.keyframes = KeyframeRequester()
        self.nack = NackGenerator()
        self.stats = ReceiveStats(parameters.codec.clock_rate)
        self._relay = relay
        self._keyframe_wanted = keyframe_wanted
        self._codec = parameters.codec.name
        self._payload_types = frozenset(codec.payload_type for codec in parameters.codecs)
        self._abs_send_time = parameters.extensions.get(ABS_SEND_TIME)
        self._sends_nacks = "nack" in parameters.feedback
        self._unwrapper = SequenceUnwrapper()
        self._rewriter = StreamRewriter(
            sequence=secrets.randbits(RANDOM_SEQUENCE_BITS) + 0x10000, timestamp=secrets.randbits(32)
        )
        self._demand_changed: Callable[[], None] | None = None
        # Whether the next packet is the first of its source.
        self._source_begins = True
        # The first packet of the newest keyframe.
        self._keyframe: ForwardedPacket | None = None

    @property
    def id(self) -> str:
        """The publisher's own track id."""
        return self.parameters.track_id

    @property
    def round_trip(self) -> float:
        """Seconds from a NACK to its answer, measured where one has come."""
        measured = self.nack.round_trip
        return DEFAULT_ROUND_TRIP_SECONDS if measured is None else measured

    @property
    def packets_lost(self) -> int:
        """Packets lost on the way here and not recovered; may go back with what comes late."""
        return self._lost_before + self.stats.lost

    def recent_start(self, now: float) -> PacketBatch | None:
        """Return the newest keyframe and all that followed, for a viewer to begin with.

        None where it is too old, too much, or has holes: then a new keyframe is the better beginning.
        """
        keyframe = self._keyframe
        if keyframe is None or now - keyframe.arrival > INSTANT_START_SECONDS:
            return None
        packets = self.history.run_from(keyframe.sequence, now)
        if packets is None or sum(len(packet.data) for packet in packets) > INSTANT_START_BYTES:
            return None
        return PacketBatch(packets)

    def request_keyframe(self, now: float) -> None:
        """Ask the publisher for a keyframe, soon and together with whoever else asks. Nothing for audio."""
        if self.kind == "video":
            self.keyframes.request(now)
            self._keyframe_wanted()

    def on_demand(self, changed: Callable[[], None] | None) -> None:
        """Have `changed` called when somebody begins to receive the track, and when nobody does any more."""
        self._demand_changed = changed

    def demand_changed(self) -> None:
        """Take the relay's word that the first came or the last left."""
        if self._demand_changed is not None:
            self._demand_changed()

    def decoder_wants_keyframe(self) -> None:
        """Ask for a keyframe on behalf of a Python consumer, who has no clock of the peer's."""
        self.request_keyframe(time.monotonic())

    @property
    def highest_sequence(self) -> int | None:
        """The highest extended outgoing number so far; None before the first packet."""
        return self._rewriter.highest_sequence

    def hear(self, feedback: frozenset[str]) -> None:
        """Note which RTCP feedback the publisher's present connection takes."""
        self._sends_nacks = "nack" in feedback

    def begin_source(self) -> None:
        """Expect a new source: the publisher began anew, with an SSRC and numbers that follow from nothing before.

        Viewers see one stream that goes on.
        """
        self.nack = NackGenerator()
        self._lost_before = self.packets_lost
        self.stats = ReceiveStats(self.parameters.codec.clock_rate)
        self.clock = None
        self._unwrapper = SequenceUnwrapper()
        self._source_begins = True

    def receive(self, data: bytes, header: RtpHeader, now: float, *, recovered: bool = False) -> bool:
        """Take one RTP packet of the track, `recovered` if it came by RTX; return whether there is a loss to see to."""
        if header.payload_type not in self._payload_types:
            self.drops["payload_type"] += 1
            return False
        sequence = self._unwrapper.unwrap(header.sequence_number)
        if self._source_begins:
            self._source_begins = False
            self._rewriter.switch(sequence, header.timestamp, now, self.parameters.codec.clock_rate)
        lowest = self._rewriter.lowest_source_sequence
        if lowest is not None and sequence < lowest:
            # Its outgoing number belongs to the source before, and SRTP must not see one number twice.
            self.drops["before_switch"] += 1
            return False
        highest = self._rewriter.highest_sequence
        outgoing, timestamp = self._rewriter.map(sequence, header.timestamp, now)
        if highest is not None and outgoing <= highest:
            known = self.history.get(seq16(outgoing), now)
            if known is not None and known.sequence == outgoing:
                self.drops["duplicate"] += 1
                return False
        self.stats.add(sequence, header.timestamp, now, recovered=recovered)
        skipped = self._sends_nacks and self.nack.add(sequence, now, recovered=recovered)
        keyframe = self._is_keyframe(data, header)
        if keyframe:
            self.keyframes.keyframe_seen(now)
        octets = len(data) - header.payload_offset - header.padding
        packet = ForwardedPacket(
            self._rewritten(data, header, seq16(outgoing), timestamp, now),
            outgoing,
            timestamp,
            header.payload_type,
            header.payload_offset,
            octets,
            now,
            marker=header.marker,
            keyframe=keyframe,
        )
        if keyframe and self._begins_keyframe(packet):
            self._keyframe = packet
            self.keyframe_count += 1
            self.size = codecs.keyframe_size(self._codec, data[header.payload_offset :]) or self.size
        self.packets += 1
        self.recovered += recovered
        self.octets += octets
        self.history.add(outgoing, packet, now)
        self._relay.forward(self, packet)
        return skipped

    def sender_report(self, report: SenderReport, now: float) -> None:
        """Take the publisher's word on its clocks."""
        self.stats.sender_report(report.ntp_time, report.rtp_timestamp, now)
        if not self._source_begins:
            timestamp = (report.rtp_timestamp + self._rewriter.timestamp_offset) & 0xFFFF_FFFF
            self.clock = SenderClock(report.ntp_time, timestamp, now)

    def lost_packets(self, now: float) -> list[int]:
        """Return the sequence numbers to ask for again now; what is given up becomes a keyframe request."""
        lost = self.nack.due(now, self.round_trip)
        given_up = self.nack.take_given_up()
        if given_up and self.kind == "video":
            self.keyframes.request(now)
        self.given_up += given_up
        self.nacked += len(lost)
        return lost

    def next_deadline(self) -> float | None:
        """Return when `lost_packets` or the keyframe requester next has something to do, None for not at all."""
        deadlines = [when for when in (self.nack.next_deadline(), self.keyframes.next_deadline()) if when is not None]
        return min(deadlines, default=None)

    def statistics(self) -> ProducerStatistics:
        """Return a snapshot of what came and what is missing."""
        width, height = self.size or (None, None)
        return ProducerStatistics(
            track=self.info,
            subscribers=self._relay.subscribers(self),
            packets=self.packets,
            octets=self.octets,
            packets_lost=self.packets_lost,
            recovered=self.recovered,
            given_up=self.given_up,
            nacked=self.nacked,
            keyframe_requests=self.keyframe_requests,
            keyframes=self.keyframe_count,
            jitter=self.stats.jitter_seconds,
            round_trip=self.nack.round_trip,
            width=width,
            height=height,
            drops=dict(self.drops),
        )

    def _is_keyframe(self, data: bytes, header: RtpHeader) -> bool:
        if self.kind == "audio":
            return True
        end = header.payload_end(len(data))
        found = codecs.is_keyframe(self._codec, memoryview(data)[header.payload_offset : end])
        # A codec that cannot be told gets no gate: its decoder finds its own beginning.
        return found is not False

    def _begins_keyframe(self, packet: ForwardedPacket) -> bool:
        """Tell whether the packet begins a keyframe later than the known one: H264 shows one in several packets."""
        if self.kind != "video":
            return False
        known = self._keyframe
        return known is None or (packet.sequence > known.sequence and packet.timestamp != known.timestamp)

    def _rewritten(self, data: bytes, header: RtpHeader, sequence_number: int, timestamp: int, now: float) -> bytes:
        if self._abs_send_time is not None:
            # Viewers estimate their own path by it, so it has to tell when the packet leaves here.
            found = find_extension(data, header, self._abs_send_time)
            if found is not None and found[1] == 3:
                return rewrite_header_and_value(
                    data, header.payload_type, sequence_number, timestamp, self.ssrc, found[0], abs_send_time(now)
                )
        return rewrite_header(
            data,
            payload_type=header.payload_type,
            sequence_number=sequence_number,
            timestamp=timestamp,
            ssrc=self.ssrc,
        )
