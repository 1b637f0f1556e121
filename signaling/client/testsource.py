"""The generated source `testsrc`: a numbered moving picture and a tone, on one clock."""

from __future__ import annotations

import array
import functools
import math
import time
from fractions import Fraction
from typing import TYPE_CHECKING

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame

from .pattern import TestPattern

if TYPE_CHECKING:
    from .timeline import Timeline

VIDEO_TIME_BASE = Fraction(1, 90_000)
SAMPLE_RATE_HZ = 48_000
AUDIO_TIME_BASE = Fraction(1, SAMPLE_RATE_HZ)
SAMPLES_PER_FRAME = 960
"""20 ms, the packet time of Opus in WebRTC (RFC 7587 section 4.2)."""
FRAMES_PER_SECOND = SAMPLE_RATE_HZ // SAMPLES_PER_FRAME
BEEP_FRAMES = 5
"""100 ms: both tones complete whole cycles in it, so the five frames can be repeated for ever."""
TONE_HZ, BEEP_HZ = 440, 880
TONE_AMPLITUDE, BEEP_AMPLITUDE = 0.2, 0.2
"""Of full scale: clearly audible, and their sum does not clip."""
MAX_FRAME_RATE = 60
LATE_AUDIO_SECONDS = 0.5
"""Lateness after which sound is skipped rather than sent in a burst."""


def _clock_text() -> str:
    now = time.time()
    return time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"


class PatternTrack(MediaStreamTrack):
    """Show the test picture, `width` x `height` pixels, `rate` frames a second, in real time.

    A frame's number is its time times the rate: when the machine is too slow, numbers are left out (and counted in
    `skipped`) rather than the picture falling behind.
    """

    kind = "video"

    def __init__(self, width: int, height: int, rate: int, timeline: Timeline) -> None:
        super().__init__()
        if not 1 <= rate <= MAX_FRAME_RATE:
            raise ValueError(f"{rate} frames a second cannot be generated: 1 to {MAX_FRAME_RATE} can")
        self.skipped = 0
        self._pattern = TestPattern(width, height)
        self._rate = rate
        self._timeline = timeline
        self._next_number = 0

    async def recv(self) -> VideoFrame:
        """Return the next frame when it is due; raise `MediaStreamError` after `stop`."""
        if self.readyState != "live":
            raise MediaStreamError
        number = max(self._next_number, int(self._timeline.elapsed() * self._rate))
        self.skipped += number - self._next_number
        self._next_number = number + 1
        await self._timeline.wait_until(number / self._rate)
        beeping = number / self._rate % 1 < BEEP_FRAMES / FRAMES_PER_SECOND
        frame = self._pattern.draw(number, _clock_text(), bright=beeping)
        frame.pts = number * 90_000 // self._rate
        frame.time_base = VIDEO_TIME_BASE
        return frame


@functools.cache
def _tone_frames() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the samples of the frames to repeat: those with the tone only, and those with the beep on top."""

    def samples(*, beep: bool) -> tuple[bytes, ...]:
        total = SAMPLES_PER_FRAME * BEEP_FRAMES
        values = array.array("h")
        for index in range(total):
            angle = 2 * math.pi * index / SAMPLE_RATE_HZ
            value = TONE_AMPLITUDE * math.sin(TONE_HZ * angle)
            if beep:  # it swells and fades: an abrupt start would click
                value += BEEP_AMPLITUDE * math.sin(BEEP_HZ * angle) * math.sin(math.pi * index / total) ** 2
            values.extend([round(value * 32767)] * 2)
        data = values.tobytes()
        size = len(data) // BEEP_FRAMES
        return tuple(data[start : start + size] for start in range(0, len(data), size))

    return samples(beep=False), samples(beep=True)


class ToneTrack(MediaStreamTrack):
    """Play 440 Hz with a soft beep each second: 48 kHz, 16 bit, stereo, 20 ms a frame, in real time."""

    kind = "audio"

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.skipped = 0
        self._timeline = timeline
        self._next_number = 0
        self._tone, self._beep = _tone_frames()

    async def recv(self) -> AudioFrame:
        """Return the next frame when it is due; raise `MediaStreamError` after `stop`."""
        if self.readyState != "live":
            raise MediaStreamError
        due = int(self._timeline.elapsed() * FRAMES_PER_SECOND)
        if due - self._next_number > LATE_AUDIO_SECONDS * FRAMES_PER_SECOND:
            self.skipped += due - self._next_number
            self._next_number = due
        number = self._next_number
        self._next_number += 1
        await self._timeline.wait_until(number / FRAMES_PER_SECOND)
        beeping = number % FRAMES_PER_SECOND < BEEP_FRAMES
        frame = AudioFrame(format="s16", layout="stereo", samples=SAMPLES_PER_FRAME)
        frame.planes[0].update((self._beep if beeping else self._tone)[number % BEEP_FRAMES])
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = number * SAMPLES_PER_FRAME
        frame.time_base = AUDIO_TIME_BASE
        return frame
