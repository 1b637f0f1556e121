"""Device: publish tracks whenever a viewer invites."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import aiohttp
from aiortc.mediastreams import MediaStreamTrack

from signaling.logs import EventLog

from .backoff import Backoff
from .connection import Address, Connection, random_client_id
from .errors import ClientError
from .loopback import gather_loopback, is_loopback
from .publication import skip_pause
from .sources import VIDEO_CODECS, Media
from .streaming import Streaming

if TYPE_CHECKING:
    from .connection import Event
    from .streaming import Numbers

log = EventLog(__name__)

AnyMedia = Media | Iterable[MediaStreamTrack]
MediaFactory = Callable[[], AnyMedia | Awaitable[AnyMedia]]
State = Literal["connecting", "waiting", "joining", "streaming", "reconnecting"]

LEAVE_TIMEOUT_SECONDS = 0.5
"""For saying goodbye: programs are to end within two seconds."""


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What a device is doing. The numbers are those of the last second, None while nothing is sent."""

    state: State = "connecting"
    room: int | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    bitrate: float | None = None
    """Bits a second on the wire, sound included."""
    error: str | None = None
    """The last thing that went wrong, until something goes right."""


class Device:
    """Wait for invitations and publish tracks, for ever: reconnect when the server or the network was away.

    A camera loop of your own is a track whose `recv` returns the next picture:

        class Camera(VideoStreamTrack):
            def __init__(self):
                super().__init__()
                self.capture = cv2.VideoCapture(0)

            async def recv(self):
                pts, time_base = await self.next_timestamp()
                _, image = await asyncio.to_thread(self.capture.read)
                frame = VideoFrame.from_ndarray(image, format="bgr24")
                frame.pts, frame.time_base = pts, time_base
                return frame

        asyncio.run(Device("ws://127.0.0.1:8002", id="cam-1", media=lambda: [Camera()]).run())

    (`VideoStreamTrack` is aiortc's, `VideoFrame` is PyAV's, `image` a numpy array of shape (height, width, 3).)

    `media` is called for each publication and returns fresh tracks, or a `Media` of `open_source`; it may be a
    coroutine function, and may raise `SourceError`. The tracks are stopped when the publication ends, so release the
    camera in your track's `stop`. With `tracks` instead, the same tracks are used every time: they are not stopped,
    nobody reads them between publications, and they are left to you.

    `codec` (`VP8` or `H264`) is the video codec to send; by default VP8, or what the source is encoded in already.
    `on_status` is called with each new `DeviceStatus`. Raises `ValueError` for an address, id or codec that cannot be.
    """

    def __init__(
        self,
        server: str,
        *,
        id: str | None = None,  # noqa: A002 - the protocol's word
        token: str = "",
        tracks: Iterable[MediaStreamTrack] = (),
        media: MediaFactory | None = None,
        codec: str | None = None,
        on_status: Callable[[DeviceStatus], None] | None = None,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._tracks = tuple(tracks)
        if bool(self._tracks) == (media is not None):
            raise ValueError("a device needs tracks to publish: pass either tracks=[...] or media=a function")
        if codec is not None and codec not in VIDEO_CODECS:
            raise ValueError(f"codec {codec!r}: expected one of {', '.join(VIDEO_CODECS)}")
        self._address = Address(server, "DEVICE", id or random_client_id("device"), token)
        self._media = media
        self._codec = codec
        self._on_status = on_status
        self._new_backoff = backoff
        self._status = DeviceStatus()
        self._rested_since: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The client id, as viewers see it."""
        return self._address.client_id

    @property
    def status(self) -> DeviceStatus:
        """What the device is doing now."""
        return self._status

    async def run(self) -> None:
        """Serve invitations until cancelled."""
        if is_loopback(self._address.server):
            gather_loopback()
        loop = asyncio.get_running_loop()
        backoff = self._new_backoff()
        async with aiohttp.ClientSession() as http:
            while True:
                began = loop.time()
                try:
                    await self._serve(http)
                except ClientError as error:
                    delay = backoff.next(loop.time() - began)
                    log.info("device_disconnected", device=self.id, reason=error, retry_seconds=round(delay, 1))
                    self._show(DeviceStatus("reconnecting", error=str(error)))
                    await asyncio.sleep(delay)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name="device")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _serve(self, http: aiohttp.ClientSession) -> None:
        connection = await Connection.open(http, self._address)
        log.info("device_connected", device=self.id)
        self._show(DeviceStatus("waiting"))
        rooms = _Rooms(self, connection)
        try:
            while True:
                await rooms.handle(await connection.next_event())
        finally:
            await rooms.leave()
            await connection.close()

    async def open_media(self) -> Media:
        """Return the tracks for one publication; raise `SourceError`, or whatever the user's function does."""
        if self._media is None:
            if self._rested_since is not None:
                rested = asyncio.get_running_loop().time() - self._rested_since
                for track in self._tracks:
                    skip_pause(track, rested)
            return Media(self._tracks)
        opened = self._media()
        if inspect.isawaitable(opened):
            opened = await opened
        return opened if isinstance(opened, Media) else Media(tuple(opened))

    async def close_media(self, media: Media) -> None:
        """End what `open_media` returned; the user's own tracks only come to rest."""
        if self._media is None:
            self._rested_since = asyncio.get_running_loop().time()
        else:
            await media.close()

    @property
    def codec(self) -> str | None:
        """The video codec asked for."""
        return self._codec

    def show_numbers(self, room: int, numbers: Numbers) -> None:
        """Take the numbers of the last second into the status."""
        width, height = numbers.size or (None, None)
        self._show(DeviceStatus("streaming", room, width, height, numbers.fps, numbers.bitrate))

    def show_state(self, state: State, room: int | None = None, error: str | None = None) -> None:
        """Change the state; the numbers are gone with the old one."""
        self._show(DeviceStatus(state, room, error=error))

    def _show(self, status: DeviceStatus) -> None:
        if status != self._status:
            self._status = status
            if self._on_status is not None:
                self._on_status(status)


class _Rooms:
    """What one connection of a device is doing: the rooms it joined and the task that streams to them."""

    def __init__(self, device: Device, connection: Connection) -> None:
        self._device = device
        self._connection = connection
        self._joined: set[int] = set()
        self._streaming: Streaming | None = None
        self._task: asyncio.Task[None] | None = None

    async def handle(self, event: Event) -> None:
        """Do what an event asks for."""
        match event.name:
            case "start_streaming":
                await self._invited(event.integer("room_id"), event.data.get("inviter"))
            case "stop_streaming":
                log.info("device_stopped", device=self._device.id, reason=event.data.get("reason"))
                await self._end()
                self._device.show_state("waiting")
            case "connection_lost":
                if self._streaming is not None:
                    self._streaming.lose()
            case "error":
                log.warning("server_error", device=self._device.id, error=event.error())
            case _:
                pass  # events that this version does not know must not break it

    async def _invited(self, room: int, inviter: Any) -> None:  # noqa: ANN401 - is handed back as it came
        busy = self._task is not None and not self._task.done()
        if busy and room in self._joined:
            return  # invited again by somebody who cannot know that we are on our way
        if not busy:
            self._joined.clear()
        self._joined.add(room)
        join = {"room_id": room, "inviter": inviter}
        if busy:
            await self._join_another(room, join)
            return
        log.info("device_invited", device=self._device.id, room=room)
        self._device.show_state("joining", room)
        self._streaming = Streaming(self._device, self._connection, join)
        self._task = asyncio.create_task(self._streaming.run(), name="device-streaming")

    async def _join_another(self, room: int, join: dict[str, Any]) -> None:
        try:
            await self._connection.request("join_as_publisher", join, "joined_as_publisher")
        except ClientError as error:
            self._joined.discard(room)
            log.warning("join_failed", device=self._device.id, room=room, error=error)

    async def leave(self) -> None:
        """Stop streaming and say so, if the connection still stands."""
        if self._task is not None and not self._task.done():
            # While the media still flows: viewers are to hear that it left, not that it was lost.
            with contextlib.suppress(ClientError, TimeoutError):
                async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                    await self._connection.request("leave", {}, "left")
        await self._end()

    async def _end(self) -> None:
        task, self._task, self._streaming = self._task, None, None
        self._joined.clear()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                log.bug("device_streaming_failed", error, device=self._device.id)
