"""Service: takes what clients send to the rooms and carries the rooms' decisions out on sessions and on the engine.

Decisions are made at once, in the order of arrival, and what they send is queued at once. Engine calls take time:
those about one feed or one subscription run one after another, others beside them, and each result goes back into
the rooms as an event.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import sfu

from . import effects, protocol
from .logs import EventLog
from .protocol import ErrorCode, ProtocolError
from .rooms import Rooms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .auth import Grant
    from .effects import Client, ClientRequest, Effect, EngineEffect, RoomsEvent
    from .protocol import EndReason, RequestId
    from .rooms import RoomLimits

log = EventLog("signaling.service")

ENGINE_CALL_TIMEOUT_SECONDS = 10.0
"""An engine in this process answers in milliseconds; this is for one that has gone astray."""
ENGINE_STOP_TIMEOUT_SECONDS = 0.5
"""The whole server stops within two seconds."""
SESSIONS_STOP_TIMEOUT_SECONDS = 1.2
"""Above what a session allows itself for its last messages and its closing handshake."""
ID_BITS = 31
"""Room and feed ids stay positive in a signed 32-bit integer."""
GOING_AWAY = 1001
"""WebSocket close code of a server that stops."""

CLOSE_CODES: Mapping[ErrorCode, int] = {
    ErrorCode.BAD_ROLE: 4400,
    ErrorCode.BAD_CLIENT_ID: 4400,
    ErrorCode.UNAUTHORIZED: 4401,
    ErrorCode.FORBIDDEN: 4403,
    ErrorCode.CLIENT_ID_IN_USE: 4409,
    ErrorCode.SERVER_FULL: 4429,
}
"""How the socket closes after a refused connection."""


class ConnectionRefused(Exception):  # noqa: N818  it is news for the client, not a failure of ours
    """A client may not connect; `message` is fit for it to read."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Session(Protocol):
    """What the service needs of one client's socket."""

    client: Client
    grant: Grant

    def send(self, text: str) -> None:
        """Queue one message; never blocks. A client that is too slow for its queue is closed."""
        ...

    def stop(self, code: int, reason: str, *, flush: bool = True) -> None:
        """Close soon, after what is queued if `flush`."""
        ...

    async def is_alive(self, timeout: float) -> bool:  # noqa: ASYNC109  the wait is the question
        """Return whether the client answers a ping within `timeout` seconds."""
        ...

    async def wait_closed(self) -> None:
        """Return when the socket is closed."""
        ...


def _random_id() -> int:
    return secrets.randbits(ID_BITS) or 1


_REQUESTS: Mapping[type[protocol.Inbound], Callable[[Client, Any, RequestId | None], ClientRequest]] = {
    protocol.CreateRoom: lambda client, _event, id_: effects.RoomRequested(client, id_),
    protocol.JoinAsPublisher: lambda client, event, id_: effects.JoinRequested(client, event.room_id, id_),
    protocol.InviteDevices: lambda client, event, id_: effects.InviteRequested(
        client, event.room_id, None if event.devices is None else tuple(map(str, event.devices)), id_
    ),
    protocol.OfferFromDevice: lambda client, event, id_: effects.OfferReceived(client, event.sdp, id_),
    protocol.JoinAsSubscriber: lambda client, event, id_: effects.SubscribeRequested(
        client, event.room_id, event.feed, event.tracks, id_
    ),
    protocol.StartReceiving: lambda client, event, id_: effects.AnswerReceived(client, event.sdp, event.feed, id_),
    protocol.Unpublish: lambda client, _event, id_: effects.UnpublishRequested(client, id_),
    protocol.Leave: lambda client, event, id_: effects.LeaveRequested(client, event.room_id, id_),
}

