"""Service: takes what clients send to the rooms and carries the rooms' decisions out on sessions and on the engine.

Decisions are made at once, in the order of arrival, and what they send is queued at once. Engine calls take time;
each result goes back into the rooms as an event.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import TYPE_CHECKING

from . import effects, inputs, protocol
from .drain import Drain
from .engine_calls import EngineCalls
from .faults import INTERNAL_ERROR
from .logs import EventLog, internal_error
from .logs_clients import ClientLog
from .protocol import ErrorCode, ProtocolError
from .registry import Record, Registry
from .requests import to_request
from .rooms import Rooms
from .sockets.pacer import Pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sfu

    from .auth import Grant
    from .effects import Client, Effect
    from .inputs import RoomsEvent
    from .observer import Observer
    from .protocol import RequestId
    from .registry import RegistrySettings, ResumeRequest, Session
    from .rooms import RoomLimits

log = EventLog("signaling.service")

SESSIONS_STOP_TIMEOUT_SECONDS = 1.2
"""Above what a session allows itself for its last messages and its closing handshake."""
ID_BITS = 31
"""Room and feed ids stay positive in a signed 32-bit integer."""
ENDED_BY_OPERATOR = 4410
"""Close code for a client that an operator disconnects: its session is over, it may come back."""
GOING_AWAY = 1001
"""WebSocket close code of a server that stops."""


def _random_id() -> int:
    return secrets.randbits(ID_BITS) or 1


class Service:
    """One signalling service with its engine. All methods are for the event loop's thread."""

    def __init__(
        self,
        engine_settings: sfu.EngineSettings,
        limits: RoomLimits,
        registry_settings: RegistrySettings,
        *,
        ice_servers: Callable[[Client], Sequence[dict[str, str]]] = lambda _client: (),
        server_name: str,
    ) -> None:
        self._calls = EngineCalls(engine_settings, self._take_news, self._take_engine_event)
        self.engine = self._calls.engine
        self.rooms = Rooms(_random_id, limits)
        self.registry = Registry(registry_settings, self._take_news)
        self.pacer = Pacer()
        self.observers: list[Observer] = [ClientLog(self.rooms.state, self.registry)]
        self._drain = Drain(self.rooms)
        self._resumable = registry_settings.grace_seconds > 0
        self._ice_servers = ice_servers
        self._server_name = server_name
        self._news: deque[RoomsEvent] = deque()
        """What came up while an event's effects were carried out: it is handled after them."""
        self._is_handling = False
        self._timer: asyncio.Handle | None = None
        self._timer_due: float | None = None
        self._encoded: tuple[protocol.Outbound | None, str] = (None, "")
        """The last event sent: one that goes to thousands is encoded once."""

    @property
    def sessions(self) -> Mapping[Client, Session]:
        """The clients that have a socket."""
        return self.registry.sessions

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the engine; raise `sfu.EngineStartError` when its port cannot be had."""
        await self.engine.start()

    @property
    def is_watched(self) -> bool:
        """Whether anybody receives a feed, or is about to."""
        return self._drain.is_watched

    @property
    def draining(self) -> bool:
        """Whether the server is about to end: it takes no new rooms, and new clients should go elsewhere."""
        return self._drain.has_begun

    async def drain(self, seconds: float) -> None:
        """Open no more rooms, tell every client, and return when nobody watches any more, at most `seconds` later.

        May be cancelled; the service then drains on. Called again it tells the clients anew.
        """
        limit = seconds if self._drain.is_watched else 0.0
        self._drain.begin()
        log.info("draining", seconds=limit, clients=len(self.sessions), streams=self._drain.streams)
        self._take_news(inputs.ServerDraining(limit))
        if not await self._drain.wait(limit):
            log.info("drain_timed_out", seconds=limit, streams=self._drain.streams)

    async def stop(self) -> None:
        """Tell every client, close every socket, stop the engine; leave no task behind. Idempotent."""
        self._drain.begin()
        self.registry.stopping = True
        self._take_news(inputs.ServerStopping())
        sessions = list(self.sessions.values())
        for session in sessions:
            session.stop(GOING_AWAY, "the server stops", flush=True)
        try:
            async with asyncio.timeout(SESSIONS_STOP_TIMEOUT_SECONDS):
                await asyncio.gather(*(session.wait_closed() for session in sessions))
        except TimeoutError:
            log.warning("sessions_stop_timed_out", sessions=len(self.sessions))
        self.registry.end_all()
        await self._calls.stop()
        if self._timer is not None:
            self._timer.cancel()

    # --- sessions -----------------------------------------------------------------------------------------------

    async def admit(self, session: Session, resume: ResumeRequest | None = None) -> None:
        """Take a new socket in and welcome its client, or raise `ConnectionRefused`."""
        record, resumed = await self.registry.admit(session, resume)
        try:
            self._welcome(session, record, resumed=resumed)
        except BaseException:
            self.registry.lost(session, resumable=False)  # its socket closes without the session that would say so
            raise

    def _welcome(self, session: Session, record: Record, *, resumed: bool) -> None:
        client = session.client
        welcome = protocol.Welcome(
            client_id=client.id,
            role=client.role,
            resume=record.secret if self._resumable else None,
            ice_servers=tuple(self._ice_servers(client)),
            server=self._server_name,
        )
        greeting = [protocol.encode(welcome)]
        if resumed:
            self._take_news(inputs.ClientResumed(client, session.grant.serves))
            greeting.append(protocol.encode(self._what_it_has(record)))
        session.open(record.outbox, greeting)
        if not resumed:
            self._take_news(inputs.ClientConnected(client, session.grant.serves))
        log.info("client_connected", role=client.role, client=client.id, session=record.id, resumed=resumed)

    def _what_it_has(self, record: Record) -> protocol.Resumed:
        found = self.rooms.snapshot(record.client)
        all_feeds = self.rooms.state.feeds
        return protocol.Resumed(
            rooms=tuple(
                protocol.RoomFeeds(
                    room_id=room,
                    feeds=tuple(feed for feed in feeds if record.grant.knows(all_feeds[feed].publisher.id)),
                )
                for room, feeds in found.rooms.items()
            ),
            publication=found.publication,
            subscriptions=found.subscriptions,
            missed=len(record.outbox),
            received=record.received,
        )

    def close_room(self, room: int) -> bool:
        """End a room for everybody in it, as its operator; return whether there was one."""
        found = room in self.rooms.state.rooms
        self._take_news(inputs.RoomCloseOrdered(room))
        return found

    def stop_publication(self, feed: int) -> bool:
        """End a publication, as the operator; return whether there was one."""
        found = feed in self.rooms.state.feeds
        self._take_news(inputs.PublicationStopOrdered(feed))
        return found

    def disconnect(self, client: Client) -> bool:
        """End a client's session and close its socket, as the operator; return whether there was one.

        It may come back as a new client: a token can only be taken back by another secret.
        """
        record = self.registry.record(client)
        if record is None:
            return False
        if record.session is not None:
            record.session.stop(ENDED_BY_OPERATOR, "ended by the operator", resumable=False)
        self.registry.end(record, "disconnected")
        return True

    def lost(self, session: Session, *, resumable: bool) -> None:
        """Take note that a socket is closed: its client may come back within the grace period if `resumable`."""
        self.registry.lost(session, resumable=resumable)

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
            if isinstance(event, protocol.Auth):
                session.received -= 1  # as before a session, where it counts as none of its messages
                return  # who is here has been let in
            if isinstance(event, protocol.Ping):
                self._send(client, protocol.Pong(), request_id)
                return
            if isinstance(event, protocol.Ice):
                return  # candidates are checked; they are not needed to connect to an ICE-lite server
            event = self._as_granted(session.grant, event, request_id)
            self._handle(to_request(client, event, request_id))
        except ProtocolError as error:
            self._fail(client, error.code, error.message, error.event, error.request_id)
        except Exception as error:  # noqa: BLE001  one client's event must not cost it, or anyone, the connection
            reference = log.bug("event_failed", error, client=client.id, failed=name)
            self._fail(client, ErrorCode.INTERNAL, internal_error(reference), name, request_id)

    def _as_granted(self, grant: Grant, event: protocol.Inbound, request_id: RequestId | None) -> protocol.Inbound:
        """Return `event` as far as the client's token grants it, or raise `ProtocolError`."""
        refusal = grant.refuses(event)
        if refusal is None and isinstance(event, protocol.JoinAsSubscriber):
            feed = self.rooms.state.feeds.get(event.feed)
            refusal = None if feed is None else grant.refuses_feed(feed.publisher.id)
        if refusal is not None:
            raise ProtocolError(ErrorCode.FORBIDDEN, refusal, event.event, request_id)
        return grant.narrow(event)

    # --- the rooms ----------------------------------------------------------------------------------------------

    def _take_news(self, event: RoomsEvent) -> None:
        """Handle what no client waits for; a bug in it must not end who reports it."""
        if self._is_handling:
            self._news.append(event)
            return
        try:
            self._handle(event)
        except Exception as error:  # noqa: BLE001  see the docstring
            log.bug("news_failed", error, news=type(event).__name__)

    def _handle(self, event: RoomsEvent) -> None:
        """Have the rooms decide and carry out what they decide; then see to what came up meanwhile."""
        self._is_handling = True
        try:
            self._decide(event)
        finally:
            while self._news:
                later = self._news.popleft()
                try:
                    self._decide(later)
                except Exception as error:  # noqa: BLE001  it is no other event's fault
                    log.bug("news_failed", error, news=type(later).__name__)
            self._is_handling = False
            self._encoded = (None, "")
            self._drain.look()
            self._set_timer()

    def _decide(self, event: RoomsEvent) -> None:
        now = asyncio.get_running_loop().time()
        decided = self.rooms.handle(event, now)
        self._tell_observers(lambda observer: observer.decided(event, decided, now))
        for effect in decided:
            try:
                self._carry_out(effect)
            except Exception as error:  # noqa: BLE001  the other effects of this event concern other clients
                self._effect_failed(effect, error)

    def _effect_failed(self, effect: Effect, error: Exception) -> None:
        """Close the client that was not told something: it would go on with what is not so any more."""
        client = effect.client if isinstance(effect, effects.Send | effects.Fail) else None
        session = None if client is None else self.sessions.get(client)
        reference = log.bug(
            "effect_failed", error, effect=type(effect).__name__, client=None if client is None else client.id
        )
        if session is not None:
            session.stop(INTERNAL_ERROR, internal_error(reference), resumable=False)

    def _take_engine_event(self, event: sfu.EngineEvent) -> None:
        now = asyncio.get_running_loop().time()
        self._tell_observers(lambda observer: observer.media(event, now))

    def _tell_observers(self, tell: Callable[[Observer], None]) -> None:
        for observer in self.observers:
            try:
                tell(observer)
            except Exception as error:  # noqa: BLE001  who only looks on must not change what happens
                log.bug("observer_failed", error, observer=type(observer).__name__)

    def _set_timer(self) -> None:
        """Have one timer, for when the rooms' next deadline comes."""
        due = self.rooms.deadline()
        if self._timer is not None:
            # Our own note: the handle has another type when the time is past (uvloop), and rounds it.
            if self._timer_due == due:
                return
            self._timer.cancel()
            self._timer = None
        self._timer_due = due
        if due is not None:
            self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._take_news(inputs.Tick())

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case effects.Send(client, event, request_id):
                self._send(client, event, request_id)
            case effects.Fail(client, code, message, event_name, request_id):
                self._fail(client, code, message, event_name, request_id)
            case effects.Fault(timer, error):
                log.bug("timer_failed", error, timer=timer)
            case effects.Forget(client):
                record = self.registry.record(client)
                session = None if record is None else record.id
                self.registry.forget(client)
                log.info("client_gone", role=client.role, client=client.id, session=session, reason="disconnected")
            case _:
                self._calls.run(effect)

    def _send(self, client: Client, event: protocol.Outbound, request_id: RequestId | None) -> None:
        self.registry.deliver(client, event, lambda shown: self._encode(shown, request_id))

    def _encode(self, event: protocol.Outbound, request_id: RequestId | None) -> str:
        if request_id is not None:
            return protocol.encode(event, request_id)
        if self._encoded[0] is not event:
            self._encoded = (event, protocol.encode(event))
        return self._encoded[1]

    def _fail(
        self, client: Client, code: ErrorCode, message: str, event: str | None, request_id: RequestId | None
    ) -> None:
        record = self.registry.record(client)
        session = None if record is None else record.id
        log.info("client_error", role=client.role, client=client.id, session=session, code=code, failed=event)
        self._send(client, protocol.Error(code=code, message=message, failed=event), request_id)
