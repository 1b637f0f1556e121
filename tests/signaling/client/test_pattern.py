"""The test picture is drawn right, and can be read after real coding."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import pytest
from aiortc.codecs import depayload, get_decoder, get_encoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from hypothesis import given, settings
from hypothesis import strategies as st

from signaling.client.pattern import COUNTER_MODULO, MIN_HEIGHT, MIN_WIDTH, TestPattern, read_frame_counter
from signaling.client.testsource import PatternTrack, ToneTrack
from signaling.client.timeline import Timeline

from . import media

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.video.frame import VideoFrame

SIZES = [(1280, 720), (640, 360), (MIN_WIDTH, MIN_HEIGHT), (1920, 1080), (390, 844)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("counter", [0, 1, 0x15555, 0x2AAAA, COUNTER_MODULO - 1])
def test_counter_is_read_back(width: int, height: int, counter: int) -> None:
    frame = TestPattern(width, height).draw(counter, "23:59:59.999")
    assert read_frame_counter(frame) == counter
    assert read_frame_counter(frame.reformat(format="rgb24")) == counter
    media.assert_colours(frame, tolerance=0)


def test_counter_is_read_from_a_scaled_picture() -> None:
    frame = TestPattern(1280, 720).draw(4711, "00:00:00.000")
    assert read_frame_counter(frame.reformat(width=640, height=360)) == 4711


@given(counter=st.integers(0, 2**40))
@settings(max_examples=50, deadline=None)
def test_counter_wraps(counter: int) -> None:
    frame = TestPattern(MIN_WIDTH, MIN_HEIGHT).draw(counter, "00:00:00.000")
    assert read_frame_counter(frame) == counter % COUNTER_MODULO


@pytest.mark.parametrize("luma", [0, 16, 128, 235, 255])
def test_a_plain_picture_has_no_counter(luma: int) -> None:
    frame = av.VideoFrame(640, 360, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([luma]) * plane.buffer_size)
    assert read_frame_counter(frame) is None


def test_a_damaged_strip_is_not_believed() -> None:
    frame = TestPattern(640, 360).draw(1234, "00:00:00.000")
    luma, stride = memoryview(frame.planes[0]), frame.planes[0].line_size
    for row in range(330, 360):  # turn the fifth block over
        for column in range(107, 133):
            luma[row * stride + column] = 251 - luma[row * stride + column]
    assert read_frame_counter(frame) is None


@pytest.mark.parametrize(("width", "height"), [(382, 720), (1280, 200), (1281, 720), (8000, 4000)])
def test_impossible_sizes_are_refused(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"{width}x{height}"):
        TestPattern(width, height)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 360)])
def test_counter_and_colours_survive_coding(codec: str, width: int, height: int) -> None:
    pattern = TestPattern(width, height)
    sent = [pattern.draw(1000 + number, "12:34:56.789", bright=number < 3) for number in range(12)]
    received = through_codec(codec, sent)
    assert [read_frame_counter(frame) for frame in received] == list(range(1000, 1000 + len(received)))
    assert len(received) >= 10
    media.assert_colours(received[-1])


def through_codec(codec: str, frames: list[VideoFrame]) -> list[VideoFrame]:
    """Encode with aiortc's encoder as a device does, packetize, and decode as a viewer does."""
    parameters = RTCRtpCodecParameters(mimeType=f"video/{codec}", clockRate=90_000, payloadType=100)
    encoder, decoder = get_encoder(parameters), get_decoder(parameters)
    received: list[Any] = []
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = number * 3000, Fraction(1, 90_000)
        payloads, timestamp = encoder.encode(frame, force_keyframe=False)
        data = b"".join(depayload(parameters, payload) for payload in payloads)
        received += decoder.decode(JitterFrame(data, timestamp))
    return received


async def test_track_keeps_real_time_and_leaves_numbers_out_when_late() -> None:
    timeline = Timeline()
    track = PatternTrack(640, 360, 50, timeline)
    frames = [await track.recv() for _ in range(3)]
    assert [read_frame_counter(frame) for frame in frames] == [0, 1, 2]
    assert [frame.pts for frame in frames] == [0, 1800, 3600]
    await timeline.wait_until(0.5)  # a machine that was busy elsewhere
    late = read_frame_counter(await track.recv())
    assert late is not None
    assert late >= 25
    assert track.skipped == late - 3


async def test_tone_is_440_hz_with_a_beep_each_second() -> None:
    track = ToneTrack(Timeline())
    frames: list[AudioFrame] = [await track.recv() for _ in range(60)]
    assert [frame.pts for frame in frames] == [number * 960 for number in range(60)]
    assert media.peak_hz(frames[5:50]) == pytest.approx(440, abs=2)
    loudness = [float(abs(media.left_channel(frame)).max()) for frame in frames]
    assert loudness[2] > 1.5 * loudness[20]
    assert loudness[52] == loudness[2]
    assert max(loudness) < 32767 * 0.5
