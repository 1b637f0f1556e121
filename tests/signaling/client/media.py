"""Test media: files of the test picture, and how to look at what came of it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.audio.resampler import AudioResampler

from signaling.client.pattern import BARS, TestPattern
from signaling.client.testsource import _tone_frames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from av.audio.frame import AudioFrame
    from av.video.frame import VideoFrame

VIDEO_TIME_BASE = Fraction(1, 90_000)
SECONDS, RATE, WIDTH, HEIGHT = 1, 30, 640, 360

_BASELINE = {"profile": "baseline", "bf": "0", "g": "15", "preset": "ultrafast"}
_REAL_TIME = {"deadline": "realtime", "cpu-used": "8", "g": "15", "b": "1M"}

FILES: dict[str, tuple[str | None, dict[str, str], str | None]] = {
    "h264.mp4": ("libx264", _BASELINE, "aac"),
    "h264.mkv": ("libx264", _BASELINE, "libopus"),
    "h264.ts": ("libx264", _BASELINE, "aac"),
    "raw.h264": ("libx264", _BASELINE, None),
    "b_frames.mkv": ("libx264", {"bf": "2", "g": "15", "preset": "veryfast"}, "libopus"),
    "vp8.webm": ("libvpx", _REAL_TIME, "libopus"),
    "vp9.webm": ("libvpx-vp9", _REAL_TIME, "libopus"),
    "tone.wav": (None, {}, "pcm_s16le"),
}


def write(path: Path) -> None:
    """Write the file of `FILES` that has this name."""
    video_codec, options, audio_codec = FILES[path.name]
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(video_codec, rate=RATE, options=options) if video_codec else None
        if video is not None:
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio: Any = container.add_stream(audio_codec, rate=48_000, layout="stereo") if audio_codec else None
        resampler = None
        if audio is not None:
            audio.codec_context.open()
            size = audio.codec_context.frame_size or 960
            resampler = AudioResampler(format=audio.codec_context.format, layout="stereo", rate=48_000, frame_size=size)
        pattern = TestPattern(WIDTH, HEIGHT)
        for number in range(SECONDS * RATE):
            if video is not None:
                frame = pattern.draw(number, "00:00:00.000")
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                container.mux(video.encode(frame))
            if resampler is not None:
                for index in range(number * 50 // RATE, (number + 1) * 50 // RATE):
                    for chunk in resampler.resample(tone_frame(index)):
                        container.mux(audio.encode(chunk))
        for stream in (video, audio):
            if stream is not None:
                container.mux(stream.encode(None))


def tone_frame(index: int) -> AudioFrame:
    """Return 20 ms of the tone, number `index`."""
    tone, _ = _tone_frames()
    frame = av.AudioFrame(format="s16", layout="stereo", samples=960)
    frame.planes[0].update(tone[index % len(tone)])
    frame.sample_rate, frame.pts, frame.time_base = 48_000, index * 960, Fraction(1, 48_000)
    return frame


def bar_colours(frame: VideoFrame) -> list[tuple[int, int, int]]:
    """Return Y, Cb, Cr in the middle of each of the seven bars."""
    frame = frame.reformat(format="yuv420p")
    planes = [np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    colours = []
    for bar in range(len(BARS)):
        x, y = int((bar + 0.5) * frame.width / len(BARS)), frame.height // 4
        luma = planes[0][y - 4 : y + 4, x - 4 : x + 4].mean()
        chroma = [plane[y // 2 - 2 : y // 2 + 2, x // 2 - 2 : x // 2 + 2].mean() for plane in planes[1:]]
        colours.append((round(luma), round(chroma[0]), round(chroma[1])))
    return colours


def assert_colours(frame: VideoFrame, tolerance: int = 16) -> None:
    """Fail unless the seven bars have their colours, `tolerance` of 255 allowed for coding."""
    seen = bar_colours(frame)
    for bar, (got, wanted) in enumerate(zip(seen, BARS, strict=True)):
        worst = max(abs(a - b) for a, b in zip(got, wanted, strict=True))
        assert worst <= tolerance, f"bar {bar}: {got} instead of {wanted}"


def peak_hz(frames: Sequence[AudioFrame]) -> float:
    """Return the strongest frequency of the left channel."""
    samples = np.concatenate([left_channel(frame) for frame in frames]).astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * frames[0].sample_rate / len(samples))


def left_channel(frame: AudioFrame) -> np.ndarray[Any, Any]:
    """Return the samples of the left channel."""
    data = frame.to_ndarray()
    left: np.ndarray[Any, Any] = data[0] if frame.format.is_planar else data[0, :: len(frame.layout.channels)]
    return left
