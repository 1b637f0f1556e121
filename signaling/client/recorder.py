"""Write received pictures and sound to a file, on one time line."""

from __future__ import annotations

import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame

from signaling.logs import EventLog

from .errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Collection

    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.stream import VideoStream

log = EventLog(__name__)

QUEUE_FRAMES = 150
"""Frames that may wait for the encoder, some two seconds; then pictures are dropped and counted."""
SAMPLE_RATE_HZ = 48_000
DEFAULT_FRAME_SAMPLES = 960
"""For an encoder that takes any number."""
VIDEO_TIME_BASE = Fraction(1, 90_000)
AUDIO_TIME_BASE = Fraction(1, SAMPLE_RATE_HZ)
GAP_SECONDS = 0.03
"""A longer hole in the sound is filled with silence, so that what follows stays where it belongs."""
MAX_SILENCE_SECONDS = 60.0
"""Of one hole; more would be memory and disk for nothing."""
PICTURE_WAIT_SECONDS = 5.0
"""How much sound may come before the first picture until the file is begun without pictures."""
NOMINAL_FRAME_RATE = 30
"""Told to the encoder for its rate control; the timestamps are the real ones."""

# File suffix: video codec and its options, audio codec.
FORMATS: dict[str, tuple[str, dict[str, str], str]] = {
    ".mkv": ("libx264", {"preset": "ultrafast", "crf": "20"}, "libopus"),
    ".mp4": ("libx264", {"preset": "ultrafast", "crf": "20"}, "aac"),
    ".webm": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "4M"}, "libopus"),
}


class _Timed(NamedTuple):
    seconds: float
    frame: VideoFrame | AudioFrame


