"""Frames of a published track for Python consumers: packets put in order, joined, and decoded while somebody asks."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from aiortc import MediaStreamTrack
from aiortc.codecs import depayload, get_decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

if TYPE_CHECKING:
    from aiortc.codecs.base import Decoder
    from av.frame import Frame

    from .parameters import Codec
    from .relay import MediaRelay
    from .rtp.batch import ForwardedPacket, PacketBatch
    from .transport.fanout import Outlet

MAX_REORDERED_PACKETS: Final = 256
"""Packets held while one before them is missing: a large keyframe. Then the gap counts as lost."""
MAX_WAITING_FRAMES: Final = 30
"""Encoded frames that a slow consumer may be behind, one second of video. Then the oldest are dropped."""


class EncodedFrame:
    """All of one frame's payload, as its decoder wants it."""

    __slots__ = ("data", "keyframe", "timestamp")

    def __init__(self, data: bytes, timestamp: int, *, keyframe: bool) -> None:
        self.data = data
        self.timestamp = timestamp
        self.keyframe = keyframe


class FrameAssembler:
    """Put the packets of one track in order and join them to frames. Pure.

    A frame that lost a packet is dropped, and so is what follows it up to the next keyframe.
    """

    def __init__(self, codec: RTCRtpCodecParameters, *, video: bool) -> None:
        self.drops: Counter[str] = Counter()
        self._codec = codec
        self._video = video
        self._expected: int | None = None
        self._held: dict[int, ForwardedPacket] = {}
        self._parts: list[bytes] = []
        self._keyframe = False
        self._needs_keyframe = video

    def add(self, packet: ForwardedPacket) -> list[EncodedFrame]:
        """Take one packet; return the frames that are complete with it."""
        if self._expected is None:
            self._expected = packet.sequence
        if packet.sequence < self._expected:
            self.drops["late"] += 1
            return []
        self._held[packet.sequence] = packet
        if len(self._held) > MAX_REORDERED_PACKETS:
            self._skip_gap()
        frames = []
        while (following := self._held.pop(self._expected, None)) is not None:
            self._expected += 1
            frame = self._join(following)
            if frame is not None:
                frames.append(frame)
        return frames

    def _join(self, packet: ForwardedPacket) -> EncodedFrame | None:
        if self._video and packet.keyframe and not self._parts:
            self._needs_keyframe = False
            self._keyframe = True
        if self._needs_keyframe:
            return None
        try:
            self._parts.append(depayload(self._codec, packet.data[packet.payload_offset :]))
        except ValueError:
            self.drops["malformed"] += 1
            self._lose_frame()
            return None
        if self._video and not packet.marker:
            return None
        frame = EncodedFrame(b"".join(self._parts), packet.timestamp, keyframe=self._keyframe or not self._video)
        self._parts = []
        self._keyframe = False
        return frame

    def _skip_gap(self) -> None:
        self.drops["gap"] += 1
        self._expected = min(self._held)
        self._lose_frame()

    def _lose_frame(self) -> None:
        self._parts = []
        self._keyframe = False
        self._needs_keyframe = self._video


class DecodableTrack(MediaStreamTrack):
    """A packet track that decodes itself for whoever awaits `recv`, and only as long as `decoding` is on.

    Codecs are those that aiortc can decode: VP8, H264, Opus, PCMU, PCMA, G722.
    """

    def __init__(self, codec: Codec, relay: MediaRelay) -> None:
        super().__init__()
        self.kind = codec.kind
        self._decoded_codec = RTCRtpCodecParameters(
            mimeType=f"{codec.kind}/{codec.name}",
            clockRate=codec.clock_rate,
            channels=codec.channels,
            payloadType=codec.payload_type,
        )
        self._frame_relay = relay
        self.outlet: Outlet | None = None
        """Never: frames are made of packets here."""
        # All None while nobody asks.
        self._assembler: FrameAssembler | None = None
        self._decoder: Decoder | None = None
        self._encoded: deque[EncodedFrame] = deque(maxlen=MAX_WAITING_FRAMES)
        self._decoded: deque[Frame] = deque()
        self._frame_came = asyncio.Event()

    async def recv(self) -> Frame:
        """Return the next decoded frame; raises aiortc's `MediaStreamError` once the track has ended.

        Raises ValueError for a codec that aiortc cannot decode.
        """
        if self.readyState != "live":
            raise MediaStreamError
        self.start_decoding()
        while not self._decoded:
            await self._decode_next()
        return self._decoded.popleft()

    def start_decoding(self) -> None:
        """Begin to collect frames. Idempotent."""
        if self._assembler is None:
            self._decoder = get_decoder(self._decoded_codec)
            self._assembler = FrameAssembler(self._decoded_codec, video=self.kind == "video")
            self._frame_relay.subscribe_packets(self, self)
            self.decoder_wants_keyframe()

    def stop_decoding(self) -> None:
        """Let the decoder go until somebody asks again. Idempotent."""
        if self._assembler is not None:
            self._frame_relay.unsubscribe_packets(self, self)
            self._assembler = None
            self._decoder = None
            self._encoded.clear()
            self._decoded.clear()

    def stop(self) -> None:
        """End the track; whoever awaits a frame learns it."""
        self.stop_decoding()
        super().stop()
        self._frame_came.set()

    def forward(self, batch: PacketBatch) -> None:
        """Take packets from the relay."""
        assert self._assembler is not None  # noqa: S101  subscribed only while there is one
        for packet in batch.packets:
            self._encoded.extend(self._assembler.add(packet))
        if self._encoded:
            self._frame_came.set()

    def fell_short(self, batch: PacketBatch, sent: int) -> None:
        """Take note that a batch did not go out; nothing goes out here."""

    def crashed(self, error: Exception) -> None:
        """Decode no further: taking packets has failed, by a bug of ours."""
        self._frame_relay.faults.report("decoding_failed", error, track=self.id)
        self.stop_decoding()

    def decoder_wants_keyframe(self) -> None:
        """Ask the publisher for a keyframe."""
        raise NotImplementedError

    def demand_changed(self) -> None:
        """Take the relay's word that the first who receives the track came, or that the last left."""
        raise NotImplementedError

    async def _decode_next(self) -> None:
        while not self._encoded:
            self._frame_came.clear()
            await self._frame_came.wait()
            if self.readyState != "live":
                raise MediaStreamError
        encoded = self._encoded.popleft()
        decoder = self._decoder
        if decoder is not None:
            frame = JitterFrame(data=encoded.data, timestamp=encoded.timestamp)
            loop = asyncio.get_running_loop()
            self._decoded.extend(await loop.run_in_executor(None, decoder.decode, frame))
