"""Files, cameras and network streams as tracks, read by one thread with PyAV.

A stream that is already VP8, H264 or Opus is handed on packet by packet, without decoder and encoder. What aiortc's
packetizers cannot carry (B-frames, more than two channels) and every other codec is decoded.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, NamedTuple, cast

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from signaling.logs import EventLog

from .buffer import ThreadBuffer
from .errors import SourceError
from .lanes import Item, Lane, new_lane, passthrough_codec
from .location import Location, describe_failure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

    from .lanes import AnyPacket
    from .timeline import Timeline

log = EventLog(__name__)

OPEN_TIMEOUT_SECONDS = 10.0
"""For connecting to a network stream and recognising what is in it."""
READ_TIMEOUT_SECONDS = 5.0
"""Silence after which a network stream counts as lost; also bounds how long its thread can outlive `close`."""
JOIN_TIMEOUT_SECONDS = 1.0
"""How long `close` waits for the thread; one stuck in the network ends by itself with the read timeout."""
RETRY_SECONDS = 0.01
"""Pause after a device said that it has nothing yet (EAGAIN)."""
BUFFERED_SECONDS = 0.5
"""Read ahead of a file, enough to ride out a slow disk; for a camera, the age at which pictures are dropped."""
AUDIO_FRAME_SECONDS = 0.02
"""What Opus packets and our decoded frames usually last; only sizes the buffer."""
ASSUMED_FRAME_RATE = 30
"""Where a stream does not say its own; only sizes the buffer."""
MAX_BUFFERED_ITEMS = 100
"""Some 140 MB of decoded 720p would be the worst; audio frames of 20 ms come nowhere near it."""
MAX_LATE_SECONDS = 0.3
"""A decoded picture later than this is dropped: the encoder cannot keep up and sound must not wait for it."""
REAL_TIME_FORMATS = frozenset({"rtsp", "v4l2", "video4linux2", "alsa", "pulse", "x11grab", "avfoundation", "dshow"})


class _Route(NamedTuple):
    lane: Lane
    track: ContainerTrack


class ContainerTrack(MediaStreamTrack):
    """One stream of a container: `recv` returns frames, or packets if `codec` is set."""

    def __init__(self, kind: str, codec: str | None, source: ContainerSource, buffer: ThreadBuffer[Item]) -> None:
        super().__init__()
        self.kind = kind
        self.codec = codec
        """`VP8`, `H264` or `opus` when packets are handed on; the connection must negotiate just that."""
        self.size: tuple[int, int] | None = None
        """Width and height in pixels, as the container says."""
        self.late = 0
        """Decoded pictures that were dropped because they came too late."""
        self._source = source
        self._buffer = buffer

    @property
    def dropped(self) -> int:
        """Items that were lost between source and network."""
        return self.late + self._buffer.dropped

    async def recv(self) -> VideoFrame | AudioFrame | AnyPacket:
        """Return the next frame or packet when it is due; raise `MediaStreamError` at the end or after `stop`."""
        while self.readyState == "live":
            self._source.start()
            item = await self._buffer.get()
            if item is None:
                break
            if not self._source.live:
                late = await self._source.timeline.wait_until(item.seconds)
                if late > MAX_LATE_SECONDS and isinstance(item.data, VideoFrame):
                    self.late += 1
                    continue
            return item.data
        self.stop()
        raise MediaStreamError

    def stop(self) -> None:
        """End the track; the thread ends with the last track of its source. Idempotent."""
        super().stop()
        self._buffer.close()
        self._source.track_stopped()


class ContainerSource:
    """Read one container in a thread that runs from the first `recv` to the last track's end.

    `live` sources are sent as they come; others at the pace of their timestamps, on `timeline`. Opening blocks, for up
    to `OPEN_TIMEOUT_SECONDS`. Raises `SourceError`.
    """

    def __init__(
        self,
        location: Location,
        *,
        kinds: Collection[str],
        loop: bool,
        timeline: Timeline,
        passthrough: Collection[str],
    ) -> None:
        self.timeline = timeline
        self.error: SourceError | None = None
        """Why reading ended, where it was not the end of the file. Set by the thread."""
        self._location = location
        self._loop = loop
        self._stopped = threading.Event()
        self._container = _open(location)
        self.live = _is_live(self._container, location)
        if loop and self.live:
            self._container.close()
            raise SourceError(f"source {location.shown}: a live source cannot be repeated; leave out --loop")
        self._routes: dict[int, _Route] = {}
        for kind in kinds:
            streams = self._container.streams.video if kind == "video" else self._container.streams.audio
            if streams:
                stream = streams[0]
                codec = passthrough_codec(stream, passthrough)
                self._routes[stream.index] = _Route(new_lane(stream, codec), self._new_track(stream, codec))
        self.tracks = tuple(route.track for route in self._routes.values())
        self._thread: threading.Thread | None = None
        if not self.tracks:
            self._container.close()

    def _new_track(self, stream: VideoStream | AudioStream, codec: str | None) -> ContainerTrack:
        rate = 1 / AUDIO_FRAME_SECONDS
        if isinstance(stream, VideoStream):
            rate = float(stream.average_rate or ASSUMED_FRAME_RATE)
        limit = max(2, min(MAX_BUFFERED_ITEMS, round(rate * BUFFERED_SECONDS)))
        # Encoded pictures depend on each other, so none is dropped: nothing delays their sending, so there is room.
        buffer = ThreadBuffer[Item](limit, lossy=self.live and codec is None)
        track = ContainerTrack(stream.type, codec, self, buffer)
        if isinstance(stream, VideoStream):
            track.size = stream.codec_context.width, stream.codec_context.height
        return track

    def start(self) -> None:
        """Start reading if it has not been started."""
        if self._thread is None and not self._stopped.is_set():
            # A daemon, so that a stuck network read cannot keep the process from ending.
            self._thread = threading.Thread(target=self._run, name="source-reader", daemon=True)
            self._thread.start()

    def track_stopped(self) -> None:
        """Stop reading when no track is left that is live."""
        if all(track.readyState != "live" for track in self.tracks):
            self._stopped.set()

    def release(self) -> None:
        """Stop the tracks and the thread without waiting for it. Idempotent."""
        self._stopped.set()
        for track in self.tracks:
            track.stop()
        if self._thread is None:  # otherwise the thread closes it: it may be reading
            self._container.close()

    async def close(self) -> None:
        """Stop the tracks, end the thread, release the device or file. Idempotent."""
        self.release()
        if self._thread is None:
            return
        await asyncio.to_thread(self._thread.join, JOIN_TIMEOUT_SECONDS)
        if self._thread.is_alive():
            log.warning("source_reader_stuck", source=self._location.shown)

    def _run(self) -> None:
        try:
            self._read()
        except av.FFmpegError as error:
            self._fail(SourceError(f"source {self._location.shown}: reading failed: {describe_failure(error)}"))
        except SourceError as error:
            self._fail(error)
        finally:
            self._container.close()
            for route in self._routes.values():
                route.track._buffer.finish()  # noqa: SLF001 - as above

    def _fail(self, error: SourceError) -> None:
        self.error = error
        log.warning("source_failed", reason=error)

    def _read(self) -> None:
        start = self._container.start_time
        origin = None if self.live or start is None else start / av.time_base
        offset = 0.0
        while not self._stopped.is_set():
            end = 0.0
            for packet in self._packets():
                route = self._routes[packet.stream_index]
                for item in route.lane.convert(packet):
                    if origin is None:
                        origin = item.seconds
                    seconds = item.seconds - origin + offset
                    end = max(end, seconds + item.duration)
                    # Refused once that track has been stopped; the other may go on.
                    route.track._buffer.put(item.stamped(seconds))  # noqa: SLF001 - the other half of a class pair
            if not self._loop or end <= offset:
                return
            offset = end  # of the longest track, so that picture and sound begin again together
            self._rewind()

    def _rewind(self) -> None:
        """Open the file anew: not every format can be sought in, and every filter and decoder starts clean."""
        self._container.close()
        self._container = _open(self._location)
        streams = self._container.streams
        self._routes = {
            index: _Route(new_lane(cast("VideoStream | AudioStream", streams[index]), route.track.codec), route.track)
            for index, route in self._routes.items()
            if index < len(streams)
        }

    def _packets(self) -> Iterator[AnyPacket]:
        """Demux until the end of the file or until stopped."""
        streams = [self._container.streams[index] for index in self._routes]
        while not self._stopped.is_set():
            try:
                for packet in self._container.demux(streams):
                    yield packet
                    if self._stopped.is_set():
                        return
            except av.BlockingIOError:
                self._stopped.wait(RETRY_SECONDS)
                continue
            return


def _open(location: Location) -> InputContainer:
    try:
        return av.open(
            location.path,
            mode="r",
            format=location.format,
            options=dict(location.options),
            timeout=(OPEN_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"source {location.shown}: {describe_failure(error, location)}") from None


def _is_live(container: InputContainer, location: Location) -> bool:
    names = set(container.format.name.split(","))
    return bool(names & REAL_TIME_FORMATS) or (location.is_network and container.duration is None)
