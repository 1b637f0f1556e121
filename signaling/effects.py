"""What comes out of `Rooms`: what is to be done, and for whom. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .protocol import ErrorCode, Kind, Outbound, RequestId, Role


class Client(NamedTuple):
    """Who a participant is. The same id may be in use once as a WEB and once as a DEVICE."""

    role: Role
    id: str


@dataclass(frozen=True, slots=True)
class Send:
    """Tell a client something; with `request_id` it is the reply to that request."""

    client: Client
    event: Outbound
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """Tell a client that its event `event` failed."""

    client: Client
    code: ErrorCode
    message: str
    event: str
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """Have the engine answer an offer as a new feed."""

    feed: int
    sdp: str


@dataclass(frozen=True, slots=True)
class Forget:
    """A client has not come back in time: what was kept for it is of no more use."""

    client: Client


class Fault(NamedTuple):
    """What was due at a timer was not decided, by a bug of ours; what else was due has been."""

    timer: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Republish:
    """Have the engine answer a further offer on a feed."""

    feed: int
    sdp: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Have the engine pause, or with `paused` False resume, kinds of a subscription."""

    subscription: int
    kinds: frozenset[Kind]
    paused: bool


@dataclass(frozen=True, slots=True)
class Unpublish:
    """Have the engine end a feed and all subscriptions to it."""

    feed: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Have the engine open a subscription."""

    subscription: int
    feed: int
    tracks: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Accept:
    """Have the engine take a subscriber's answer."""

    subscription: int
    sdp: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Have the engine end a subscription."""

    subscription: int


EngineEffect = Publish | Republish | Unpublish | Subscribe | Accept | Pause | Unsubscribe
Effect = Send | Fail | Forget | Fault | EngineEffect