_ENGINE_CODES: Mapping[type[sfu.EngineError], ErrorCode] = {
    sfu.SdpError: ErrorCode.BAD_SDP,
    sfu.NoCommonCodecError: ErrorCode.NO_COMMON_CODEC,
    sfu.FeedNotFoundError: ErrorCode.FEED_NOT_FOUND,
    sfu.TrackNotFoundError: ErrorCode.BAD_DATA,
    sfu.SubscriptionNotFoundError: ErrorCode.BAD_STATE,
    sfu.EngineStateError: ErrorCode.BAD_STATE,
    sfu.EngineFullError: ErrorCode.BAD_STATE,
}


class Service:
    """One signalling service with its engine. All methods are for the event loop's thread."""

    def __init__(
        self,
        engine_settings: sfu.EngineSettings,
        limits: RoomLimits,
        *,
        max_sessions: int,
        probe_seconds: float,
        newest_wins: bool = False,
        ice_servers: Callable[[Client], Sequence[dict[str, str]]] = lambda _client: (),
        server_name: str,
    ) -> None:
        self.engine = sfu.Engine(engine_settings, self._on_engine_event)
        self.rooms = Rooms(_random_id, limits)
        self.sessions: dict[Client, Session] = {}
        self._max_sessions = max_sessions
        self._probe_seconds = probe_seconds
        self._newest_wins = newest_wins
        self._ice_servers = ice_servers
        self._server_name = server_name
        self._stopping = False
        self._knocking = 0
        """Sockets that wait to hear whether an older one with their client id is alive."""
        self._lanes: dict[tuple[str, int], deque[EngineEffect]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the engine; raise `sfu.EngineStartError` when its port cannot be had."""
        await self.engine.start()

    async def stop(self) -> None:
        """Tell every client, close every socket, stop the engine; leave no task behind. Idempotent."""
        self._stopping = True
        self._take_news(effects.ServerStopping())
        sessions = list(self.sessions.values())
        for session in sessions:
            session.stop(GOING_AWAY, "the server stops")
        try:
            async with asyncio.timeout(SESSIONS_STOP_TIMEOUT_SECONDS):
                await asyncio.gather(*(session.wait_closed() for session in sessions))
        except TimeoutError:
            log.warning("sessions_stop_timed_out", sessions=len(self.sessions))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(ENGINE_STOP_TIMEOUT_SECONDS):
                await self.engine.stop()
        except TimeoutError:
            log.warning("engine_stop_timed_out", seconds=ENGINE_STOP_TIMEOUT_SECONDS)

    # --- sessions -----------------------------------------------------------------------------------------------

    async def admit(self, session: Session) -> None:
        """Take a new session in and welcome it, or raise `ConnectionRefused`.

        A client id that is in use is refused while its first socket answers a ping: random ids do collide. A first
        socket that does not answer is dropped in favour of the new one; so is any where tokens tell clients apart.
        """
        if len(self.sessions) + self._knocking >= self._max_sessions:
            raise ConnectionRefused(
                ErrorCode.SERVER_FULL, f"the server has {self._max_sessions} clients, the most it may; try again later"
            )
        self._knocking += 1
        try:
            while (older := self.sessions.get(session.client)) is not None:
                if not self._newest_wins and await older.is_alive(self._probe_seconds):
                    raise ConnectionRefused(
                        ErrorCode.CLIENT_ID_IN_USE,
                        f"client id {session.client.id} is in use by another {session.client.role}; take another id",
                    )
                older.stop(CLOSE_CODES[ErrorCode.CLIENT_ID_IN_USE], "replaced by a newer connection", flush=False)
                self.gone(older)
        finally:
            self._knocking -= 1
        if self._stopping:
            raise ConnectionRefused(ErrorCode.SERVER_FULL, "the server is stopping; try again later")
        self.sessions[session.client] = session
        self._take_news(effects.ClientConnected(session.client))
        welcome = protocol.Welcome(
            client_id=session.client.id,
            role=session.client.role,
            resume=None,
            ice_servers=tuple(self._ice_servers(session.client)),
            server=self._server_name,
        )
        session.send(protocol.encode(welcome))
        log.info("client_connected", role=session.client.role, client=session.client.id)

    def gone(self, session: Session, reason: EndReason = "disconnected") -> None:
        """Take note that a session is over. Harmless when repeated.

        A grace period in which the client may come back would begin here; for now this is a leave at once.
        """
        if self.sessions.get(session.client) is not session:
            return
        del self.sessions[session.client]
        self._take_news(effects.ClientGone(session.client, reason))
        log.info("client_gone", role=session.client.role, client=session.client.id, reason=reason)

    def receive(self, session: Session, text: str) -> None:
        """Handle one text frame of a client; what it gets wrong is told to it and to nobody else."""
        client = session.client
        if self.sessions.get(client) is not session:
            return  # replaced; what it still had in its pipe is not the newer one's
        name: str | None = None
        request_id: RequestId | None = None
        try:
            request_id, event = protocol.decode(client.role, text)
            name = event.event
            if isinstance(event, protocol.Ice | protocol.Auth):
                return  # candidates are not needed to connect to an ICE-lite server; who is here has been let in
            event = self._as_granted(session.grant, event, request_id)
            self._handle(_REQUESTS[type(event)](client, event, request_id))
        except ProtocolError as error:
            self._fail(client, error.code, error.message, error.event, error.request_id)
        except Exception as error:  # noqa: BLE001  one client's event must not cost it, or anyone, the connection
            reference = self._log_bug("event_failed", error, client, failed=name)
            self._fail(client, ErrorCode.INTERNAL, _internal(reference), name, request_id)

    def _as_granted(self, grant: Grant, event: protocol.Inbound, request_id: RequestId | None) -> protocol.Inbound:
        """Return `event` as far as the client's token grants it, or raise `ProtocolError`."""
        refusal = grant.refuses(event)
        if refusal is None and isinstance(event, protocol.JoinAsSubscriber):
            feed = self.rooms.state.feeds.get(event.feed)
            refusal = None if feed is None else grant.refuses_feed(feed.publisher.id)
        if refusal is not None:
            raise ProtocolError(ErrorCode.FORBIDDEN, refusal, event.event, request_id)
        return grant.narrow(event)

    def _take_news(self, event: RoomsEvent) -> None:
        """Handle what no client waits for; a bug in it must not end who reports it."""
        try:
            self._handle(event)
        except Exception as error:  # noqa: BLE001  see the docstring
            self._log_bug("news_failed", error, None, news=type(event).__name__)

    def _handle(self, event: RoomsEvent) -> None:
        for effect in self.rooms.handle(event):
            try:
                self._carry_out(effect)
            except Exception as error:  # noqa: BLE001  the other effects of this event concern other clients
                self._log_bug("effect_failed", error, None, effect=type(effect).__name__)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case effects.Send(client, event, request_id):
                self._send(client, event, request_id)
            case effects.Fail(client, code, message, event_name, request_id):
                self._fail(client, code, message, event_name, request_id)
            case effects.Publish(feed) | effects.Unpublish(feed):
                self._enqueue(("feed", feed), effect)
            case effects.Subscribe(number) | effects.Accept(number) | effects.Unsubscribe(number):
                self._enqueue(("subscription", number), effect)

    def _send(self, client: Client, event: protocol.Outbound, request_id: RequestId | None) -> None:
        session = self.sessions.get(client)
        shown = None if session is None else session.grant.show(event)
        if session is not None and shown is not None:
            session.send(protocol.encode(shown, request_id))

    def _fail(
        self, client: Client, code: ErrorCode, message: str, event: str | None, request_id: RequestId | None
    ) -> None:
        log.debug("client_error", role=client.role, client=client.id, code=code, failed=event)
        self._send(client, protocol.Error(code=code, message=message, failed=event), request_id)

    # --- the engine ---------------------------------------------------------------------------------------------

    def _enqueue(self, key: tuple[str, int], effect: EngineEffect) -> None:
        """Run an engine call after those about the same feed or subscription.

        A lane holds a handful at most: each of its effects is sent once in the life of a feed or subscription, but
        for an answer, which is sent again only after the one before was refused.
        """
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append(effect)
            return
        self._lanes[key] = deque((effect,))
        task = asyncio.create_task(self._run_lane(key), name=f"signaling-{key[0]}-{key[1]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_lane(self, key: tuple[str, int]) -> None:
        lane = self._lanes[key]
        try:
            while lane:
                result = await self._call(lane.popleft())
                if result is not None:
                    self._take_news(result)
        finally:
            del self._lanes[key]

    async def _call(self, effect: EngineEffect) -> RoomsEvent | None:
        """Make one engine call; return its result, good or bad."""
        try:
            async with asyncio.timeout(ENGINE_CALL_TIMEOUT_SECONDS):
                return await self._call_engine(effect)
        except sfu.EngineError as error:
            return _failed(effect, _ENGINE_CODES.get(type(error), ErrorCode.INTERNAL), str(error))
        except Exception as error:  # noqa: BLE001  an engine's bug is told to the one client that it concerns
            reference = self._log_bug("engine_call_failed", error, None, call=type(effect).__name__)
            if isinstance(effect, effects.Publish):
                self._enqueue(("feed", effect.feed), effects.Unpublish(effect.feed))
            elif isinstance(effect, effects.Subscribe):
                self._enqueue(("subscription", effect.subscription), effects.Unsubscribe(effect.subscription))
            return _failed(effect, ErrorCode.INTERNAL, _internal(reference))

    async def _call_engine(self, effect: EngineEffect) -> RoomsEvent | None:
        match effect:
            case effects.Publish(feed, sdp):
                publication = await self.engine.publish(feed, sdp)
                return effects.PublishDone(feed, publication.answer, _tracks(publication.tracks))
            case effects.Unpublish(feed):
                await self.engine.unpublish(feed)
                return None
            case effects.Subscribe(subscription, feed, tracks):
                offer = await self.engine.subscribe(subscription, feed, tracks)
                return effects.SubscribeDone(subscription, offer)
            case effects.Accept(subscription, sdp):
                await self.engine.accept(subscription, sdp)
                return effects.AnswerDone(subscription)
            case effects.Unsubscribe(subscription):
                await self.engine.unsubscribe(subscription)
                return None

    def _on_engine_event(self, event: sfu.EngineEvent) -> None:
        """Pass the engine's news on; never raises, as the engine asks of its listener."""
        log.debug("engine_event", kind=type(event).__name__, feed=event.feed)
        match event:
            case sfu.FeedStarted(feed, tracks):
                self._take_news(effects.FeedFlowing(feed, _tracks(tracks)))
            case sfu.FeedEnded(feed):
                self._take_news(effects.FeedLost(feed))
            case sfu.SubscriptionEnded(subscription):
                self._take_news(effects.SubscriptionLost(subscription))
            case sfu.SubscriptionStarted():
                pass  # the media is the news

    def _log_bug(self, what: str, error: Exception, client: Client | None, **fields: object) -> str:
        """Log a bug of ours; return the reference by which a message to the client names it."""
        reference = secrets.token_hex(4)
        log.bug(what, error, reference=reference, client=client.id if client else None, **fields)
        return reference


def _internal(reference: str) -> str:
    return f"the server failed; its log has the details under reference {reference}"


def _tracks(tracks: Sequence[sfu.TrackInfo]) -> tuple[protocol.Track, ...]:
    return tuple(protocol.Track(id=track.id, kind=track.kind, codec=track.codec, label=track.label) for track in tracks)


def _failed(effect: EngineEffect, code: ErrorCode, message: str) -> RoomsEvent | None:
    match effect:
        case effects.Publish(feed):
            return effects.PublishFailed(feed, code, message)
        case effects.Subscribe(subscription):
            return effects.SubscribeFailed(subscription, code, message)
        case effects.Accept(subscription):
            return effects.AnswerFailed(subscription, code, message, final=code is not ErrorCode.BAD_SDP)
        case effects.Unpublish() | effects.Unsubscribe():
            return None
