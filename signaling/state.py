"""Who is in which room, who publishes, who watches: the data that `Rooms` moves. Pure, no decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from .protocol import Role

if TYPE_CHECKING:
    from .effects import Client
    from .protocol import RequestId, Track


class FeedState(Enum):
    """How far a publication has come."""

    ANSWERING = auto()
    """The engine works on the offer."""
    ANSWERED = auto()
    """The publisher has its answer; no media has come."""
    FLOWING = auto()
    """Media has come; rooms are told."""


class SubscriptionState(Enum):
    """How far a subscription has come."""

    OPENING = auto()
    """The engine works on the offer."""
    OFFERED = auto()
    """The subscriber has its offer."""
    ACCEPTING = auto()
    """The engine works on the answer."""
    ACCEPTED = auto()
    """The engine has taken the answer."""


@dataclass(slots=True)
class Participant:
    """One connected client. Rooms and subscriptions are dicts for their order; the values mean nothing."""

    client: Client
    rooms: dict[int, None] = field(default_factory=dict)
    created: dict[int, None] = field(default_factory=dict)
    """Living rooms that this client opened, joined or not."""
    feed: int | None = None
    """What it publishes. The feed belongs to every room that its publisher is in."""
    subscriptions: dict[int, None] = field(default_factory=dict)


@dataclass(slots=True)
class Room:
    """One room. It lives while a WEB is in it; before the first one comes, while its creator is connected."""

    id: int
    creator: Client
    members: dict[Client, None] = field(default_factory=dict)
    announced: dict[int, dict[Client, None]] = field(default_factory=dict)
    """Feed to the WEBs that were sent `start_listening` for it in this room."""
    joined_by_web: bool = False

    def webs(self) -> list[Client]:
        """Return the members that watch, in the order in which they came."""
        return [client for client in self.members if client.role is Role.WEB]


@dataclass(slots=True)
class Feed:
    """One publication."""

    id: int
    publisher: Client
    request_id: RequestId | None
    """Of the offer that waits for its answer."""
    state: FeedState = FeedState.ANSWERING
    tracks: tuple[Track, ...] = ()
    subscriptions: dict[int, None] = field(default_factory=dict)


@dataclass(slots=True)
class Subscription:
    """One WEB's connection for one feed, asked for in `room` and ending with its membership there."""

    id: int
    feed: int
    room: int
    client: Client
    request_id: RequestId | None
    """Of the request that the engine works on."""
    state: SubscriptionState = SubscriptionState.OPENING


@dataclass(slots=True)
class State:
    """Every table."""

    participants: dict[Client, Participant] = field(default_factory=dict)
    rooms: dict[int, Room] = field(default_factory=dict)
    feeds: dict[int, Feed] = field(default_factory=dict)
    subscriptions: dict[int, Subscription] = field(default_factory=dict)

    def has_id(self, number: int) -> bool:
        """Return whether anything goes by this number."""
        return number in self.rooms or number in self.feeds or number in self.subscriptions

    def is_empty(self) -> bool:
        """Return whether nothing is left."""
        return not (self.participants or self.rooms or self.feeds or self.subscriptions)

    def check(self) -> None:
        """Raise `AssertionError` where two tables disagree. For tests: it walks everything."""
        for client, participant in self.participants.items():
            self._check_participant(client, participant)
        for room in self.rooms.values():
            self._check_room(room)
        for feed in self.feeds.values():
            _hold(self.participants[feed.publisher].feed == feed.id, f"publisher of {feed}")
            _hold(bool(self.participants[feed.publisher].rooms), f"{feed} is in no room")
            for number in feed.subscriptions:
                _hold(self.subscriptions[number].feed == feed.id, f"subscription {number} of {feed}")
        for subscription in self.subscriptions.values():
            owner = self.participants[subscription.client]
            _hold(subscription.id in owner.subscriptions, f"owner of {subscription}")
            _hold(subscription.id in self.feeds[subscription.feed].subscriptions, f"feed of {subscription}")
            _hold(subscription.room in owner.rooms, f"room of {subscription}")
            publisher = self.feeds[subscription.feed].publisher
            _hold(publisher in self.rooms[subscription.room].members, f"{subscription} is for a feed of another room")

    def _check_participant(self, client: Client, participant: Participant) -> None:
        _hold(participant.client == client, f"key of {participant}")
        for number in participant.rooms:
            _hold(client in self.rooms[number].members, f"room {number} of {participant}")
        for number in participant.created:
            _hold(self.rooms[number].creator == client, f"created room {number} of {participant}")
        if participant.feed is not None:
            _hold(self.feeds[participant.feed].publisher == client, f"feed of {participant}")
        watched = [self.subscriptions[number].feed for number in participant.subscriptions]
        _hold(len(set(watched)) == len(watched), f"{client} has one feed twice")

    def _check_room(self, room: Room) -> None:
        _hold(bool(room.webs()) or not room.joined_by_web, f"nobody watches in {room}")
        _hold(bool(room.webs()) or room.creator in self.participants, f"nobody holds {room}")
        for client in room.members:
            _hold(room.id in self.participants[client].rooms, f"member {client} of {room}")
        for number, webs in room.announced.items():
            feed = self.feeds[number]
            _hold(feed.state is FeedState.FLOWING, f"{feed} was announced before it flowed")
            _hold(feed.publisher in room.members, f"{feed} was announced in {room}")
            _hold(bool(webs) and all(web in room.members for web in webs), f"announced in {room}")


def _hold(condition: bool, what: str) -> None:  # noqa: FBT001  reads as an assertion
    if not condition:
        raise AssertionError(what)
