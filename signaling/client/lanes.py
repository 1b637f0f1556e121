"""From a container's packets to what aiortc sends: one lane per stream, either decoding or handing packets on.

Lanes run in the reader's thread and know nothing of time but the stream's own timestamps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .testsource import AUDIO_TIME_BASE, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, VIDEO_TIME_BASE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from av.audio.stream import AudioStream

    AnyPacket = Packet[Any]  # generic in the stubs only

_CODEC_NAMES = {"h264": "H264", "vp8": "VP8", "libvpx": "VP8", "opus": "opus", "libopus": "opus"}
"""FFmpeg's decoder names and what SDP calls their codecs."""
_H264_PIXEL_FORMATS = frozenset({"yuv420p", "yuvj420p"})
"""What every WebRTC decoder takes; 4:2:2, 4:4:4 and 10 bit they do not."""
_NAL_SPS, _NAL_SLICES = 7, range(1, 6)
"""NAL unit types, H.264 table 7-1."""
MIN_STEP_SECONDS = 0.001
"""Between two pictures whose own times are the same."""
RESTART_SECONDS = 1.0
"""Further back than this is a clock that began again, not pictures in disorder."""
SNAP_SECONDS = 0.005
"""Containers round Opus timestamps to milliseconds; nearer than this to the expected one, the expected one is sent."""
RESYNC_SECONDS = 0.1
"""Decoded sound further than this from its own sample count follows its timestamps again."""


@dataclass(frozen=True, slots=True)
class Item:
    """A frame or packet with its time and duration in seconds of the stream's own clock."""

    seconds: float
    duration: float
    sound: bool
    data: VideoFrame | AudioFrame | AnyPacket

    def stamped(self, seconds: float) -> Item:
        """Return the item moved to `seconds`, its data's timestamp set accordingly."""
        base = AUDIO_TIME_BASE if self.sound else VIDEO_TIME_BASE
        self.data.pts = round(seconds / base)
        self.data.time_base = base
        if isinstance(self.data, Packet):
            self.data.dts = self.data.pts
        return Item(seconds, self.duration, self.sound, self.data)


def passthrough_codec(stream: VideoStream | AudioStream, allowed: Collection[str]) -> str | None:
    """Return SDP's name of the stream's codec if its packets can be sent as they are and it is `allowed`."""
    context = stream.codec_context
    codec = _CODEC_NAMES.get(context.name)
    if codec is None or codec not in allowed:
        return None
    if codec == "H264":
        # RTP carries frames in decoding order with one timestamp each; aiortc has no reordering for B-frames.
        video = cast("VideoStream", stream).codec_context
        return codec if not video.has_b_frames and video.pix_fmt in _H264_PIXEL_FORMATS else None
    if codec == "opus":
        return codec if cast("AudioStream", stream).codec_context.channels <= 2 else None
    return codec


class Lane(ABC):
    """Turn one stream's packets into items."""

    def __init__(self, stream: VideoStream | AudioStream) -> None:
        self._time_base = stream.time_base or Fraction(1, 1000)
        rate = cast("Fraction | None", getattr(stream, "average_rate", None))
        self._frame_seconds = float(1 / rate) if rate else 1 / 30
        self._untimed = 0

    @abstractmethod
    def convert(self, packet: AnyPacket) -> Iterator[Item]:
        """Yield what a packet becomes; the stream's last packet is an empty one. Raises `av.FFmpegError`."""

    def _seconds(self, pts: int | None) -> float:
        if pts is None:  # raw elementary streams have no timestamps: count pictures instead
            self._untimed += 1
            return (self._untimed - 1) * self._frame_seconds
        return float(pts * self._time_base)


class EncodedVideoLane(Lane):
    """Hand VP8 or H264 packets on, from the first keyframe."""

    def __init__(self, stream: VideoStream, codec: str) -> None:
        super().__init__(stream)
        self._to_annex_b: BitStreamFilterContext | None = None
        self._parameter_sets = b""
        if codec == "H264":
            # aiortc looks for start codes, and viewers for parameter sets in the stream. MP4 and MKV have lengths and
            # a header of their own instead; RTSP may name the parameter sets in its SDP only.
            extradata = stream.codec_context.extradata or b""
            if extradata[:1] == b"\x01":
                self._to_annex_b = BitStreamFilterContext("h264_mp4toannexb", in_stream=stream)
            else:
                self._parameter_sets = extradata
        self._seen_keyframe = False
        self._last: float | None = None
        self._shift = 0.0

    def convert(self, packet: AnyPacket) -> Iterator[Item]:
        """Yield the packet, in Annex B form if it is H264."""
        if packet.size == 0:
            return
        self._seen_keyframe = self._seen_keyframe or packet.is_keyframe
        if not self._seen_keyframe:
            return
        seconds = self._steady(self._seconds(packet.pts))
        packets = [packet] if self._to_annex_b is None else self._to_annex_b.filter(packet)
        for each in packets:
            yield Item(seconds, self._frame_seconds, sound=False, data=self._decodable(each))

    def _steady(self, seconds: float) -> float:
        """Return a time that is later than the one before: receivers take equal RTP timestamps for one picture.

        Cameras send their first pictures without a time, and start their clock again when they please.
        """
        seconds += self._shift
        if self._last is not None and seconds <= self._last:
            if self._last - seconds > RESTART_SECONDS:
                self._shift += self._last + self._frame_seconds - seconds
                seconds = self._last + self._frame_seconds
            else:
                seconds = self._last + MIN_STEP_SECONDS
        self._last = seconds
        return seconds

    def _decodable(self, packet: AnyPacket) -> AnyPacket:
        """Return the packet with parameter sets in front, if it is a keyframe that lacks them."""
        if not self._parameter_sets or not packet.is_keyframe or has_parameter_sets(bytes(packet)):
            return packet
        completed = Packet(self._parameter_sets + bytes(packet))
        completed.is_keyframe = True
        return completed


