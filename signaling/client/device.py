"""Device: publish tracks whenever a viewer invites."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import aiohttp
from aiortc.mediastreams import MediaStreamTrack

from signaling.logs import EventLog

from .backoff import Backoff
from .connection import INTERRUPTED, MOVED, Connection
from .dial import Address, random_client_id
from .errors import ClientError, ReplacedError, ServerEndsError
from .loopback import gather_loopback, is_loopback
from .slot import SourceSlot
from .sources import VIDEO_CODECS, Media
from .streaming import Streaming
from .tracks import skip_pause

if TYPE_CHECKING:
    from .dial import Dialed, Token
    from .event import Event
    from .streaming import Numbers

log = EventLog(__name__)

AnyMedia = Media | Iterable[MediaStreamTrack]
MediaFactory = Callable[[], AnyMedia | Awaitable[AnyMedia]]
State = Literal["connecting", "waiting", "joining", "streaming", "reconnecting"]

LEAVE_TIMEOUT_SECONDS = 0.5
"""For saying goodbye: programs are to end within two seconds."""
MAX_SOURCES = 8
"""A picture and a sound each are the sixteen tracks that a server takes by default."""
MAIN_SOURCE = "main"
"""The name of the source that a device is made with."""


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
    wanted: bool = True
    """Whether anybody receives anything; otherwise nothing is encoded, though the camera stays open."""
    error: str | None = None
    """The last thing that went wrong, until something goes right. While streaming: why there is no signalling
    now, or why one of several sources is not sent."""


class Device:
    """Wait for invitations and publish tracks, for ever: reconnect when the server or the network was away.

    Media and signalling are independent. When the socket breaks, pictures run on while it is opened again; when the
    media connection dies or this machine gets another address, a new one takes its place and viewers see a freeze.
    After the server was started anew, or was out of reach for too long, the device goes back to the rooms that are
    still there and waits to be invited to others. What no viewer receives, by the server's word, is not encoded.

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

    `add_source` and `remove_source` add and take away further cameras or microphones at any time, also while viewers
    watch: each source is opened, retried after a failure and closed by itself.

    `token` goes into a header, never into the URL unless `token_in_url` says so for the sake of an old server; it
    may be a function that returns a fresh one. `codec` (`VP8` or `H264`) is the video codec to send; by default VP8,
    or what the source is encoded in already.
    `tls_fingerprint` is the SHA-256 of the only certificate to accept, for servers with a self-signed one.
    `on_status` is called with each new `DeviceStatus`. Raises `ValueError` for an address, id or codec that cannot be.
    """

    def __init__(
        self,
        server: str,
        *,
        id: str | None = None,  # noqa: A002 - the protocol's word
        token: Token = "",
        token_in_url: bool = False,
        tls_fingerprint: str = "",
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
        self._address = Address(
            server, "DEVICE", id or random_client_id("device"), token, token_in_url, tls_fingerprint
        )
        self._sources: dict[str, MediaFactory] = {MAIN_SOURCE: media or self._rested_tracks}
        self._codec = codec
        self._on_status = on_status
        self._new_backoff = backoff
        self._status = DeviceStatus()
        self._rested_since: float | None = None
        self._interruption: str | None = None
        self._rooms: _Rooms | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The client id, as viewers see it."""
        return self._address.client_id

    @property
    def status(self) -> DeviceStatus:
        """What the device is doing now."""
        return self._status

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources; that of the constructor's `media` or `tracks` is `main`."""
        return tuple(self._sources)

    def add_source(self, name: str, media: MediaFactory) -> None:
        """Publish one source more, at once if the device is streaming; `media` is as in the constructor.

        Raises `ValueError` for a name that is taken, or one source too many.
        """
        if name in self._sources:
            raise ValueError(f"source {name!r}: there is one of this name already")
        if len(self._sources) >= MAX_SOURCES:
            raise ValueError(f"source {name!r}: a device has at most {MAX_SOURCES} sources")
        self._sources[name] = media
        self._notice()

    def remove_source(self, name: str) -> None:
        """Publish a source no longer, and close it. Raises `ValueError` when there is none of this name."""
        if name not in self._sources:
            raise ValueError(f"source {name!r}: expected one of {', '.join(self._sources) or 'none'}")
        del self._sources[name]
        self._notice()

    def network_changed(self) -> None:
        """Take a new path for the media: call it when you know that this machine's network is another one now.

        Otherwise it is noticed by itself: at once when signalling comes back from another address, or else within
        some ten seconds. The feed goes on.
        """
        if self._rooms is not None:
            self._rooms.move("the network has changed")

    async def run(self) -> None:
        """Serve invitations until cancelled; raise `ReplacedError` when another device has taken over this id."""
        if is_loopback(self._address.server):
            gather_loopback()
        loop = asyncio.get_running_loop()
        backoff = self._new_backoff()
        last: _Last | None = None
        async with aiohttp.ClientSession() as http:
            while True:
                began = loop.time()
                try:
                    last = await self._serve(http, last)
                    error: ClientError = last.error
                except ClientError as failure:
                    error = failure
                if isinstance(error, ReplacedError):
                    self._show(DeviceStatus("reconnecting", error=str(error)))
                    raise error
                if last is not None and last.successor is not None:
                    continue  # the server is there and waits
                if isinstance(error, ServerEndsError):
                    backoff.expect_restart()
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
            with contextlib.suppress(asyncio.CancelledError, ReplacedError):
                await self._task
            self._task = None

    async def _serve(self, http: aiohttp.ClientSession, last: _Last | None) -> _Last:
        """Serve one session until the server gives it up; return what is left of it."""
        successor = last.take_successor() if last is not None else None
        connection = await Connection.open(http, self._address, successor)
        log.info("device_connected", device=self.id)
        self._interruption = None
        self._show(DeviceStatus("waiting"))
        rooms = self._rooms = _Rooms(self, connection)
        try:
            if last is not None:
                rooms.go_back(last.joins)
            while True:
                await rooms.handle(await connection.next_event())
        except ClientError as error:
            return _Last(error, connection.take_successor(), rooms.joins)
        finally:
            self._rooms = None
            await rooms.leave()
            await connection.close()

    # --- for the parts of a device ------------------------------------------------------------------------------------

    def open_slot(self, name: str, on_change: Callable[[], None]) -> SourceSlot:
        """Begin to open a source."""
        factory = self._sources[name]

        async def open_media() -> Media:
            opened = factory()
            if inspect.isawaitable(opened):
                opened = await opened
            return opened if isinstance(opened, Media) else Media(tuple(opened))

        return SourceSlot(name, open_media, self._close_media, on_change)

    def _rested_tracks(self) -> Media:
        if self._rested_since is not None:
            rested = asyncio.get_running_loop().time() - self._rested_since
            for track in self._tracks:
                skip_pause(track, rested)
        return Media(self._tracks)

    async def _close_media(self, media: Media) -> None:
        """End what a source has opened; the user's own tracks only come to rest."""
        if self._tracks and media.tracks == self._tracks:
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
        status = DeviceStatus("streaming", room, width, height, numbers.fps, numbers.bitrate, numbers.wanted)
        self._show(replace(status, error=self._interruption or numbers.error))

    def show_state(self, state: State, room: int | None = None, error: str | None = None) -> None:
        """Change the state; the numbers are gone with the old one."""
        self._show(DeviceStatus(state, room, error=error))

    def show_interruption(self, reason: str | None) -> None:
        """Take into the status that the socket broke, or, with None, that there is one again."""
        self._interruption = reason
        if self._status.state == "waiting" and reason is not None:
            self._show(DeviceStatus("reconnecting", error=reason))
        elif self._status.state == "reconnecting" and reason is None:
            self._show(DeviceStatus("waiting"))

    def _show(self, status: DeviceStatus) -> None:
        if status != self._status:
            self._status = status
            if self._on_status is not None:
                self._on_status(status)

    def _notice(self) -> None:
        if self._rooms is not None:
            self._rooms.notice()


