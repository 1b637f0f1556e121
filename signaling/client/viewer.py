"""Viewer: make a room, invite devices, receive what they publish."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiortc import RTCSessionDescription

from signaling.logs import EventLog

from .backoff import Backoff
from .connection import Address, Connection, random_client_id
from .errors import ClientError, ConnectError, DisconnectedError, MediaError, NoFeedError, ServerError
from .feed import Feed
from .loopback import gather_loopback, is_loopback
from .peer import new_peer_connection, wait_connected

if TYPE_CHECKING:
    from .connection import Event

log = EventLog(__name__)

CONNECT_SECONDS = 10.0
"""For how long an unreachable server is tried: it may just be starting."""
INVITE_AGAIN_SECONDS = 2.0
"""Pause before inviting again while no device was there to be invited."""
SILENCE_SECONDS = 10.0
"""Pause before inviting again devices that were invited and sent nothing: they may have gone meanwhile."""
MAX_FEEDS = 64
"""Feeds received at once, as many as the server allows; decoding that many takes a big machine."""
LEAVE_TIMEOUT_SECONDS = 0.5
"""For saying goodbye: programs are to end within two seconds."""
TRY_AGAIN_CODES = frozenset({"client_id_in_use", "server_full"})
"""Refusals at connect that may pass within seconds; any other fails at once."""


class Viewer:
    """Watch devices: all that are there, or the one called `device`.

        async with Viewer("ws://127.0.0.1:8002") as viewer:
            feed = await viewer.next_feed(timeout=10)
            frame = await feed.video.recv()

    Entering connects, makes a room and invites; it raises `ConnectError`, or `ServerError` when the server refuses.
    Raises `ValueError` for an address or id that cannot be.
    """

    def __init__(self, server: str, *, device: str | None = None, id: str | None = None, token: str = "") -> None:  # noqa: A002 - the protocol's word
        self._address = Address(server, "WEB", id or random_client_id("view"), token)
        self._device = device
        self._http: aiohttp.ClientSession | None = None
        self._connection: Connection | None = None
        self._room = 0
        self._feeds: dict[int, Feed] = {}
        self._fresh: deque[Feed] = deque(maxlen=MAX_FEEDS)
        self._news = asyncio.Event()
        self._answers: dict[str, Feed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader: asyncio.Task[None] | None = None
        self._invited: tuple[str, ...] = ()
        self._failure: str | None = None
        self._end: ClientError | None = None

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The feeds that are being received."""
        return tuple(feed for feed in self._feeds.values() if feed.ended is None and feed.tracks)

    async def __aenter__(self) -> Self:
        if is_loopback(self._address.server):
            gather_loopback()
        self._http = aiohttp.ClientSession()
        try:
            self._connection = await self._connect(self._http)
            created = await self._connection.request("create_room", {}, "room_created")
            self._room = created.integer("room_id")
            join = {"room_id": self._room, "inviter": self._address.client_id}
            await self._connection.request("join_as_publisher", join, "joined_as_publisher")
            self._reader = asyncio.create_task(self._read(self._connection), name="viewer")
            await self._invite()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def next_feed(self, timeout: float = 10.0) -> Feed:  # noqa: ASYNC109 - it can say what was missing
        """Return the next feed whose media connection stands, inviting again while no device is there.

        Raises `NoFeedError` after `timeout` seconds, `DisconnectedError` when the server is gone.
        """
        deadline = self._now() + timeout
        while True:
            while self._fresh:
                feed = self._fresh.popleft()
                if feed.ended is None:
                    return feed
            if self._end is not None:
                raise self._end
            if self._now() >= deadline:
                raise NoFeedError(self._what_is_missing(timeout))
            patience = SILENCE_SECONDS if self._invited else INVITE_AGAIN_SECONDS
            self._news.clear()
            try:
                async with asyncio.timeout_at(min(deadline, self._now() + patience)):
                    await self._news.wait()
            except TimeoutError:
                if not self._feeds and self._now() < deadline:
                    await self._invite()

    async def close(self) -> None:
        """Leave the room and end everything. Idempotent."""
        if self._reader is not None:
            self._reader.cancel()
        for task in self._tasks:
            task.cancel()
        pending = [*self._tasks, *([self._reader] if self._reader is not None else [])]
        if pending:
            await asyncio.wait(pending)
        await asyncio.gather(*(feed.close() for feed in self._feeds.values()))
        if self._connection is not None:
            with contextlib.suppress(ClientError, TimeoutError):
                async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                    await self._connection.request("leave", {}, "left")
            await self._connection.close()
        if self._http is not None:
            await self._http.close()
        self._finish(DisconnectedError("the viewer was closed"))

    def _finish(self, end: ClientError) -> None:
        if self._end is None:
            self._end = end
        self._news.set()

    @property
    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise DisconnectedError("the viewer is not open: use `async with`")
        return self._connection

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _connect(self, http: aiohttp.ClientSession) -> Connection:
        deadline = self._now() + CONNECT_SECONDS
        backoff = Backoff(maximum=CONNECT_SECONDS / 4)
        while True:
            try:
                return await Connection.open(http, self._address)
            except (ConnectError, ServerError) as error:
                delay = backoff.next()
                passes = isinstance(error, ConnectError) or error.code in TRY_AGAIN_CODES
                if not passes or self._now() + delay > deadline:
                    raise
                log.info("viewer_connecting_again", reason=error, retry_seconds=round(delay, 1))
            await asyncio.sleep(delay)

    async def _invite(self) -> None:
        data: dict[str, object] = {"room_id": self._room}
        if self._device is not None:
            data["devices"] = [self._device]
        reply = await self._open_connection.request("invite_devices", data, "devices_invited")
        self._invited = (*reply.data.get("invited", ()), *reply.data.get("attached", ()))

    def _what_is_missing(self, seconds: float) -> str:
        if self._failure is not None:
            return self._failure
        if self._invited:
            names = ", ".join(sorted(self._invited))
            return f"no media within {seconds:g} s: {names} was invited but sent nothing"
        if self._device is not None:
            return f"no device: {self._device!r} is not connected to the server (waited {seconds:g} s)"
        return f"no device is connected to the server (waited {seconds:g} s)"

    async def _read(self, connection: Connection) -> None:
        try:
            while True:
                try:
                    await self._handle(await connection.next_event())
                except DisconnectedError:
                    raise
                except ClientError as error:
                    log.warning("server_event_unusable", reason=error)
        except DisconnectedError as error:
            for feed in list(self._feeds.values()):
                await feed.close("disconnected")
            self._finish(error)

    async def _handle(self, event: Event) -> None:
        match event.name:
            case "start_listening":
                self._listen(event)
            case "stop_listening":
                await self._drop(event.integer("feed"), str(event.data.get("reason", "ended")))
            case "connection_lost":
                await self._lost(event.integer("feed"))
            case "error":
                feed = self._answers.pop(event.request_id or "", None)
                self._failure = f"the server refused: {event.error()}"
                log.warning("server_error", error=event.error())
                if feed is not None:
                    await self._drop(feed.id, self._failure)
            case _:
                pass  # events that this version does not know must not break it

    def _listen(self, event: Event) -> None:
        feed_id, device = event.integer("feed"), str(event.data.get("device", ""))
        if self._device not in {None, device} or feed_id in self._feeds:
            return
        if len(self._feeds) >= MAX_FEEDS:
            log.warning("feed_ignored", feed=feed_id, device=device, limit=MAX_FEEDS)
            return
        described = {str(track.get("id")): track for track in event.data.get("tracks") or () if isinstance(track, dict)}
        self._subscribe(Feed(feed_id, device, described))

    def _subscribe(self, feed: Feed) -> None:
        self._feeds[feed.id] = feed
        task = asyncio.create_task(self._receive(feed), name="viewer-subscription")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _receive(self, feed: Feed) -> None:
        try:
            await self._negotiate(feed)
        except ClientError as error:
            if feed.ended is not None:
                return  # it was over before it had begun
            self._failure = f"{feed.device or 'the feed'} cannot be received: {error}"
            log.warning("feed_failed", feed=feed.id, device=feed.device, reason=error)
            await self._drop(feed.id, str(error))
        else:
            self._fresh.append(feed)
            self._news.set()

    async def _negotiate(self, feed: Feed) -> None:
        connection = self._open_connection
        join = {"room_id": self._room, "feed": feed.id}
        offer = await connection.request("join_as_subscriber", join, "offer_to_subscriber")
        if feed.ended is not None:
            raise MediaError("the feed has ended")
        peer = new_peer_connection(connection.welcome.data)
        feed.attach(peer)
        try:
            await peer.setRemoteDescription(RTCSessionDescription(offer.text("sdp"), "offer"))
            await peer.setLocalDescription(await peer.createAnswer())
        except ClientError:
            raise
        except Exception as error:
            # aiortc raises several unrelated types for what it cannot receive; codecs it lacks are the usual cause.
            raise MediaError(f"the server's offer cannot be answered: {error}") from error
        answer = {"type": "answer", "sdp": peer.localDescription.sdp, "feed": feed.id}
        request_id = await connection.notify("start_receiving", answer)
        self._answers[request_id] = feed
        try:
            await wait_connected(peer)
        finally:
            self._answers.pop(request_id, None)

    async def _lost(self, feed_id: int) -> None:
        """Subscribe again to a feed that is still there but whose media connection to us died."""
        lost = self._feeds.get(feed_id)
        if lost is None:
            return
        await self._drop(feed_id, "connection_lost")
        described: dict[str, Any] = {track.id: {"codec": track.codec, "label": track.label} for track in lost.tracks}
        self._subscribe(Feed(feed_id, lost.device, described))

    async def _drop(self, feed_id: int, reason: str) -> None:
        feed = self._feeds.pop(feed_id, None)
        if feed is None:
            return
        log.info("feed_ended", feed=feed_id, device=feed.device, reason=reason)
        if not self._feeds:
            self._invited = ()  # so that `next_feed`, if it is waiting, invites again
            self._news.set()
        await feed.close(reason)
