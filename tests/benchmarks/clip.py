"""The clip that every benchmark publishes: real VP8 and Opus, encoded once and kept in a cache folder."""

from __future__ import annotations

import fractions
import itertools
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

CACHE = Path(__file__).parent / ".cache"
"""Gitignored; delete it to encode anew."""
CACHE_VERSION = 1
"""Part of the files' names: raised when what is encoded changes."""

MAX_RTP_PAYLOAD_BYTES = 1160
"""Of VP8, so that a packet with its header, extensions, descriptor and SRTP tag stays within 1,200 bytes."""
BITRATE_TOLERANCE = 0.1
"""A clip that misses its rate by more would be another benchmark."""
AUDIO_FRAME_SECONDS = 0.02
AUDIO_CLOCK_RATE = 48_000
VIDEO_CLOCK_RATE = 90_000
AUDIO_BITRATE = 32_000
PICTURES = 30
"""Noise pictures in turn: more than the encoder looks back."""


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """What to encode."""

    width: int = 1280
    height: int = 720
    frames_per_second: int = 30
    video_bitrate: int = 1_500_000
    """Bits per second, over the whole clip."""
    group_seconds: int = 3
    """Between keyframes."""
    seconds: int = 12


FULL = ClipSettings()
"""What issue and README speak of: VP8 720p30 at 1.5 Mbit/s."""
SMALL = ClipSettings(width=320, height=180, frames_per_second=15, video_bitrate=300_000, group_seconds=1, seconds=4)
"""For the quick form: encoded in well under a second."""


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One encoded frame."""

    keyframe: bool
    chunks: tuple[bytes, ...]
    """The frame cut as libwebrtc cuts it: about equal parts."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Encoded frames of both kinds, to be played in a loop."""

    settings: ClipSettings
    video: tuple[VideoFrame, ...]
    audio: tuple[bytes, ...]

    def next_keyframe(self, index: int) -> int:
        """Return the first keyframe from `index` on, from the beginning again after the end."""
        count = len(self.video)
        return next(place % count for place in range(index, index + count) if self.video[place % count].keyframe)


def load_clip(settings: ClipSettings) -> Clip:
    """Return the clip, encoding it first where the cache does not have it."""
    CACHE.mkdir(exist_ok=True)
    name = f"v{CACHE_VERSION}-{settings.width}x{settings.height}-{settings.video_bitrate}-{settings.seconds}s"
    video, audio = CACHE / f"{name}.ivf", CACHE / f"{name}.ogg"
    if not video.exists():
        _replace(video, lambda path: _encode_video(path, settings))
    if not audio.exists():
        _replace(audio, lambda path: _encode_audio(path, settings.seconds))
    frames = tuple(VideoFrame(keyframe, cut(data)) for data, keyframe in _packets(video))
    rate = sum(len(chunk) for frame in frames for chunk in frame.chunks) * 8 / settings.seconds
    if abs(rate / settings.video_bitrate - 1) > BITRATE_TOLERANCE:
        raise ValueError(f"the clip has {rate:.0f} bit/s, meant are {settings.video_bitrate}: delete {video}")
    return Clip(settings, frames, tuple(data for data, _ in _packets(audio)))


def cut(data: bytes) -> tuple[bytes, ...]:
    """Cut an encoded frame into as few parts as fit, of about equal size, as libwebrtc's packetizer does."""
    count = -(-len(data) // MAX_RTP_PAYLOAD_BYTES)
    edges = [len(data) * number // count for number in range(count + 1)]
    return tuple(data[start:stop] for start, stop in itertools.pairwise(edges))


def noisy_pictures(width: int, height: int, count: int, *, noise: int) -> list[np.ndarray]:
    """Return luma pictures of a textured scene that pans, with fresh noise in each: an encoder has to spend its rate.

    The texture makes keyframes as large as a real room's, the pan and the noise fill the frames between.
    """
    random = np.random.default_rng(seed=1)
    span = 4 * count
    coarse = random.integers(-60, 61, (height // 8 + 1, (width + span) // 8 + 1))
    texture = np.kron(coarse, np.ones((8, 8), np.int16))[:height, : width + span]
    rows, columns = np.mgrid[0:height, 0 : width + span]
    scene = 125 + texture + 30 * np.sin(columns / 40) + 20 * np.cos(rows / 30)
    pictures = []
    for number in range(count):
        # There and back again, so that the loop has no jump.
        offset = 4 * min(number, count - number)
        grain = random.integers(-noise, noise + 1, (height, width))
        pictures.append(np.clip(scene[:, offset : offset + width] + grain, 16, 235).astype(np.uint8))
    return pictures


def _replace(path: Path, write: object) -> None:
    """Write beside the target and rename, so that a run that is broken off leaves no half file."""
    partial = path.with_name(f"partial-{path.name}")
    assert callable(write)
    write(partial)
    partial.replace(path)


def _encode_video(path: Path, settings: ClipSettings) -> None:
    rate = str(settings.video_bitrate)
    options = {
        "deadline": "realtime",
        "cpu-used": "8",
        "lag-in-frames": "0",
        "auto-alt-ref": "0",
        "minrate": rate,
        "maxrate": rate,
        "bufsize": rate,
        "max-intra-rate": "400",
        "undershoot-pct": "100",
        "overshoot-pct": "15",
    }
    pictures = noisy_pictures(settings.width, settings.height, PICTURES, noise=8)
    chroma = bytes([128])
    with av.open(str(path), "w", format="ivf") as container:
        stream = container.add_stream("libvpx", rate=settings.frames_per_second, options=options)
        stream.width, stream.height, stream.pix_fmt = settings.width, settings.height, "yuv420p"
        stream.bit_rate = settings.video_bitrate
        stream.gop_size = settings.group_seconds * settings.frames_per_second
        stream.codec_context.time_base = fractions.Fraction(1, settings.frames_per_second)
        for number in range(settings.seconds * settings.frames_per_second):
            frame = av.VideoFrame(settings.width, settings.height, "yuv420p")
            _fill(frame, pictures[number % PICTURES])
            for plane in frame.planes[1:]:
                plane.update(chroma * plane.buffer_size)
            frame.pts = number
            group = settings.group_seconds * settings.frames_per_second
            kind = av.video.frame.PictureType
            frame.pict_type = kind.I if number % group == 0 else kind.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _fill(frame: av.VideoFrame, picture: np.ndarray) -> None:
    plane = frame.planes[0]
    padded = np.zeros((plane.height, plane.line_size), np.uint8)
    padded[:, : picture.shape[1]] = picture
    plane.update(padded.tobytes())


def _encode_audio(path: Path, seconds: int) -> None:
    samples = int(AUDIO_CLOCK_RATE * AUDIO_FRAME_SECONDS)
    random = np.random.default_rng(seed=2)
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=AUDIO_CLOCK_RATE, options={"frame_duration": "20", "vbr": "off"})
        stream.bit_rate = AUDIO_BITRATE
        stream.layout = "stereo"
        for number in range(int(seconds / AUDIO_FRAME_SECONDS)):
            tone = np.sin(2 * np.pi * 440 * (np.arange(samples) + number * samples) / AUDIO_CLOCK_RATE) * 6000
            sound = (tone + random.integers(-1500, 1500, samples)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.repeat(sound, 2)[np.newaxis, :], format="s16", layout="stereo")
            frame.sample_rate = AUDIO_CLOCK_RATE
            frame.pts = number * samples
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _packets(path: Path) -> list[tuple[bytes, bool]]:
    with av.open(str(path)) as container:
        return [(bytes(packet), packet.is_keyframe) for packet in container.demux() if packet.size]