class Recorder:
    """Encode frames into `path` in a thread: H264 and Opus in .mkv, H264 and AAC in .mp4, VP8 and Opus in .webm.

    `kinds` are the tracks to expect, `video` and `audio`. The file begins with the first picture. Raises `ClientError`
    for a name with another suffix and for a file that cannot be written.
    """

    def __init__(self, path: str | Path, kinds: Collection[str]) -> None:
        self.path = Path(path)
        self.dropped = 0
        """Pictures and sound lost because the encoder could not keep up."""
        self.error: str | None = None
        """Why recording stopped early; set by the thread."""
        check_recording_path(self.path)
        try:
            self.path.open("wb").close()  # PyAV would find out with the first packet, in the thread
            self._container: OutputContainer = av.open(str(self.path), mode="w")
        except (av.FFmpegError, OSError) as error:
            raise ClientError(f"cannot write {str(self.path)!r}: {error.strerror or type(error).__name__}") from None
        self._wants_video = "video" in kinds
        self._wants_audio = "audio" in kinds
        self._queue: queue.Queue[_Timed | None] = queue.Queue(QUEUE_FRAMES)
        # Owned by the thread from here on.
        self._video: VideoStream | None = None
        self._audio: AudioStream | None = None
        self._resampler: AudioResampler | None = None
        self._origin: float | None = None
        self._early: list[_Timed] = []
        self._samples = 0
        self._last_pts = -1
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def write(self, frame: VideoFrame | AudioFrame, seconds: float) -> None:
        """Append a frame that belongs to time `seconds`, of any clock common to both kinds. Never blocks."""
        try:
            self._queue.put_nowait(_Timed(seconds, frame))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Encode what is waiting and finish the file. Blocks; idempotent. Raises `ClientError` if it failed."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self.error is not None:
            raise ClientError(f"recording to {str(self.path)!r} failed: {self.error}")

    def _run(self) -> None:
        try:
            self._encode_all()
        except Exception as error:  # noqa: BLE001 - whatever it is, `close` reports it and must not wait for ever
            self.error = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            log.warning("recording_failed", reason=self.error)
            while self._queue.get() is not None:  # so that `close` does not wait for room
                self.dropped += 1
        finally:
            self._container.close()

    def _encode_all(self) -> None:
        while (timed := self._queue.get()) is not None:
            if self._origin is not None:
                self._encode(timed)
            elif isinstance(timed.frame, VideoFrame) or not self._wants_video:
                self._begin(timed)
            else:
                self._early.append(timed)
                if timed.seconds - self._early[0].seconds > PICTURE_WAIT_SECONDS:
                    self._wants_video = False
                    self._begin(self._early.pop(0))
        for stream in (self._video, self._audio):
            if stream is not None:
                self._container.mux(stream.encode(None))

    def _begin(self, first: _Timed) -> None:
        """Make the streams, now that it is known what they are like, and begin the file with `first`."""
        self._origin = first.seconds
        video_codec, options, audio_codec = FORMATS[self.path.suffix.lower()]
        if isinstance(first.frame, VideoFrame):
            self._video = self._add_video(video_codec, options, first.frame)
        if self._wants_audio:
            self._audio = self._add_audio(audio_codec)
        early, self._early = self._early, []
        for timed in (first, *early):
            self._encode(timed)

    def _add_video(self, codec: str, options: dict[str, str], frame: VideoFrame) -> VideoStream:
        stream = cast("VideoStream", self._container.add_stream(codec, rate=NOMINAL_FRAME_RATE, options=options))
        stream.width, stream.height = frame.width & ~1, frame.height & ~1
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = VIDEO_TIME_BASE
        return stream

    def _add_audio(self, codec: str) -> AudioStream:
        stream = cast("AudioStream", self._container.add_stream(codec, rate=SAMPLE_RATE_HZ, layout="stereo"))
        stream.codec_context.open()
        self._resampler = AudioResampler(
            format=stream.codec_context.format,
            layout="stereo",
            rate=SAMPLE_RATE_HZ,
            frame_size=stream.codec_context.frame_size or DEFAULT_FRAME_SAMPLES,
        )
        return stream

    def _encode(self, timed: _Timed) -> None:
        seconds = timed.seconds - (self._origin or 0.0)
        if seconds < 0:
            return
        if isinstance(timed.frame, VideoFrame):
            self._encode_picture(timed.frame, seconds)
        elif self._audio is not None:
            self._encode_sound(timed.frame, seconds)

    def _encode_picture(self, frame: VideoFrame, seconds: float) -> None:
        if self._video is None:
            return
        picture = frame.reformat(width=self._video.width, height=self._video.height, format="yuv420p")
        # Two pictures of one time cannot be told apart in a file.
        self._last_pts = max(round(seconds / VIDEO_TIME_BASE), self._last_pts + 1)
        picture.pts, picture.time_base = self._last_pts, VIDEO_TIME_BASE
        picture.pict_type = av.video.frame.PictureType.NONE
        self._container.mux(self._video.encode(picture))

    def _encode_sound(self, frame: AudioFrame, seconds: float) -> None:
        gap = seconds - self._samples / SAMPLE_RATE_HZ
        if gap > GAP_SECONDS:
            self._encode_samples(_silence(min(gap, MAX_SILENCE_SECONDS)))
        self._encode_samples(frame)

    def _encode_samples(self, frame: AudioFrame) -> None:
        if self._audio is None or self._resampler is None:
            return
        frame.pts = None  # the count of samples is the time here, and the resampler is not to object
        for chunk in self._resampler.resample(frame):
            chunk.pts, chunk.time_base = self._samples, AUDIO_TIME_BASE
            self._samples += chunk.samples
            self._container.mux(self._audio.encode(chunk))


def _silence(seconds: float) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="stereo", samples=round(seconds * SAMPLE_RATE_HZ))
    frame.sample_rate = SAMPLE_RATE_HZ
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def check_recording_path(path: Path) -> None:
    """Raise `ClientError` when no file of that name can be recorded."""
    if path.suffix.lower() not in FORMATS:
        raise ClientError(f"cannot record to {str(path)!r}: expected a name that ends in {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise ClientError(f"cannot record to {str(path)!r}: there is no directory {str(path.parent)!r}")


def save_picture(frame: VideoFrame, path: Path) -> None:
    """Write a picture as PNG. Raises `ClientError` when it cannot be written."""
    picture = frame.reformat(format="rgb24")
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height = picture.width, picture.height
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1, 1)
    picture.pts, picture.time_base = 0, Fraction(1, 1)
    try:
        path.write_bytes(b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None))))
    except (av.FFmpegError, OSError) as error:
        raise ClientError(f"cannot write {str(path)!r}: {error.strerror or type(error).__name__}") from None
