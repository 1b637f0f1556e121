"""One publication of a device: its tracks, its peer connection, its numbers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiortc import RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack, VideoStreamTrack
from av.video.frame import VideoFrame

from signaling.logs import EventLog

from .container import ContainerTrack
from .errors import MediaError
from .peer import close_peer_connection, codec_capabilities, new_peer_connection, wait_connected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiortc import RTCPeerConnection

    from .connection import Connection

log = EventLog(__name__)


class BorrowedTrack(MediaStreamTrack):
    """Stand in for a track in one publication, counting what passes.

    Peer connections stop the tracks they send; this one ends alone, so that the track behind it can be published
    again. Nobody reads that track meanwhile, so a camera behind it rests.
    """

    def __init__(self, source: MediaStreamTrack) -> None:
        super().__init__()
        self.kind = source.kind
        self._id = source.id
        self.frames = 0
        """Frames or packets passed on."""
        self.size: tuple[int, int] | None = source.size if isinstance(source, ContainerTrack) else None
        """Width and height in pixels."""
        self.exhausted = False
        """Whether the source has ended, rather than this publication of it."""
        self.failure: str | None = None
        """What the track raised, if it did not end in good order."""
        self._source = source

    @property
    def codec(self) -> str | None:
        """The codec that has to be negotiated, where the source is encoded already."""
        return self._source.codec if isinstance(self._source, ContainerTrack) else None

    async def recv(self) -> Any:  # noqa: ANN401 - aiortc's tracks yield frames or packets
        """Return the source's next frame or packet; raise `MediaStreamError` after `stop` or at its end."""
        if self.readyState != "live":
            raise MediaStreamError
        try:
            data = await self._source.recv()
        except MediaStreamError:
            self.exhausted = True
            self.stop()
            raise
        except Exception as error:
            # A user's camera loop may raise anything; aiortc would go on as if nothing had happened.
            self.failure = f"the {self.kind} track failed: {type(error).__name__}: {error}"
            log.bug("track_failed", error, kind=self.kind)
            self.exhausted = True
            self.stop()
            raise MediaStreamError from error
        self.frames += 1
        if isinstance(data, VideoFrame):
            self.size = data.width, data.height
        return data


def skip_pause(track: MediaStreamTrack, seconds: float) -> None:
    """Tell one of aiortc's self-timed tracks that it has rested, lest it bursts out `seconds` of missed frames."""
    if isinstance(track, VideoStreamTrack | AudioStreamTrack) and hasattr(track, "_start"):
        track._start += seconds  # noqa: SLF001 - aiortc's only handle on the pace that `next_timestamp` keeps


class Publication:
    """Send tracks to the server over one peer connection. Single use: `start`, `wait`, `close`."""

    def __init__(self, connection: Connection, tracks: Sequence[MediaStreamTrack], codec: str | None) -> None:
        self.tracks = tuple(BorrowedTrack(track) for track in tracks)
        self.bytes_sent = 0
        self._connection = connection
        self._codec = codec
        self._peer: RTCPeerConnection = new_peer_connection(connection.welcome.data)
        self._changed = asyncio.Event()
        self._lost = False

    async def start(self) -> None:
        """Offer, take the answer, and return when media flows; raise `ClientError`."""
        for track in self.tracks:
            track.on("ended", self._changed.set)
            transceiver = self._peer.addTransceiver(track, direction="sendonly")
            codec = track.codec or (self._codec if track.kind == "video" else None)
            if codec is not None:
                transceiver.setCodecPreferences(codec_capabilities(track.kind, codec))
        await self._peer.setLocalDescription(await self._peer.createOffer())
        offer = {"type": "offer", "sdp": self._peer.localDescription.sdp}
        answer = await self._connection.request("offer_from_device", offer, "answer_to_client")
        self._peer.on("connectionstatechange", self._changed.set)
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(answer.text("sdp"), "answer"))
        except Exception as error:
            # aiortc raises several unrelated types for an answer that it cannot use.
            raise MediaError(f"the server's answer cannot be used: {error}") from error
        await wait_connected(self._peer)

    def lose(self) -> None:
        """Say that the server has given up this media connection."""
        self._lost = True
        self._changed.set()

    async def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier when something ended."""
        self._changed.clear()
        if self.ended or self.lost:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            await self._update_bytes()

    @property
    def ended(self) -> bool:
        """Whether every source has come to its end."""
        return all(track.exhausted for track in self.tracks)

    @property
    def lost(self) -> bool:
        """Whether the media connection is gone, or aiortc has given a track up (its encoder failed, say)."""
        given_up = any(track.readyState != "live" and not track.exhausted for track in self.tracks)
        return self._lost or given_up or self._peer.connectionState in {"failed", "closed"}

    @property
    def failure(self) -> str | None:
        """What a track raised, if one did."""
        return next((track.failure for track in self.tracks if track.failure), None)

    async def close(self) -> None:
        """Close the peer connection; the tracks behind it are left as they are."""
        for track in self.tracks:
            track.stop()
        await close_peer_connection(self._peer)

    async def _update_bytes(self) -> None:
        report = await self._peer.getStats()
        self.bytes_sent = sum(each.bytesSent for each in report.values() if each.type == "transport")
