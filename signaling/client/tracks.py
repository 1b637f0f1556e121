"""What stands between a source's tracks and the peer connections that send them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack, VideoStreamTrack
from av.packet import Packet
from av.video.frame import VideoFrame

from signaling.logs import EventLog

from .container import ContainerTrack

if TYPE_CHECKING:
    from collections.abc import Callable

log = EventLog(__name__)


class SourceTrack:
    """A track of an open source. Peer connections come and go; this counts what passes, and knows whether it may.

    While it is not `wanted` it is read as ever but nothing is passed on, so that nothing is encoded. The camera
    stays open: sources keep their pace, and no queue behind a track that nobody reads can grow.
    """

    def __init__(self, track: MediaStreamTrack, on_end: Callable[[], None]) -> None:
        self.id: str = track.id
        self.kind: str = track.kind
        self.codec = track.codec if isinstance(track, ContainerTrack) else None
        """The codec that has to be negotiated, where the source is encoded already."""
        self.frames = 0
        """Frames or packets passed on."""
        self.unwanted = 0
        """Frames or packets that were dropped because nobody received them."""
        self.size: tuple[int, int] | None = track.size if isinstance(track, ContainerTrack) else None
        """Width and height in pixels."""
        self.exhausted = False
        """Whether the source has ended, rather than one publication of it."""
        self.failure: str | None = None
        """What the track raised, if it did not end in good order."""
        self.wanted = True
        """Whether somebody receives it."""
        self._track = track
        self._on_end = on_end
        self._reading = asyncio.Lock()
        self._awaits_keyframe = False

    async def read(self) -> Any:  # noqa: ANN401 - aiortc's tracks yield frames or packets
        """Return the next frame or packet that is wanted; raise `MediaStreamError` at the end.

        Of several readers, such as an old and a new connection, each item goes to one.
        """
        async with self._reading:
            while True:
                data = await self._receive()
                if self._passes(data):
                    self.frames += 1
                    return data
                self.unwanted += 1

    async def _receive(self) -> Any:  # noqa: ANN401 - as above
        if self.exhausted:
            raise MediaStreamError
        try:
            data = await self._track.recv()
        except MediaStreamError:
            self._end()
            raise
        except Exception as error:
            # A user's camera loop may raise anything; aiortc would go on as if nothing had happened.
            self.failure = f"the {self.kind} track failed: {type(error).__name__}: {error}"
            log.bug("track_failed", error, kind=self.kind)
            self._end()
            raise MediaStreamError from error
        if isinstance(data, VideoFrame):
            self.size = data.width, data.height
        return data

    def _passes(self, data: object) -> bool:
        encoded_video = self.kind == "video" and isinstance(data, Packet)
        if not self.wanted:
            self._awaits_keyframe = encoded_video  # nobody could decode what follows a gap
            return False
        if self._awaits_keyframe and isinstance(data, Packet) and not data.is_keyframe:
            return False
        self._awaits_keyframe = False
        return True

    def _end(self) -> None:
        self.exhausted = True
        self._on_end()


class BorrowedTrack(MediaStreamTrack):
    """Stand in for a source's track in one peer connection.

    Peer connections stop the tracks they send; this one ends alone, so that the track behind it can be published
    again. Nobody reads that track meanwhile, so a camera behind it rests.
    """

    def __init__(self, source: SourceTrack) -> None:
        super().__init__()
        self.kind = source.kind
        self._id = source.id
        self.source = source
        self._resting = False

    def rest(self) -> None:
        """Take nothing more from the source, so that another connection may; what is being read is still sent."""
        self._resting = True

    async def recv(self) -> Any:  # noqa: ANN401 - as above
        """Return the source's next frame or packet; raise `MediaStreamError` after `stop` or at its end."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._resting:
            await asyncio.get_running_loop().create_future()  # the connection cancels it when it closes
        try:
            return await self.source.read()
        except MediaStreamError:
            self.stop()
            raise


def skip_pause(track: MediaStreamTrack, seconds: float) -> None:
    """Tell one of aiortc's self-timed tracks that it has rested, lest it bursts out `seconds` of missed frames."""
    if isinstance(track, VideoStreamTrack | AudioStreamTrack) and hasattr(track, "_start"):
        track._start += seconds  # noqa: SLF001 - aiortc's only handle on the pace that `next_timestamp` keeps