def has_parameter_sets(annex_b: bytes) -> bool:
    """Return whether an H264 access unit has a sequence parameter set before its first slice."""
    position = 0
    while (position := annex_b.find(b"\x00\x00\x01", position)) >= 0 and position + 3 < len(annex_b):
        kind = annex_b[position + 3] & 0x1F
        if kind == _NAL_SPS:
            return True
        if kind in _NAL_SLICES:
            return False
        position += 3
    return False


class EncodedAudioLane(Lane):
    """Hand Opus packets on, their timestamps freed of the container's rounding."""

    def __init__(self, stream: AudioStream) -> None:
        super().__init__(stream)
        self._expected: float | None = None

    def convert(self, packet: AnyPacket) -> Iterator[Item]:
        """Yield the packet."""
        if packet.size == 0:
            return
        duration = opus_packet_seconds(bytes(packet)[:2])
        seconds = self._seconds(packet.pts)
        if self._expected is not None and abs(seconds - self._expected) < SNAP_SECONDS:
            seconds = self._expected
        self._expected = seconds + duration
        yield Item(seconds, duration, sound=True, data=packet)


def opus_packet_seconds(head: bytes) -> float:
    """Return how long an Opus packet lasts, from its first two bytes (RFC 6716 section 3.1)."""
    config, count_code = head[0] >> 3, head[0] & 3
    if config < 12:  # SILK
        frame_ms = (10.0, 20.0, 40.0, 60.0)[config & 3]
    elif config < 16:  # hybrid
        frame_ms = (10.0, 20.0)[config & 1]
    else:  # CELT
        frame_ms = (2.5, 5.0, 10.0, 20.0)[config & 3]
    frames = (1, 2, 2, head[1] & 0x3F if len(head) > 1 else 1)[count_code]
    return frame_ms * frames / 1000


class VideoLane(Lane):
    """Decode pictures into yuv420p of even size, which is what the encoders take."""

    def convert(self, packet: AnyPacket) -> Iterator[Item]:
        """Yield the pictures that the packet completes; damaged ones are left out."""
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            return  # the next keyframe heals it, as in any player
        for frame in frames:
            if isinstance(frame, VideoFrame):
                seconds = self._seconds(frame.pts)
                yield Item(seconds, self._frame_seconds, sound=False, data=_encodable(frame))


def _encodable(frame: VideoFrame) -> VideoFrame:
    width, height = frame.width & ~1, frame.height & ~1
    if frame.format.name == "yuv420p" and (width, height) == (frame.width, frame.height):
        return frame
    return frame.reformat(width=width, height=height, format="yuv420p")


class AudioLane(Lane):
    """Decode sound into 48 kHz stereo frames of 20 ms."""

    def __init__(self, stream: AudioStream) -> None:
        super().__init__(stream)
        self._resampler = AudioResampler(
            format="s16", layout="stereo", rate=SAMPLE_RATE_HZ, frame_size=SAMPLES_PER_FRAME
        )
        self._next: float | None = None

    def convert(self, packet: AnyPacket) -> Iterator[Item]:
        """Yield the frames that the packet completes; damaged ones are left out."""
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            return
        for frame in frames:
            if not isinstance(frame, AudioFrame):
                continue
            if frame.pts is not None:
                seconds = float(frame.pts * (frame.time_base or self._time_base))
                if self._next is None or abs(seconds - self._next) > RESYNC_SECONDS:
                    self._next = seconds
            for resampled in self._resampler.resample(frame):
                seconds = self._next or 0.0
                duration = resampled.samples / SAMPLE_RATE_HZ
                self._next = seconds + duration
                yield Item(seconds, duration, sound=True, data=resampled)


def new_lane(stream: VideoStream | AudioStream, codec: str | None) -> Lane:
    """Return a lane that hands packets of `codec` on, or decodes where `codec` is None."""
    if isinstance(stream, VideoStream):
        if codec is not None:
            return EncodedVideoLane(stream, codec)
        stream.codec_context.thread_type = "AUTO"
        return VideoLane(stream)
    return EncodedAudioLane(stream) if codec is not None else AudioLane(stream)
