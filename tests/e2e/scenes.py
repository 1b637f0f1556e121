"""Drawn views, a different one for each camera: pictures of a wall are judged by walls that look like one."""

from __future__ import annotations

import asyncio
import functools
import zlib
from typing import TYPE_CHECKING

import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import VideoFrame

from signaling.client.testsource import VIDEO_TIME_BASE, ToneTrack
from signaling.client.timeline import Timeline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.float32]

WIDTH, HEIGHT, RATE = 640, 360, 8
"""Small enough for nine of them on one core."""
LOOP_FRAMES = 32
"""Pictures that are drawn once and shown in turn."""

MOVING = asyncio.Event()
"""Cleared, all of them stand still, as a camera does that hangs."""
MOVING.set()

Colour = tuple[int, int, int]
PALETTES: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((244, 188, 132), (122, 92, 118), (42, 38, 58)),
    ((150, 190, 220), (96, 132, 110), (46, 72, 58)),
    ((28, 36, 66), (40, 48, 74), (14, 17, 28)),
    ((198, 208, 214), (132, 142, 150), (72, 78, 84)),
    ((92, 118, 170), (214, 158, 128), (60, 50, 66)),
    ((120, 168, 176), (60, 104, 112), (24, 48, 56)),
)
"""Sky, distance and foreground."""


def draw(name: str, phase: float) -> NDArray[np.uint8]:
    """Return a view that is `name`'s own, `phase` of the way (0 to 1) through its loop, as (height, width, 3) RGB."""
    seed = zlib.crc32(name.encode())
    sky, distance, foreground = (np.array(colour, np.float32) for colour in PALETTES[seed % len(PALETTES)])
    random = np.random.default_rng(seed)
    rows = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(sky * (1.08 - 0.45 * rows), (HEIGHT, WIDTH, 3)).astype(np.float32)
    _light(picture, (random.uniform(0.15, 0.85), random.uniform(0.12, 0.3)), sky)
    for depth in range(4):
        share = depth / 3
        colour = distance * (1 - share) + foreground * share
        _ridge(picture, random, 0.42 + 0.13 * depth, colour)
    _passer_by(picture, phase, foreground)
    picture += random.normal(0, 1.5, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _light(picture: Picture, at: tuple[float, float], sky: Picture) -> None:
    """Put the sun, or a moon, into the sky."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    distance = np.hypot(across - at[0] * WIDTH, down - at[1] * HEIGHT)[:, :, None]
    picture += (255 - sky) * (0.5 * np.exp(-distance / 90) + 0.6 * (distance < HEIGHT / 18))


def _ridge(picture: Picture, random: np.random.Generator, height: float, colour: Picture) -> None:
    """Fill what lies below a line of hills."""
    across = np.linspace(0, 2 * np.pi, WIDTH, dtype=np.float32)
    waves = [random.uniform(0.3, 1) / number * np.sin(number * across + random.uniform(0, 7)) for number in range(1, 5)]
    line = (height + 0.055 * sum(waves)) * HEIGHT
    below = np.arange(HEIGHT)[:, None] > line[None, :]
    picture[below] = colour


def _passer_by(picture: Picture, phase: float, colour: Picture) -> None:
    """Let two lights drive through the foreground: what moves shows that it is live."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    for offset in (0.0, 0.035):
        left = ((phase + offset) % 1 * 1.3 - 0.15) * WIDTH
        glow = np.exp(-np.hypot(across - left, (down - HEIGHT * 0.9) * 1.6) / 9)[:, :, None]
        picture += (np.array((255, 226, 170), np.float32) - colour) * glow


@functools.cache
def _loop(name: str) -> tuple[NDArray[np.uint8], ...]:
    return tuple(draw(name, number / LOOP_FRAMES) for number in range(LOOP_FRAMES))


class SceneTrack(MediaStreamTrack):
    """Show `name`'s view in real time."""

    kind = "video"

    def __init__(self, name: str, timeline: Timeline) -> None:
        super().__init__()
        self._views = _loop(name)
        self._timeline = timeline
        self._number = 0

    async def recv(self) -> VideoFrame:
        """Return the next frame when it is due; raise `MediaStreamError` after `stop`."""
        if self.readyState != "live":
            raise MediaStreamError
        self._number = max(self._number + 1, int(self._timeline.elapsed() * RATE))
        await self._timeline.wait_until(self._number / RATE)
        await MOVING.wait()
        frame = VideoFrame.from_ndarray(self._views[self._number % LOOP_FRAMES], format="rgb24")
        frame.pts = self._number * 90_000 // RATE
        frame.time_base = VIDEO_TIME_BASE
        return frame


def scene(name: str) -> list[MediaStreamTrack]:
    """Return the tracks of the camera `name`: its view and a tone."""
    timeline = Timeline()
    return [SceneTrack(name, timeline), ToneTrack(timeline)]
