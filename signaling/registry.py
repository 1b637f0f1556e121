"""Registry: who is connected, who may come back, and who may connect."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from . import inputs, protocol
from .faults import INTERNAL_ERROR
from .logs import EventLog
from .protocol import ErrorCode
from .sockets.outbox import Outbox, OutboxLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .auth import Grant
    from .effects import Client
    from .inputs import RoomsEvent
    from .protocol import EndReason

log = EventLog("signaling.registry")

SECRET_BYTES = 32
"""Of a resume secret: 256 random bits cannot be guessed."""

LOG_ID_BYTES = 4
"""Of the id of a session in the log: unique among those of one client."""

CLOSE_CODES: Mapping[ErrorCode, int] = {
    ErrorCode.BAD_ROLE: 4400,
    ErrorCode.BAD_CLIENT_ID: 4400,
    ErrorCode.UNAUTHORIZED: 4401,
    ErrorCode.FORBIDDEN: 4403,
    ErrorCode.CLIENT_ID_IN_USE: 4409,
    ErrorCode.SERVER_FULL: 4429,
    ErrorCode.INTERNAL: INTERNAL_ERROR,
}
"""How the socket closes after a refused connection."""
REPLACED = CLOSE_CODES[ErrorCode.CLIENT_ID_IN_USE]


class ConnectionRefused(Exception):  # noqa: N818  it is news for the client, not a failure of ours
    """A client may not connect; `message` is fit for it to read."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ResumeRequest(NamedTuple):
    """What a client shows to take its session over."""

    secret: str
    received: int | None
    """How many messages it has got in the session, `welcome` and `resumed` not counted; None where it does not say."""


class Session(Protocol):
    """What the service needs of one client's socket."""

    client: Client
    grant: Grant
    received: int
    """How many messages the client has sent in the session, over all its sockets."""

    def open(self, outbox: Outbox, greeting: list[str]) -> None:
        """Begin to write: first `greeting`, which counts as none of the session's messages, then the outbox."""
        ...

    def send(self, text: str) -> None:
        """Queue one message; never blocks. A client that is too slow for its outbox is closed."""
        ...

    def stop(self, code: int, reason: str, *, flush: bool = False, resumable: bool = True) -> None:
        """Close soon, after what is queued if `flush`."""
        ...

    def detach(self) -> None:
        """Take nothing more from the outbox: another socket does."""
        ...

    async def is_alive(self, timeout: float) -> bool:  # noqa: ASYNC109  the wait is the question
        """Return whether the client answers a ping within `timeout` seconds."""
        ...

    async def wait_closed(self) -> None:
        """Return when the socket is closed."""
        ...


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Who may connect, and for how long they may be away."""

    max_sessions: int = 2000
    """Clients that are connected at once, and as many that are away."""
    probe_seconds: float = 2.0
    """For an older socket to show that it lives, before a newer one takes its client id."""
    newest_wins: bool = False
    """Whether a newer socket takes the id from a living one: with tokens, an id is one client's."""
    grace_seconds: float = 30.0
    """How long a client may be without a socket; 0 ends its session with the socket."""
    outbox: OutboxLimits = field(default_factory=OutboxLimits)


@dataclass(slots=True, eq=False)
class Record:
    """What of a client outlives its socket."""

    client: Client
    grant: Grant
    outbox: Outbox
    secret: str
    id: str = field(default_factory=lambda: secrets.token_hex(LOG_ID_BYTES))
    """By which the lines of one session are found in the log, over all its sockets; it opens nothing."""
    session: Session | None = None
    received: int = 0


