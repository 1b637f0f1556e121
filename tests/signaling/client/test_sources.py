"""Sources: what is handed on untouched, what is decoded, in what time, and what is said when it fails."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import TYPE_CHECKING, Any

import av
import pytest
from aiortc.codecs import depayload, get_encoder
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from signaling.client import SourceError, open_source, open_source_in_thread, read_frame_counter
from signaling.client.buffer import ThreadBuffer
from signaling.client.container import ContainerTrack
from signaling.client.lanes import EncodedVideoLane, has_parameter_sets, opus_packet_seconds
from signaling.client.location import Location, TestSource, parse_source
from signaling.client.sources import check_source

from . import media
from .rtsp import rtsp_camera

if TYPE_CHECKING:
    from pathlib import Path

    from aiortc.mediastreams import MediaStreamTrack

PASSED_ON = [
    ("h264.mp4", "H264", None),
    ("h264.mkv", "H264", "opus"),
    ("h264.ts", "H264", None),
    ("raw.h264", "H264", None),
    ("vp8.webm", "VP8", "opus"),
    ("vp9.webm", None, "opus"),
    ("b_frames.mkv", None, "opus"),
    ("tone.wav", None, None),
]


async def read_all(track: MediaStreamTrack, limit: int = 1000) -> list[Any]:
    received: list[Any] = []
    try:
        while len(received) < limit:
            received.append(await track.recv())
    except MediaStreamError:
        pass
    return received


def codec_of(track: MediaStreamTrack | None) -> str | None:
    assert track is None or isinstance(track, ContainerTrack)
    return track.codec if track is not None else None


def demuxed(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


@pytest.mark.parametrize(("name", "video", "audio"), PASSED_ON)
async def test_what_is_passed_on_and_what_is_decoded(
    files: Path, name: str, video: str | None, audio: str | None
) -> None:
    source = open_source(str(files / name))
    assert codec_of(source.video) == video
    assert codec_of(source.audio) == audio
    assert not source.live
    for track in source.tracks:
        first = await track.recv()
        assert isinstance(first, av.Packet) == (codec_of(track) is not None)
    await source.close()


@pytest.mark.parametrize(("name", "kind"), [("vp8.webm", "video"), ("vp8.webm", "audio"), ("h264.ts", "video")])
async def test_packets_are_passed_on_byte_for_byte(files: Path, name: str, kind: str) -> None:
    source = open_source(str(files / name), audio="none" if kind == "video" else None)
    track = source.video if kind == "video" else source.audio
    assert track is not None
    for other in source.tracks:
        if other is not track:
            other.stop()
    sent = [bytes(packet) for packet in await read_all(track)]
    assert len(sent) >= media.SECONDS * media.RATE
    assert sent == demuxed(files / name, kind)
    await source.close()


async def test_h264_of_mp4_is_passed_on_with_start_codes_and_parameter_sets(files: Path) -> None:
    source = open_source(str(files / "h264.mp4"), audio="none")
    assert source.video is not None
    packets = await read_all(source.video)
    nals = [nal_units(bytes(packet)) for packet in packets]
    original = [length_prefixed(data) for data in demuxed(files / "h264.mp4", "video")]
    assert [own for unit in nals for own in unit if own[0] & 31 not in {7, 8}] == [
        nal for unit in original for nal in unit if nal[0] & 31 not in {7, 8}
    ]
    for packet, unit in zip(packets, nals, strict=True):
        types = {nal[0] & 31 for nal in unit}
        assert ({7, 8, 5} <= types) == packet.is_keyframe
    await source.close()


def nal_units(annex_b: bytes) -> list[bytes]:
    return [part.rstrip(b"\0") for part in annex_b.split(b"\0\0\1") if part.rstrip(b"\0")]


def length_prefixed(data: bytes) -> list[bytes]:
    units, position = [], 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        units.append(data[position + 4 : position + 4 + size].rstrip(b"\0"))
        position += 4 + size
    return units


@pytest.mark.parametrize(("name", "codec"), [("vp8.webm", "VP8"), ("h264.mkv", "H264")])
async def test_aiortc_packs_what_is_passed_on_so_that_it_decodes(files: Path, name: str, codec: str) -> None:
    source = open_source(str(files / name), audio="none")
    assert source.video is not None
    parameters = RTCRtpCodecParameters(mimeType=f"video/{codec}", clockRate=90_000, payloadType=100)
    packer = get_encoder(parameters)
    decoder = av.CodecContext.create(codec.lower(), "r")
    counters = []
    for packet in await read_all(source.video, limit=20):
        payloads, _ = packer.pack(packet)
        data = b"".join(depayload(parameters, payload) for payload in payloads)
        counters += [read_frame_counter(frame) for frame in decoder.decode(av.Packet(data))]  # type: ignore[attr-defined]  # a video decoder
    assert counters == list(range(len(counters)))
    assert len(counters) >= 18
    await source.close()


@pytest.mark.parametrize("name", ["h264.mp4", "vp8.webm", "b_frames.mkv", "raw.h264", "tone.wav"])
async def test_loops_go_on_in_time(files: Path, name: str) -> None:
    source = open_source(str(files / name), loop=True)
    loop = asyncio.get_running_loop()
    began = loop.time()
    received = await asyncio.gather(*(read_all(track, limit=_items(track) * 5 // 4) for track in source.tracks))
    took = loop.time() - began
    for track, items in zip(source.tracks, received, strict=True):
        times = [float(item.pts * item.time_base) for item in items]
        steps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert min(steps) > 0, f"{track.kind} jumped back"
        assert max(steps) < 0.12, f"{track.kind} has a hole"
        assert took == pytest.approx(times[-1] - times[0], abs=0.5), "it did not run in real time"
    await source.close()


def _items(track: MediaStreamTrack) -> int:
    """Return how many items a track of these files has."""
    return media.SECONDS * (media.RATE if track.kind == "video" else 50)


async def test_picture_and_sound_of_a_file_are_in_step(files: Path) -> None:
    source = open_source(str(files / "b_frames.mkv"), codec="VP8")
    assert source.video is not None
    assert source.audio is not None
    loop = asyncio.get_running_loop()

    async def lateness(track: MediaStreamTrack) -> float:
        """Return the mean of arrival time minus media time."""
        total = 0.0
        for _ in range(30):
            item: Any = await track.recv()
            total += loop.time() - float(item.pts * item.time_base)
        return total / 30

    video, audio = await asyncio.gather(lateness(source.video), lateness(source.audio))
    assert abs(video - audio) < 0.1
    await source.close()


async def test_decoded_pictures_are_right(files: Path) -> None:
    source = open_source(str(files / "vp9.webm"), audio="none")
    assert source.video is not None
    frames = await read_all(source.video)
    assert [read_frame_counter(frame) for frame in frames] == list(range(media.SECONDS * media.RATE))
    media.assert_colours(frames[-1])
    await source.close()


async def test_decoded_sound_is_right(files: Path) -> None:
    source = open_source(str(files / "h264.mp4"))
    assert source.audio is not None
    assert source.video is not None
    source.video.stop()
    frames = await read_all(source.audio, limit=40)
    assert {(frame.sample_rate, frame.samples, frame.layout.name) for frame in frames} == {(48_000, 960, "stereo")}
    assert media.peak_hz(frames[5:]) == pytest.approx(440, abs=3)
    await source.close()


async def test_audio_can_come_from_elsewhere(files: Path) -> None:
    source = open_source(str(files / "raw.h264"), audio=str(files / "tone.wav"))
    assert [track.kind for track in source.tracks] == ["video", "audio"]
    assert source.audio is not None
    assert media.peak_hz(await read_all(source.audio, limit=20)) == pytest.approx(440, abs=3)
    await source.close()
    silent = open_source("testsrc", audio="none")
    assert [track.kind for track in silent.tracks] == ["video"]
    await silent.close()


async def test_asking_for_another_codec_decodes(files: Path) -> None:
    source = open_source(str(files / "vp8.webm"), codec="H264")
    assert codec_of(source.video) is None
    assert codec_of(source.audio) == "opus"
    await source.close()


async def test_closing_ends_the_thread_whatever_it_waits_for(files: Path) -> None:
    before = threading.active_count()
    source = await open_source_in_thread(str(files / "vp8.webm"), loop=True)
    reading = asyncio.create_task(source.tracks[0].recv())
    await reading
    assert any(thread.name == "source-reader" for thread in threading.enumerate())
    await source.close()  # the thread is waiting for room: nobody reads the sound
    assert not any(thread.name == "source-reader" for thread in threading.enumerate())
    with pytest.raises(MediaStreamError):
        await source.tracks[0].recv()
    assert threading.active_count() <= before + 2  # asyncio's own executor


@pytest.mark.parametrize(
    ("spec", "audio", "says"),
    [
        ("missing.mp4", None, r"'missing\.mp4': no such file"),
        ("{files}", None, "directory"),
        ("{here}", None, "not a media file or stream"),
        ("/dev/video99", None, r"'/dev/video99': no such device; cameras on this machine: "),
        ("rtsp://user:secret@127.0.0.1:1/live?key=secret", None, r"'rtsp://127\.0\.0\.1:1/live': Connection refused"),
        ("http://127.0.0.1:1/live", None, "Connection refused"),
        ("testsrc=100x100", None, "384x216"),
        ("testsrc=@0", None, "frames a second"),
        ("testsrc", "missing.wav", "'missing.wav': no such file"),
        ("testsrc", "{files}/raw.h264", "no audio in it"),
        ("{files}/tone.wav", "none", "no video in it"),
    ],
)
async def test_failures_name_the_source_and_no_secret(files: Path, spec: str, audio: str | None, says: str) -> None:
    spec = spec.format(files=files, here=__file__)
    with pytest.raises(SourceError, match=says) as caught:
        await open_source_in_thread(spec, audio=audio.format(files=files) if audio else None)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_checking_touches_neither_cameras_nor_the_network(files: Path) -> None:
    for fine in ("testsrc", "/dev/video99", "rtsp://127.0.0.1:1/x", str(files / "vp8.webm")):
        check_source(fine)
        check_source("testsrc", audio=fine if fine != "/dev/video99" else "none")
    with pytest.raises(SourceError, match="no such file"):
        check_source(str(files / "missing"))


def test_sources_as_people_write_them() -> None:
    assert parse_source("testsrc") == TestSource(1280, 720, 30)
    assert parse_source("testsrc=640x360") == TestSource(640, 360, 30)
    assert parse_source("testsrc=640x360@15") == TestSource(640, 360, 15)
    assert parse_source("testsrc=@15") == TestSource(1280, 720, 15)
    assert parse_source("testsrc.mp4") == Location("testsrc.mp4", "'testsrc.mp4'")
    camera = parse_source("/dev/video2=640x480@15")
    assert isinstance(camera, Location)
    assert (camera.path, camera.format, dict(camera.options)) == (
        "/dev/video2",
        "v4l2",
        {"video_size": "640x480", "framerate": "15"},
    )
    stream = parse_source("rtsp://u:p@cam.local/x")
    assert isinstance(stream, Location)
    assert (stream.shown, stream.is_network) == ("'rtsp://cam.local/x'", True)


@pytest.mark.parametrize(
    ("head", "milliseconds"),
    [
        (bytes([0 << 3]), 10),
        (bytes([3 << 3]), 60),
        (bytes([13 << 3]), 20),
        (bytes([16 << 3]), 2.5),
        (bytes([31 << 3]), 20),
        (bytes([31 << 3 | 1]), 40),
        (bytes([31 << 3 | 3, 3]), 60),
    ],
)
def test_opus_packets_tell_their_length(head: bytes, milliseconds: float) -> None:
    assert opus_packet_seconds(head) == pytest.approx(milliseconds / 1000)


async def test_a_lossy_buffer_keeps_the_newest_and_counts() -> None:
    buffer = ThreadBuffer[int](3, lossy=True)
    for number in range(10):
        assert buffer.put(number)
    buffer.finish()
    assert [await buffer.get() for _ in range(4)] == [7, 8, 9, None]
    assert buffer.dropped == 7
    assert not buffer.put(11)


async def test_a_patient_buffer_hands_everything_over_in_order() -> None:
    buffer = ThreadBuffer[int](3, lossy=False)

    def fill() -> None:
        for number in range(500):
            buffer.put(number)
        buffer.finish()

    thread = threading.Thread(target=fill)
    thread.start()
    received = []
    while (item := await buffer.get()) is not None:
        received.append(item)
    thread.join()
    assert received == list(range(500))
    assert buffer.dropped == 0


async def test_a_live_stream_comes_as_it_is_in_steady_time(files: Path) -> None:
    async with rtsp_camera(files / "raw.h264") as camera:
        source = await open_source_in_thread(camera.url)
        assert source.live
        assert codec_of(source.video) == "H264"
        assert source.video is not None
        packets = await read_all(source.video, limit=40)
        times = [packet.pts for packet in packets]
        assert times == sorted(set(times))
        for packet in packets:
            assert has_parameter_sets(bytes(packet)) == packet.is_keyframe
        await source.close()
        with pytest.raises(SourceError, match="cannot be repeated"):
            await open_source_in_thread(camera.url, loop=True)


def test_a_clock_that_restarts_or_stands_still_goes_on(files: Path) -> None:
    with av.open(str(files / "raw.h264")) as container:
        lane = EncodedVideoLane(container.streams.video[0], "H264")
    times = [lane._steady(seconds) for seconds in (0.0, 0.0, 0.033, 0.067, 50.0, 50.033, 3.0, 3.033, 3.033)]
    assert times == sorted(set(times))
    assert times[4] == 50.0
    assert times[7] - times[6] == pytest.approx(0.033)
