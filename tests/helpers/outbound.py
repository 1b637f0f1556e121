"""A producer with its relay, and a peer connection that takes notes: what consumers stand between. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.parameters import AcceptedTrack, Codec, SentTrack, TrackParameters
from sfu.producer import Producer
from sfu.relay import MediaRelay
from sfu.rtp.packet import build_packet, parse_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.rtp.batch import Run
    from sfu.transport.fanout import Outlet

SSRC = 0x1234
VP8, RTX, OPUS, RED = 96, 97, 111, 63
VP8_START = b"\x10"
"""Payload descriptor: the start of partition 0."""
VP8_KEYFRAME = VP8_START + b"\x00\x00\x00\x9d\x01\x2a\x40\x01\xf0\x00"
VP8_DELTA = VP8_START + b"\x01\x00\x00"
FRAME_TICKS = 3000


def video_parameters(codec: str = "VP8") -> TrackParameters:
    return TrackParameters(
        mid="0",
        kind="video",
        track_id="camera",
        codecs=(Codec(codec, "video", 90_000, None, VP8, feedback=frozenset({"nack", "nack pli"})),),
        rtx=Codec("rtx", "video", 90_000, None, RTX, (("apt", VP8),)),
        extensions={},
        ssrc=SSRC,
        rtx_ssrc=SSRC + 1,
        cname=None,
    )


def audio_parameters() -> TrackParameters:
    return TrackParameters(
        mid="1",
        kind="audio",
        track_id="microphone",
        codecs=(Codec("opus", "audio", 48_000, 2, OPUS), Codec("red", "audio", 48_000, 2, RED)),
        rtx=None,
        extensions={},
        ssrc=SSRC + 2,
        rtx_ssrc=None,
        cname=None,
    )


class NotingPeer:
    """A peer connection without a network: it keeps what is sent."""

    def __init__(self) -> None:
        self.outlet: Outlet | None = None
        self.sent: list[bytes] = []
        self.room: int | None = None
        """Packets that a send still takes; None for any number."""

    def send_media(self, runs: Sequence[Run]) -> int:
        packets = [packet for run in runs for packet in run]
        taken = packets if self.room is None else packets[: self.room]
        if self.room is not None:
            self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def crashed(self, error: Exception) -> None:
        raise error

    def numbers(self) -> list[int]:
        """Return the sequence numbers of what was sent."""
        return [parse_header(packet).sequence_number for packet in self.sent]


class Device:
    """A producer and whoever feeds it: packets are numbered from 100 on, a frame every 3000 ticks."""

    def __init__(self, parameters: TrackParameters | None = None) -> None:
        self.relay = MediaRelay(lambda: None, None)
        self.keyframe_wishes = 0
        self.parameters = parameters or video_parameters()
        self.producer = Producer(self.parameters, self.relay, "label", self._wish)
        self._sequence = 99
        self._timestamp = 0

    def _wish(self) -> None:
        self.keyframe_wishes += 1

    def skip(self) -> None:
        """Lose a packet on the way."""
        self._sequence += 1

    def packet(
        self, now: float, payload: bytes, *, marker: bool = True, payload_type: int | None = None, flush: bool = True
    ) -> int:
        """Have one packet come; return its number as viewers see it. With `flush` the turn then ends."""
        self._sequence += 1
        data = build_packet(
            payload_type=self.parameters.codec.payload_type if payload_type is None else payload_type,
            sequence_number=self._sequence & 0xFFFF,
            timestamp=self._timestamp,
            ssrc=SSRC,
            marker=marker,
            extensions=b"",
            payload=payload,
        )
        if marker:
            self._timestamp += FRAME_TICKS
        self.producer.receive(data, parse_header(data), now)
        if flush:
            self.relay.flush()
        newest = self.producer.history._highest
        return newest & 0xFFFF

    def keyframe(self, now: float, *, size: int = 100) -> int:
        return self.packet(now, VP8_KEYFRAME.ljust(size, b"k"))

    def delta(self, now: float, *, size: int = 100) -> int:
        return self.packet(now, VP8_DELTA.ljust(size, b"d"))


def offered(device: Device) -> SentTrack:
    """Return the device's track as it would be offered."""
    parameters = device.parameters
    return SentTrack(parameters, device.producer.ssrc, 0x9999, "cname", parameters.rtx)


def accepted(device: Device, *, rtx: int | None = RTX, payload_types: dict[int, int] | None = None) -> AcceptedTrack:
    """Return the answer of a viewer that takes everything under the offered numbers, unless told otherwise."""
    same = {codec.payload_type: codec.payload_type for codec in device.parameters.codecs}
    return AcceptedTrack(device.parameters.mid, same if payload_types is None else payload_types, rtx)