class Registry:
    """Every client's record. `listener` is told who comes and goes."""

    def __init__(self, settings: RegistrySettings, listener: Callable[[RoomsEvent], None]) -> None:
        self.sessions: dict[Client, Session] = {}
        """The clients that have a socket."""
        self._settings = settings
        self._listener = listener
        self._records: dict[Client, Record] = {}
        self._absent: dict[Client, None] = {}
        """The clients that have none, the longest absent first."""
        self.stopping = False

    @property
    def absent(self) -> int:
        """How many clients have no socket and may come back."""
        return len(self._absent)

    def record(self, client: Client) -> Record | None:
        """Return what is kept for a client, if it is connected or may come back."""
        return self._records.get(client)

    async def admit(self, session: Session, resume: ResumeRequest | None) -> tuple[Record, bool]:
        """Let a socket in and return its record, and whether it goes on with an earlier session.

        Raises `ConnectionRefused`. A resume that does not fit is none: the client begins anew, by the same rules as
        if it had not asked.
        """
        resumed = self._resumable(session, resume)
        if resumed is not None:
            self._take_over(resumed, session)
            return resumed, True
        await self._make_way(session)
        record = Record(session.client, session.grant, Outbox(self._settings.outbox), _new_secret())
        self._records[session.client] = record
        self._bind(record, session)
        return record, False

    def _resumable(self, session: Session, resume: ResumeRequest | None) -> Record | None:
        client = session.client
        record = self._records.get(client)
        if resume is None or record is None or self.stopping:
            return None
        if not hmac.compare_digest(record.secret.encode(), resume.secret.encode("utf-8", "replace")):
            log.info("resume_refused", role=client.role, client=client.id, session=record.id, why="secret")
            return None
        if not session.grant.covers(record.grant):
            # What runs, and what waits to be told, is what the earlier token granted.
            log.info("resume_refused", role=client.role, client=client.id, session=record.id, why="token grants less")
            return None
        self._check_room(record.client)
        if record.session is not None:
            record.session.detach()
        if not record.outbox.rewind(resume.received):
            log.info("resume_refused", role=client.role, client=client.id, session=record.id, why="messages lost")
            self._stop(record, "the session cannot be resumed")
            self.end(record, "disconnected")
            return None
        return record

    def _take_over(self, record: Record, session: Session) -> None:
        if record.session is not None:
            record.received = record.session.received
            self._stop(record, "taken over by a newer connection")
        record.grant = session.grant
        self._bind(record, session)

    def _bind(self, record: Record, session: Session) -> None:
        record.session = session
        session.received = record.received
        self.sessions[record.client] = session
        self._absent.pop(record.client, None)

    async def _make_way(self, session: Session) -> None:
        """End what is left of an earlier client of this id, or refuse the newer one.

        Without tokens an id that is in use is refused while its socket answers a ping: random ids do collide.
        """
        self._check_room(session.client)
        while (older := self._records.get(session.client)) is not None:
            if not await self._may_replace(older):
                raise ConnectionRefused(
                    ErrorCode.CLIENT_ID_IN_USE,
                    f"client id {session.client.id} is in use by another {session.client.role}; take another id",
                )
            self._check_room(session.client)  # others may have come while we waited
            if self._records.get(session.client) is older:
                self._stop(older, "replaced by a newer connection")
                self.end(older, "replaced")
        if self.stopping:
            raise ConnectionRefused(ErrorCode.SERVER_FULL, "the server is stopping; try again later")

    def _check_room(self, client: Client) -> None:
        """Refuse a client that would be one too many; who is connected takes its own place."""
        limit = self._settings.max_sessions
        if client not in self.sessions and len(self.sessions) >= limit:
            raise ConnectionRefused(
                ErrorCode.SERVER_FULL, f"the server has {limit} clients, the most it may; try again later"
            )

    async def _may_replace(self, older: Record) -> bool:
        if older.session is None or self._settings.newest_wins:
            return True
        return not await older.session.is_alive(self._settings.probe_seconds)

    def _stop(self, record: Record, reason: str) -> None:
        if record.session is not None:
            record.session.stop(REPLACED, reason, resumable=False)

    def lost(self, session: Session, *, resumable: bool) -> None:
        """Take note that a socket is closed. Harmless when another has taken its place."""
        record = self._records.get(session.client)
        if record is None or record.session is not session:
            return
        if not resumable or self.stopping or self._settings.grace_seconds <= 0:
            self.end(record, "disconnected")
            return
        record.session = None
        record.received = session.received
        del self.sessions[record.client]
        self._absent[record.client] = None
        log.info("client_absent", role=record.client.role, client=record.client.id, session=record.id)
        self._listener(inputs.ClientAbsent(record.client))
        if len(self._absent) > self._settings.max_sessions:
            self.end(self._records[next(iter(self._absent))], "disconnected")

    def end(self, record: Record, reason: EndReason) -> None:
        """End a session for good: a leave. Harmless when repeated."""
        if self.forget(record.client, record):
            client = record.client
            log.info("client_gone", role=client.role, client=client.id, session=record.id, reason=reason)
            self._listener(inputs.ClientGone(record.client, reason))

    def forget(self, client: Client, record: Record | None = None) -> bool:
        """Drop what is kept for a client; return whether there was anything. With `record`, only that one."""
        found = self._records.get(client)
        if found is None or (record is not None and found is not record):
            return False
        del self._records[client]
        self.sessions.pop(client, None)
        self._absent.pop(client, None)
        return True

    def end_all(self) -> None:
        """End every session that is left."""
        for record in list(self._records.values()):
            self.end(record, "shutdown")

    def deliver(self, client: Client, event: protocol.Outbound, text: Callable[[protocol.Outbound], str]) -> None:
        """Queue an event for a client as far as its token lets it know, now or for when it is back."""
        record = self._records.get(client)
        shown = None if record is None else record.grant.show(event)
        if record is None or shown is None:
            return
        if record.session is not None:
            record.session.send(text(shown))
        elif not record.outbox.put(text(shown)):
            log.warning("outbox_full", role=client.role, client=client.id, messages=len(record.outbox))
            self.end(record, "disconnected")


def _new_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)
