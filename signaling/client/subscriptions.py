"""The feeds that a viewer receives: subscribed to, offered anew when their tracks change, subscribed to again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from signaling.logs import EventLog

from .backoff import Backoff
from .errors import ClientError, DisconnectedError, MediaError, RequestTimeoutError, ServerError
from .peer import new_peer_connection, wait_connected

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

    from .connection import Connection
    from .event import Event
    from .feed import Feed

    Choose = Callable[[Feed], Collection[str] | None]

log = EventLog(__name__)

MAX_FEEDS = 64
"""Feeds received at once, as many as the server allows; decoding that many takes a big machine."""
MAX_ATTEMPTS = 4
"""To subscribe again to a feed whose media connection was lost; the server ends the feed if it is gone."""


class Subscriptions:
    """What one session of a viewer receives from its room."""

    def __init__(
        self,
        connection: Connection,
        room: int,
        choose: Choose | None,
        on_ready: Callable[[Feed], None],
        on_end: Callable[[Feed, str | None], None],
    ) -> None:
        """`on_ready` is told of a feed once, when it can be seen; `on_end` of its end, and why if it failed."""
        self.feeds: dict[int, Feed] = {}
        self._connection = connection
        self._room = room
        self._choose = choose
        self._on_ready = on_ready
        self._on_end = on_end
        self._ready: set[int] = set()
        self._answers: dict[str, Feed] = {}
        self._receiving: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, feed: Feed) -> None:
        """Subscribe to a feed that has been announced."""
        if len(self.feeds) >= MAX_FEEDS:
            log.warning("feed_ignored", feed=feed.id, device=feed.device, limit=MAX_FEEDS)
            return
        self.feeds[feed.id] = feed
        self._receive(feed, again=False)

    def offered(self, event: Event) -> None:
        """Answer an offer that nobody asked for: the feed's tracks have changed."""
        feed = self.feeds.get(event.integer("feed"))
        if feed is not None:
            self._spawn(self._answer_again(feed, event.text("sdp")))

    def lost(self, feed_id: int) -> None:
        """Subscribe again to a feed that is still there but whose media connection to us died."""
        feed = self.feeds.get(feed_id)
        if feed is not None and feed.ended is None:
            self._receive(feed, again=True)

    def refused(self, event: Event) -> bool:
        """Take an error; return whether it was about an answer of ours."""
        feed = self._answers.pop(event.request_id or "", None)
        if feed is None:
            return False
        self._spawn(self.drop(feed.id, f"the server refused: {event.error()}", failed=True))
        return True

    def move(self) -> None:
        """Take new paths for all media: this machine has another address."""
        for feed in self.feeds.values():
            self._spawn(self._resubscribe(feed))

    async def drop(self, feed_id: int, reason: str, *, failed: bool = False) -> None:
        """End a feed here."""
        feed = self.feeds.pop(feed_id, None)
        if feed is None:
            return
        log.info("feed_ended", feed=feed_id, device=feed.device, reason=reason)
        self._ready.discard(feed_id)
        self._on_end(feed, reason if failed else None)
        receiving = self._receiving.pop(feed_id, None)
        if receiving is not None and receiving is not asyncio.current_task():
            receiving.cancel()
        await feed.close(reason)

    async def close(self, reason: str) -> None:
        """End all feeds and what is under way about them. Idempotent."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.gather(*(self.drop(feed, reason) for feed in list(self.feeds)))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="viewer-subscription")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _receive(self, feed: Feed, *, again: bool) -> None:
        """Begin to receive, instead of an attempt that may be under way."""
        before = self._receiving.get(feed.id)
        if before is not None:
            before.cancel()
        self._receiving[feed.id] = self._spawn(self._subscribe_again(feed) if again else self._subscribe(feed))

    async def _subscribe(self, feed: Feed) -> None:
        try:
            await self._negotiate(feed)
        except ClientError as error:
            await self._fail(feed, error)
        else:
            self._show(feed)

    async def _subscribe_again(self, feed: Feed) -> None:
        """Try until it works or the server says that the feed is gone; the tracks freeze meanwhile."""
        await feed.detach()
        backoff = Backoff()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                await self._negotiate(feed)
                if feed.paused:
                    await self.pause(feed, feed.paused, paused=True)
            except ClientError as error:
                passes = isinstance(error, MediaError | RequestTimeoutError) and attempt < MAX_ATTEMPTS
                if not passes or feed.ended is not None:
                    await self._fail(feed, error)
                    return
                log.info("feed_lost_again", feed=feed.id, device=feed.device, reason=error)
                await self._stop(feed)
                await asyncio.sleep(backoff.next())
            else:
                self._show(feed)
                return

    async def _resubscribe(self, feed: Feed) -> None:
        """Give up the subscription, which the server may still think alive, and subscribe again."""
        await self._stop(feed)
        self.lost(feed.id)

    async def _fail(self, feed: Feed, error: ClientError) -> None:
        if feed.ended is not None or isinstance(error, DisconnectedError):
            return  # it was over before it had begun
        log.warning("feed_failed", feed=feed.id, device=feed.device, reason=error)
        await self.drop(feed.id, f"{feed.device or 'the feed'} cannot be received: {error}", failed=True)

    async def _negotiate(self, feed: Feed) -> None:
        join: dict[str, object] = {"room_id": self._room, "feed": feed.id}
        chosen = self._choose(feed) if self._choose is not None else None
        if chosen is not None:
            join["tracks"] = list(chosen)
        offer = await self._connection.request("join_as_subscriber", join, "offer_to_subscriber")
        if feed.ended is not None:
            raise MediaError("the feed has ended")
        peer = new_peer_connection(self._connection.welcome.data)
        await feed.attach(peer)
        request_id = await self._answer(feed, offer.text("sdp"))
        try:
            await wait_connected(peer)
        finally:
            self._answers.pop(request_id, None)

    async def _answer(self, feed: Feed, sdp: str) -> str:
        answer = {"type": "answer", "sdp": await feed.answer(sdp), "feed": feed.id}
        request_id = await self._connection.notify("start_receiving", answer)
        while len(self._answers) >= MAX_FEEDS:
            self._answers.pop(next(iter(self._answers)))  # long since accepted: only a refusal is told
        self._answers[request_id] = feed
        return request_id

    async def _answer_again(self, feed: Feed, sdp: str) -> None:
        try:
            await self._answer(feed, sdp)
        except ClientError as error:
            await self._fail(feed, error)

    def _show(self, feed: Feed) -> None:
        """Take a feed as received, and notice when its connection fails; the server may go on thinking it well."""
        if feed.id not in self._ready:
            self._ready.add(feed.id)
            self._on_ready(feed)
        peer = feed.peer
        if peer is None:
            return

        def check() -> None:
            if peer.connectionState == "failed" and feed.peer is peer and feed.ended is None:
                self._spawn(self._resubscribe(feed))

        peer.on("connectionstatechange", check)
        check()

    # --- what a viewer asks for -------------------------------------------------------------------------------------

    async def pause(self, feed: Feed, kinds: Collection[str], *, paused: bool) -> None:
        """Ask the server to stop sending these kinds, or to go on; raises `ClientError`."""
        event = "pause_receiving" if paused else "resume_receiving"
        data = {"feed": feed.id} | ({"kinds": sorted(kinds)} if kinds else {})
        reply = await self._connection.request(event, data, "receiving_changed")
        feed.paused = reply.texts("paused")
        feed.notify()

    async def stop(self, feed: Feed) -> None:
        """Receive a feed no longer; raises `ClientError`."""
        await self._connection.request("stop_receiving", {"feed": feed.id}, "stopped_receiving")
        await self.drop(feed.id, "stopped")

    async def _stop(self, feed: Feed) -> None:
        with contextlib.suppress(ServerError, RequestTimeoutError, DisconnectedError):
            await self._connection.request("stop_receiving", {"feed": feed.id}, "stopped_receiving")
