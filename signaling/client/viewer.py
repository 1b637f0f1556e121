"""Viewer: make a room, invite devices, receive what they publish; make it all again when the server was away."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from signaling.logs import EventLog

from .backoff import Backoff
from .connection import INTERRUPTED, MOVED, PASSING_CODES, Connection
from .dial import Address, random_client_id
from .errors import (
    CertificateError,
    ClientError,
    ConnectError,
    DisconnectedError,
    NoFeedError,
    ReplacedError,
    RequestTimeoutError,
    RoomClosedError,
    ServerEndsError,
    ServerError,
)
from .feed import Feed
from .loopback import gather_loopback, is_loopback
from .subscriptions import MAX_FEEDS, Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .dial import Dialed, Token
    from .event import Event

log = EventLog(__name__)

CONNECT_SECONDS = 10.0
"""For how long an unreachable server is tried at first: it may just be starting."""
INVITE_AGAIN_SECONDS = 2.0
"""Pause before inviting again while no device was there to be invited."""
SILENCE_SECONDS = 10.0
"""Pause before inviting again devices that were invited and sent nothing: they may have gone meanwhile."""
LEAVE_TIMEOUT_SECONDS = 0.5
"""For saying goodbye: programs are to end within two seconds."""
MAX_KNOWN_DEVICES = 1000
"""Devices remembered as having been watched, to be invited when they come back."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device that is connected to the server."""

    id: str
    state: str
    """`available`, `invited` or `streaming`."""
    feed: int | None = None
    tracks: tuple[dict[str, Any], ...] = ()
    """What it publishes: dictionaries with `id`, `kind`, `codec` and `label`."""


