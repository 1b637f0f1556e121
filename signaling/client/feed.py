"""What a viewer receives: a feed, its tracks and its numbers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiortc import RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from .continuity import Continuity
from .errors import ClientError, MediaError
from .peer import close_peer_connection
from .tracklist import offered_tracks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiortc import RTCPeerConnection

    from .tracklist import OfferedTrack

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

    aiortc's own remote tracks keep every frame for a reader that may never come. And this one outlives them: when
    the media connection is replaced it goes on, its timestamps too.
    """

    def __init__(self, source: MediaStreamTrack, *, id: str, codec: str | None, label: str | None) -> None:  # noqa: A002 - aiortc's word
        super().__init__()
        self.kind = source.kind
        self._id = id
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
        self._source: MediaStreamTrack | None = source
        self._arrivals: deque[float] = deque(maxlen=MAX_ARRIVALS)
        self._queue: deque[VideoFrame | AudioFrame] = deque()
        self._limit = VIDEO_QUEUE_FRAMES if self.kind == "video" else AUDIO_QUEUE_FRAMES
        self._news = asyncio.Event()
        self._continuity = Continuity()
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
        # A loop may count in milliseconds: the first two frames, decoded at once, can have come at the same time.
        seconds = recent[-1] - recent[0]
        return (len(recent) - 1) / seconds if seconds > 0 else 0.0

    def switch(self, source: MediaStreamTrack | None) -> None:
        """Go on with another source, or wait for one."""
        if source is self._source:
            return
        self._pump.cancel()
        self._source = source
        self._continuity.switch()
        if source is not None and self.readyState == "live":
            self._pump = asyncio.create_task(self._read(), name="received-track")

    def stop(self) -> None:
        """End the track; frames that are there can still be read. Idempotent."""
        super().stop()
        self._pump.cancel()
        self._news.set()

    async def _read(self) -> None:
        """Take what comes. A source that ends does so with its connection; whether the track has, the feed knows."""
        loop, source = asyncio.get_running_loop(), self._source
        with contextlib.suppress(MediaStreamError):
            while source is not None:
                frame = await source.recv()
                if isinstance(frame, VideoFrame | AudioFrame):
                    self._take(frame, loop.time())

    def _take(self, frame: VideoFrame | AudioFrame, now: float) -> None:
        if self.first_arrival is None:
            self.first_arrival = now
        if frame.pts is not None and frame.time_base:
            frame.pts = self._continuity.shifted(frame.pts, frame.time_base, now)
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

    Tracks come and go as the device adds and removes them: `changed` returns when they have. While the media
    connection is replaced, after a loss or a change of network, the tracks freeze and then go on.

    `ended` is None while it lasts, then why it does not: one of the protocol's reasons for `stop_listening`, or what
    went wrong here.
    """

    def __init__(self, feed_id: int, device: str, described: Mapping[str, Mapping[str, Any]]) -> None:
        self.id = feed_id
        self.device = device
        self.tracks: tuple[ReceivedTrack, ...] = ()
        self.ended: str | None = None
        self.paused: tuple[str, ...] = ()
        """The kinds, `audio` and `video`, that the server was asked not to send for now."""
        self._described = dict(described)
        self._change = asyncio.Event()
        self._peer: RTCPeerConnection | None = None
        self._answering = asyncio.Lock()
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

    @property
    def offered(self) -> tuple[Mapping[str, Any], ...]:
        """What the server said that the device publishes: `id`, `kind`, `codec` and `label` of each track."""
        return tuple(self._described.values())

    async def changed(self) -> None:
        """Return when `tracks`, `paused` or `ended` has changed; at once when the feed has ended."""
        if self.ended is None:
            await self._change.wait()

    def notify(self) -> None:
        """Wake those who wait in `changed`."""
        self._change.set()
        self._change = asyncio.Event()

    def describe(self, described: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what the server says that the device publishes now, by track ids."""
        self._described = dict(described)
        self.notify()

    @property
    def peer(self) -> RTCPeerConnection | None:
        """The media connection of now."""
        return self._peer

    async def attach(self, peer: RTCPeerConnection) -> None:
        """Take a new media connection, in the place of the one that was lost if there was one."""
        await self.detach()
        self._peer = peer
        self._sampler = asyncio.create_task(self._sample(peer), name="feed-sampler")

    async def detach(self) -> None:
        """Close the media connection; the tracks wait for another."""
        if self._sampler is not None:
            self._sampler.cancel()
        self._bytes.clear()
        peer, self._peer = self._peer, None
        for track in self.tracks:
            track.switch(None)
        if peer is not None:
            await close_peer_connection(peer)

    async def answer(self, sdp: str) -> str:
        """Return the answer to an offer of the server, its tracks being ours from now on; raises `MediaError`."""
        async with self._answering:
            peer = self._peer
            if peer is None or self.ended is not None:
                raise MediaError("the feed has ended")
            try:
                offered = offered_tracks(sdp)
                await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
                self._follow(peer, offered)
                await peer.setLocalDescription(await peer.createAnswer())
            except ClientError:
                raise
            except Exception as error:
                # aiortc raises several unrelated types for what it cannot receive; codecs it lacks are the usual cause.
                raise MediaError(f"the server's offer cannot be answered: {error}") from error
            return str(peer.localDescription.sdp)

    def _follow(self, peer: RTCPeerConnection, offered: list[OfferedTrack]) -> None:
        """Make `tracks` those of the offer; what is in both goes on."""
        sources = {transceiver.mid: transceiver.receiver.track for transceiver in peer.getTransceivers()}
        kept = {track.id: track for track in self.tracks}
        tracks: list[ReceivedTrack] = []
        for each in offered:
            source = sources.get(each.mid)
            if source is None:
                continue
            track = kept.pop(each.id, None)
            if track is None or track.kind != each.kind:
                about = self._described.get(each.id, {})
                track = ReceivedTrack(
                    source, id=each.id, codec=about.get("codec", each.codec), label=about.get("label")
                )
            track.switch(source)
            tracks.append(track)
        for gone in kept.values():
            gone.stop()
        self.tracks = tuple(tracks)
        self.notify()

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
        for track in self.tracks:
            track.stop()
        self.notify()
        await self.detach()