class _Last:
    """What is left of a session that is over."""

    def __init__(self, error: ClientError, successor: Dialed | None, joins: Mapping[int, dict[str, Any]]) -> None:
        self.error = error
        self.successor = successor
        self.joins = dict(joins)

    def take_successor(self) -> Dialed | None:
        """Return the socket of the session that followed, once."""
        successor, self.successor = self.successor, None
        return successor


class _Rooms:
    """What one session of a device is doing: the rooms it joined and the task that streams to them."""

    def __init__(self, device: Device, connection: Connection) -> None:
        self.joins: dict[int, dict[str, Any]] = {}
        """What was sent to join, by room."""
        self._device = device
        self._connection = connection
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
            case "tracks_wanted":
                if self._streaming is not None:
                    self._streaming.want(event.texts("tracks"))
            case "error":
                log.warning("server_error", device=self._device.id, error=event.error())
            case "resumed":
                self._device.show_interruption(None)
            case _ if event.name == INTERRUPTED:
                self._device.show_interruption(event.text("reason"))
            case _ if event.name == MOVED:
                self.move("this machine has another address")
            case _:
                pass  # events that this version does not know must not break it

    def notice(self) -> None:
        """Look again at the device's sources."""
        if self._streaming is not None:
            self._streaming.notice()

    def move(self, reason: str) -> None:
        """Take a new path for the media."""
        if self._streaming is not None:
            self._streaming.move(reason)

    def go_back(self, joins: Mapping[int, dict[str, Any]]) -> None:
        """Publish again to the rooms of a session that was lost; some of them may have outlived it."""
        if joins:
            self._start(dict(joins), again=True)

    @property
    def _busy(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _invited(self, room: int, inviter: Any) -> None:  # noqa: ANN401 - is handed back as it came
        if self._busy and room in self.joins:
            return  # invited again by somebody who cannot know that we are on our way
        join = {"room_id": room, "inviter": inviter}
        if self._busy:
            self.joins[room] = join
            await self._join_another(room, join)
            return
        log.info("device_invited", device=self._device.id, room=room)
        self._start({room: join})

    def _start(self, joins: dict[int, dict[str, Any]], *, again: bool = False) -> None:
        self.joins = joins
        self._device.show_state("joining", next(iter(joins)))
        self._streaming = Streaming(self._device, self._connection, joins, again=again)
        self._task = asyncio.create_task(self._stream(self._streaming), name="device-streaming")

    async def _stream(self, streaming: Streaming) -> None:
        if await streaming.run():
            self.joins = {}  # it has left them

    async def _join_another(self, room: int, join: dict[str, Any]) -> None:
        try:
            await self._connection.request("join_as_publisher", join, "joined_as_publisher")
        except ClientError as error:
            self.joins.pop(room, None)
            log.warning("join_failed", device=self._device.id, room=room, error=error)

    async def leave(self) -> None:
        """Stop streaming and say so, if the connection still stands."""
        if self._busy and self._connection.online:
            # While the media still flows: viewers are to hear that it left, not that it was lost.
            with contextlib.suppress(ClientError, TimeoutError):
                async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                    await self._connection.request("leave", {}, "left")
        await self._end()

    async def _end(self) -> None:
        task, self._task, self._streaming = self._task, None, None
        self.joins = {}
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                log.bug("device_streaming_failed", error, device=self._device.id)
