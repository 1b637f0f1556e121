"""What a viewer receives: a feed, its tracks and its numbers."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from .peer import close_peer_connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiortc import RTCPeerConnection

VIDEO_QUEUE_FRAMES = 10
"""Decoded pictures kept for a slow reader: a third of a second, 14 MB at 720p."""
AUDIO_QUEUE_FRAMES = 50
"""One second of sound."""
RATE_WINDOW_SECONDS = 2.0
"""Frame rate and bitrate are those of this last stretch of time."""
MAX_ARRIVALS = 256
"""Remembered for the frame rate; more than come in the window at any usual rate."""
SAMPLE_SECONDS = 0.5
"""How often the bytes received are noted."""
CLOCK_RATES_HZ = {"video": 90_000, "audio": 48_000}
"""RTP clocks in which jitter is counted; Opus and every video codec here have these."""


@dataclass(frozen=True, slots=True)
class FeedStats:
    """How a feed arrives. Rates are those of the last two seconds."""

    width: int | None
    height: int | None
    fps: float
    """Decoded pictures a second."""
    bitrate: float
    """Bits a second on the wire, sound and retransmissions included."""
    packets_received: int
    packets_lost: int
    """By RTP sequence numbers, retransmitted ones included; both figures are of all tracks together."""
    jitter: float
    """Seconds, of the picture (of the sound where there is none); RFC 3550 section 6.4.1."""
    video_frames: int
    audio_frames: int
    dropped_frames: int
    """Decoded frames that nobody read in time."""


class ReceivedTrack(MediaStreamTrack):
    """A received track, decoded. It is read all the time, and keeps only the newest frames for `recv`.

    aiortc's own remote tracks keep every frame for a reader that may never come.
    """

    def __init__(self, source: MediaStreamTrack, *, codec: str | None, label: str | None) -> None:
        super().__init__()
        self.kind = source.kind
        self._id = source.id
        self.codec = codec
        """Codec name as in SDP, where the server told it."""
        self.label = label
        self.frames = 0
        """Frames decoded so far."""
        self.dropped = 0
        """Frames that nobody read in time."""
        self.size: tuple[int, int] | None = None
        """Width and height in pixels of the newest picture."""
        self.first_arrival: float | None = None
        """Event loop time of the first frame: what puts the tracks of a feed on one time line."""
        self._source = source
        self._arrivals: deque[float] = deque(maxlen=MAX_ARRIVALS)
        self._queue: deque[VideoFrame | AudioFrame] = deque()
        self._limit = VIDEO_QUEUE_FRAMES if self.kind == "video" else AUDIO_QUEUE_FRAMES
        self._news = asyncio.Event()
        self._pump = asyncio.create_task(self._read(), name="received-track")

    async def recv(self) -> Any:  # noqa: ANN401 - a VideoFrame or an AudioFrame, by kind
        """Return the oldest frame kept; raise `MediaStreamError` at the end."""
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._news.clear()
            await self._news.wait()
        return self._queue.popleft()

    def fps(self, now: float) -> float:
        """Return the frames a second that arrived of late; `now` is event loop time."""
        recent = [arrival for arrival in self._arrivals if now - arrival <= RATE_WINDOW_SECONDS]
        if len(recent) < 2 or now - recent[-1] > RATE_WINDOW_SECONDS / 2:
            return 0.0
        return (len(recent) - 1) / (recent[-1] - recent[0])

    def stop(self) -> None:
        """End the track; frames that are there can still be read. Idempotent."""
        super().stop()
        self._pump.cancel()
        self._news.set()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                frame = await self._source.recv()
                if isinstance(frame, VideoFrame | AudioFrame):
                    self._take(frame, loop.time())
        except MediaStreamError:
            self.stop()

    def _take(self, frame: VideoFrame | AudioFrame, now: float) -> None:
        if self.first_arrival is None:
            self.first_arrival = now
        self.frames += 1
        self._arrivals.append(now)
        if isinstance(frame, VideoFrame):
            self.size = frame.width, frame.height
        if len(self._queue) >= self._limit:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(frame)
        self._news.set()


class Feed:
    """One device's publication as a viewer receives it: `tracks`, `video` and `audio`, `stats()`.

    `ended` is None while it lasts, then why it does not: one of the protocol's reasons for `stop_listening`, or what
    went wrong here.
    """

    def __init__(self, feed_id: int, device: str, described: Mapping[str, Mapping[str, Any]]) -> None:
        self.id = feed_id
        self.device = device
        self.tracks: tuple[ReceivedTrack, ...] = ()
        self.ended: str | None = None
        self._described = described
        self._peer: RTCPeerConnection | None = None
        self._bytes: deque[tuple[float, int]] = deque(maxlen=round(RATE_WINDOW_SECONDS / SAMPLE_SECONDS) + 1)
        self._sampler: asyncio.Task[None] | None = None

    @property
    def video(self) -> ReceivedTrack | None:
        """The first video track."""
        return next((track for track in self.tracks if track.kind == "video"), None)

    @property
    def audio(self) -> ReceivedTrack | None:
        """The first audio track."""
        return next((track for track in self.tracks if track.kind == "audio"), None)

    def attach(self, peer: RTCPeerConnection) -> None:
        """Take the peer connection whose tracks these will be; before its remote description is set."""
        self._peer = peer
        peer.on("track", self._add_track)
        self._sampler = asyncio.create_task(self._sample(peer), name="feed-sampler")

    def _add_track(self, track: MediaStreamTrack) -> None:
        about = self._described.get(track.id, {})
        received = ReceivedTrack(track, codec=about.get("codec"), label=about.get("label"))
        self.tracks = (*self.tracks, received)

    async def stats(self) -> FeedStats:
        """Return how the feed arrives."""
        now = asyncio.get_running_loop().time()
        received, lost, jitters = 0, 0, dict[str, float]()
        for receiver in self._peer.getReceivers() if self._peer is not None else ():
            report = await receiver.getStats()
            inbound = [each for each in report.values() if each.type == "inbound-rtp"]
            received += sum(each.packetsReceived for each in inbound)
            lost += sum(max(each.packetsLost, 0) for each in inbound)
            if inbound:  # the busiest is the media itself, the other its retransmissions
                media = max(inbound, key=lambda each: each.packetsReceived)
                jitters[media.kind] = media.jitter / CLOCK_RATES_HZ[media.kind]
        video, audio = self.video, self.audio
        width, height = (video.size if video is not None else None) or (None, None)
        return FeedStats(
            width=width,
            height=height,
            fps=video.fps(now) if video is not None else 0.0,
            bitrate=self._bitrate(now),
            packets_received=received,
            packets_lost=lost,
            jitter=jitters.get("video", jitters.get("audio", 0.0)),
            video_frames=video.frames if video is not None else 0,
            audio_frames=audio.frames if audio is not None else 0,
            dropped_frames=sum(track.dropped for track in self.tracks),
        )

    def _bitrate(self, now: float) -> float:
        if len(self._bytes) < 2 or now - self._bytes[-1][0] > RATE_WINDOW_SECONDS:
            return 0.0
        (first_time, first), (last_time, last) = self._bytes[0], self._bytes[-1]
        return (last - first) * 8 / (last_time - first_time)

    async def _sample(self, peer: RTCPeerConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            report = await peer.getStats()
            total = sum(each.bytesReceived for each in report.values() if each.type == "transport")
            self._bytes.append((loop.time(), total))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def close(self, reason: str = "closed") -> None:
        """End the tracks and the connection; what was decoded can still be read. Idempotent."""
        if self.ended is None:
            self.ended = reason
        if self._sampler is not None:
            self._sampler.cancel()
        for track in self.tracks:
            track.stop()
        if self._peer is not None:
            await close_peer_connection(self._peer)
