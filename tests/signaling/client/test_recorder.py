"""Recordings keep picture and sound where they belong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from signaling.client import ClientError
from signaling.client.pattern import TestPattern
from signaling.client.recorder import PICTURE_WAIT_SECONDS, Recorder, save_picture

from . import media

if TYPE_CHECKING:
    from pathlib import Path

PATTERN = TestPattern(640, 360)


def loud_seconds(path: Path) -> list[float]:
    """Return the times of the 20 ms stretches in which there is sound."""
    with av.open(str(path)) as container:
        frames = [(float(frame.time or 0), media.left_channel(frame)) for frame in container.decode(audio=0)]
    loudest = max(np.abs(samples).mean() for _, samples in frames)
    return [seconds for seconds, samples in frames if np.abs(samples).mean() > loudest / 4]


def test_a_hole_in_the_sound_stays_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, {"audio"})
    for index in [*range(50), *range(100, 150)]:  # nothing in the second second
        recorder.write(media.tone_frame(index), 1000.0 + index * 0.02)
    recorder.close()
    assert recorder.dropped == 0
    loud = loud_seconds(path)
    assert not [seconds for seconds in loud if 1.1 < seconds < 1.9]
    assert min(seconds for seconds in loud if seconds > 1.5) == pytest.approx(2.0, abs=0.06)
    assert max(loud) == pytest.approx(2.98, abs=0.06)


def test_the_file_begins_with_the_first_picture(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, {"audio", "video"})
    for index in range(25):  # half a second of sound before
        recorder.write(media.tone_frame(index), index * 0.02)
    for number in range(10):
        recorder.write(PATTERN.draw(number, "00:00:00.000"), 0.5 + number / 30)
    recorder.write(media.tone_frame(30), 0.6)
    recorder.close()
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
    assert first.time == pytest.approx(0.0, abs=0.05)
    assert min(loud_seconds(path)) == pytest.approx(0.1, abs=0.06)


def test_sound_alone_is_saved_when_no_picture_comes(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, {"audio", "video"})
    total = round((PICTURE_WAIT_SECONDS + 1) * 50)
    for index in range(total):
        while recorder._queue.full():  # as real time would let it keep up
            pass
        recorder.write(media.tone_frame(index), index * 0.02)
    recorder.close()
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 48_000 == pytest.approx(total * 0.02, abs=0.1)


def test_a_picture_of_another_size_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, {"video"})
    recorder.write(PATTERN.draw(0, "00:00:00.000"), 0.0)
    recorder.write(TestPattern(1280, 720).draw(1, "00:00:00.000"), 0.0)  # and of the same time
    recorder.close()
    with av.open(str(path)) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(640, 360)] * 2


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"ends in \.mkv, \.mp4, \.webm"):
        Recorder(tmp_path / "out.txt", {"video"})
    (tmp_path / "taken.mkv").mkdir()
    with pytest.raises(ClientError, match="Is a directory"):
        Recorder(tmp_path / "taken.mkv", {"video"})
    with pytest.raises(ClientError, match="No such file or directory"):
        save_picture(PATTERN.draw(0, "00:00:00.000"), tmp_path / "no" / "out.png")


def test_a_recording_that_fails_ends_and_says_so(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out.mkv", {"video"})
    recorder.write(PATTERN.draw(0, "00:00:00.000"), float("nan"))
    recorder.write(PATTERN.draw(1, "00:00:00.000"), 1.0)
    with pytest.raises(ClientError, match=r"recording to .* failed"):
        recorder.close()
    assert not recorder._thread.is_alive()