class Viewer:
    """Watch devices: all that are there, or the one called `device`.

        async with Viewer("ws://127.0.0.1:8002") as viewer:
            feed = await viewer.next_feed(timeout=10)
            frame = await feed.video.recv()

    Entering connects, makes a room and invites; it raises `ConnectError`, or `ServerError` when the server refuses.
    From then on the viewer keeps itself up. A socket that breaks is opened again while pictures run on; a media
    connection that dies is replaced, and its feed freezes meanwhile. When the server was started anew, or was out of
    reach for too long, the room is made anew and the devices are invited again: the feeds of before have ended, with
    reason `disconnected`, and `next_feed` returns what takes their place. It ends by itself when the server's operator
    closes its room: the feeds end with reason `left`, and `next_feed` raises `RoomClosedError`.

    With `standing` the invitation also holds for devices that come online later. `choose` is asked for each feed
    which of its tracks to receive: it returns their ids, from `Feed.offered`, or None for all, now and later.
    `on_device` is called with a device's id and True when it comes online, False when it goes; `on_connection` with
    None when there is a connection, and otherwise with why there is none. `token` goes into a header, never into the
    URL unless `token_in_url` says so; it may be a function that returns a fresh one. `tls_fingerprint` is the SHA-256
    of the only certificate to accept, for servers with a self-signed one. Raises `ValueError` for an
    address or id that cannot be.
    """

    def __init__(
        self,
        server: str,
        *,
        device: str | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's word
        token: Token = "",
        token_in_url: bool = False,
        tls_fingerprint: str = "",
        standing: bool = False,
        choose: Callable[[Feed], Collection[str] | None] | None = None,
        on_device: Callable[[str, bool], None] | None = None,
        on_connection: Callable[[str | None], None] | None = None,
    ) -> None:
        self._address = Address(server, "WEB", id or random_client_id("view"), token, token_in_url, tls_fingerprint)
        self._device = device
        self._standing = standing
        self._choose = choose
        self._on_device = on_device
        self._on_connection = on_connection
        self._http: aiohttp.ClientSession | None = None
        self._connection: Connection | None = None
        self._subscriptions: Subscriptions | None = None
        self._room = 0
        self._fresh: deque[Feed] = deque(maxlen=MAX_FEEDS)
        self._news = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._invited: tuple[str, ...] = ()
        self._known: dict[str, None] = {}
        """Devices that have been watched; they are invited again when they come back."""
        self._failure: str | None = None
        self._end: ClientError | None = None

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The feeds that are being received."""
        feeds = self._subscriptions.feeds.values() if self._subscriptions is not None else ()
        return tuple(feed for feed in feeds if feed.ended is None and feed.tracks)

    async def __aenter__(self) -> Self:
        if is_loopback(self._address.server):
            gather_loopback()
        self._http = aiohttp.ClientSession()
        try:
            await self._start(self._http)
            self._runner = asyncio.create_task(self._run(self._http), name="viewer")
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- what a program asks for --------------------------------------------------------------------------------------

    async def next_feed(self, timeout: float = 10.0) -> Feed:  # noqa: ASYNC109 - it can say what was missing
        """Return the next feed whose media connection stands, inviting again while no device is there.

        Raises `NoFeedError` after `timeout` seconds, `DisconnectedError` when the viewer has ended, and
        `RoomClosedError` when that was an operator's wish.
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
                if self._now() < deadline:
                    await self._invite_again()

    async def list_devices(self) -> tuple[DeviceInfo, ...]:
        """Return the devices that are connected to the server; raises `ClientError`."""
        reply = await self._open_connection.request("list_devices", {}, "devices")
        devices = reply.data.get("devices")
        described = [each for each in devices if isinstance(each, dict)] if isinstance(devices, list) else []
        return tuple(
            DeviceInfo(
                str(each.get("device", "")),
                str(each.get("state", "")),
                each["feed"] if isinstance(each.get("feed"), int) else None,
                tuple(track for track in each.get("tracks") or () if isinstance(track, dict)),
            )
            for each in described
        )

    async def invite(self, devices: Collection[str]) -> tuple[str, ...]:
        """Invite these devices too; return those that cannot be had. Raises `ClientError`."""
        data = {"room_id": self._room, "devices": list(devices)}
        reply = await self._open_connection.request("invite_devices", data, "devices_invited")
        return reply.texts("unavailable")

    async def pause(self, feed: Feed, *kinds: str) -> None:
        """Receive no `audio`, no `video`, or nothing of a feed until `resume`; raises `ClientError`."""
        await self._open_subscriptions.pause(feed, kinds, paused=True)

    async def resume(self, feed: Feed, *kinds: str) -> None:
        """Receive what was paused again, or these kinds of it; raises `ClientError`."""
        await self._open_subscriptions.pause(feed, kinds, paused=False)

    async def stop(self, feed: Feed) -> None:
        """Receive a feed no longer; raises `ClientError`."""
        await self._open_subscriptions.stop(feed)

    def network_changed(self) -> None:
        """Take new paths for the media: call it when you know that this machine's network is another one now.

        Otherwise it is noticed when signalling comes back from another address, or the media connection fails.
        """
        if self._subscriptions is not None:
            self._subscriptions.move()

    async def close(self) -> None:
        """Leave the room and end everything. Idempotent."""
        tasks = [*self._tasks, *([self._runner] if self._runner is not None else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._subscriptions is not None:
            await self._subscriptions.close("closed")
        if self._connection is not None:
            if self._connection.online:
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

    @property
    def _open_subscriptions(self) -> Subscriptions:
        if self._subscriptions is None:
            raise DisconnectedError("the viewer is not open: use `async with`")
        return self._subscriptions

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # --- one session after the other ----------------------------------------------------------------------------------

    async def _start(self, http: aiohttp.ClientSession) -> None:
        """Begin for the first time: what is refused or not there is an error, if not at once."""
        deadline = self._now() + CONNECT_SECONDS
        backoff = Backoff(maximum=CONNECT_SECONDS / 4)
        while True:
            try:
                await self._begin(await Connection.open(http, self._address))
            except (ConnectError, DisconnectedError, ServerError) as error:
                if await self._abandon():
                    backoff.expect_restart()
                elif isinstance(error, CertificateError) or not _passes(error):
                    raise
                delay = backoff.next()
                if self._now() + delay > deadline:
                    raise
                log.info("viewer_connecting_again", reason=error, retry_seconds=round(delay, 1))
            else:
                return
            await asyncio.sleep(delay)

    async def _abandon(self) -> bool:
        """Close a connection on which nothing could begin; return whether that was as its server is about to end."""
        connection, self._connection = self._connection, None
        if connection is None:
            return False
        draining = connection.draining
        await connection.close()
        return draining

    async def _begin(self, connection: Connection) -> None:
        """Make a room and invite."""
        self._connection = connection
        created = await connection.request("create_room", {}, "room_created")
        self._room = created.integer("room_id")
        self._subscriptions = Subscriptions(connection, self._room, self._choose, self._ready, self._ended)
        join = {"room_id": self._room, "inviter": self._address.client_id}
        await connection.request("join_as_publisher", join, "joined_as_publisher")
        await self._invite()

    async def _run(self, http: aiohttp.ClientSession) -> None:
        """Serve one session after the other, until the server refuses this client for good."""
        try:
            while True:
                try:
                    await self._read(self._open_connection)
                except DisconnectedError as error:
                    await self._restore(http, error)
        except ClientError as error:
            if isinstance(error, RoomClosedError):
                await self._open_connection.close()
            await self._open_subscriptions.close("disconnected")
            self._finish(error)

    async def _restore(self, http: aiohttp.ClientSession, reason: ClientError) -> None:
        """Begin anew after the server has given the session up; raises what will not pass."""
        backoff = Backoff()
        while True:
            log.info("viewer_disconnected", reason=reason)
            self._say(str(reason))
            old = self._open_connection
            successor = old.take_successor()
            await self._open_subscriptions.close("disconnected")
            await old.close()
            if isinstance(reason, ReplacedError):
                raise reason
            if isinstance(reason, ServerEndsError):
                backoff.expect_restart()
            began = self._now()
            try:
                await self._restore_once(http, successor)
            except (ConnectError, DisconnectedError, RequestTimeoutError, ServerError) as error:
                if not _passes(error):
                    raise
                reason = error
                await asyncio.sleep(backoff.next(self._now() - began))
            else:
                self._say(None)
                return

    async def _restore_once(self, http: aiohttp.ClientSession, successor: Dialed | None) -> None:
        await self._begin(await Connection.open(http, self._address, successor))

    def _say(self, why_not: str | None) -> None:
        """Tell whether there is a connection."""
        self._failure = f"the server is gone: {why_not}" if why_not is not None else None
        if self._on_connection is not None:
            self._on_connection(why_not)

    # --- invitations --------------------------------------------------------------------------------------------------

    async def _invite(self) -> None:
        data: dict[str, object] = {"room_id": self._room}
        if self._device is not None:
            data["devices"] = [self._device]
        if self._standing:
            data["standing"] = True
        reply = await self._open_connection.request("invite_devices", data, "devices_invited")
        self._invited = (*reply.texts("invited"), *reply.texts("attached"))

    async def _invite_again(self) -> None:
        """Invite while there is nothing to see; a server that is away is being seen to elsewhere."""
        subscriptions, connection = self._subscriptions, self._connection
        if connection is None or not connection.online or (subscriptions is not None and subscriptions.feeds):
            return
        with contextlib.suppress(ClientError):
            await self._invite()

    def _what_is_missing(self, seconds: float) -> str:
        if self._failure is not None:
            return self._failure
        if self._invited:
            names = ", ".join(sorted(self._invited))
            return f"no media within {seconds:g} s: {names} was invited but sent nothing"
        if self._device is not None:
            return f"no device: {self._device!r} is not connected to the server (waited {seconds:g} s)"
        return f"no device is connected to the server (waited {seconds:g} s)"

    def _presence(self, device: str, *, online: bool) -> None:
        """Take note of a device that came or went; one that we watched, or wait for, is invited again."""
        if self._on_device is not None:
            self._on_device(device, online)
        if online and not self._standing and (device == self._device or device in self._known):
            task = asyncio.create_task(self._invite_back(device), name="viewer-invitation")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _invite_back(self, device: str) -> None:
        with contextlib.suppress(ClientError):
            await self.invite([device])

    # --- events -------------------------------------------------------------------------------------------------------

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                await self._handle(await connection.next_event(), self._open_subscriptions)
            except (DisconnectedError, RoomClosedError):
                raise
            except ClientError as error:
                log.warning("server_event_unusable", reason=error)

    async def _handle(self, event: Event, subscriptions: Subscriptions) -> None:
        match event.name:
            case "start_listening" | "tracks_changed":
                self._listen(event, subscriptions)
            case "stop_listening":
                await subscriptions.drop(event.integer("feed"), str(event.data.get("reason", "ended")))
            case "offer_to_subscriber":
                subscriptions.offered(event)
            case "connection_lost":
                subscriptions.lost(event.integer("feed"))
            case "room_closed" if event.integer("room_id") == self._room:
                raise RoomClosedError("the server's operator has closed the room")
            case "device_online" | "device_offline":
                self._presence(event.text("device"), online=event.name == "device_online")
            case "error":
                log.warning("server_error", error=event.error())
                if not subscriptions.refused(event):
                    self._failure = f"the server refused: {event.error()}"
            case "resumed":
                self._say(None)
            case _ if event.name == INTERRUPTED:
                self._say(event.text("reason"))
            case _ if event.name == MOVED:
                subscriptions.move()
            case _:
                pass  # events that this version does not know must not break it

    def _listen(self, event: Event, subscriptions: Subscriptions) -> None:
        """Subscribe to a feed; of one that we have, take what it now consists of."""
        feed_id, device = event.integer("feed"), str(event.data.get("device", ""))
        described = {str(track.get("id")): track for track in event.data.get("tracks") or () if isinstance(track, dict)}
        known = subscriptions.feeds.get(feed_id)
        if known is not None:
            known.describe(described)
        elif self._device in {None, device} and event.name == "start_listening":
            subscriptions.listen(Feed(feed_id, device, described))

    def _ready(self, feed: Feed) -> None:
        if len(self._known) < MAX_KNOWN_DEVICES:
            self._known[feed.device] = None
        self._failure = None
        self._fresh.append(feed)
        self._news.set()

    def _ended(self, _feed: Feed, failure: str | None) -> None:
        if failure is not None:
            self._failure = failure
        if self._subscriptions is not None and not self._subscriptions.feeds:
            self._invited = ()  # so that `next_feed`, if it is waiting, invites again
            self._news.set()


def _passes(error: ClientError) -> bool:
    """Return whether connecting again may help; `bad_state` is a server that has as many rooms as it may."""
    return not isinstance(error, ServerError) or error.code in PASSING_CODES | {"bad_state"}
