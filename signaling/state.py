"""Who is in which room, who publishes, who watches: the data that `Rooms` moves. Pure, no decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from .protocol import Role
from .timers import Timers

if TYPE_CHECKING:
    from .effects import Client
    from .protocol import DeviceStatus, RequestId, Track


@dataclass(frozen=True, slots=True)
class RoomEnds:
    """Due when a room that no WEB is in has been kept for long enough."""

    room: int


@dataclass(frozen=True, slots=True)
class InvitationExpires:
    """Due when the oldest invitation to a room has been open for too long."""

    room: int


@dataclass(frozen=True, slots=True)
class AbsenceEnds:
    """Due when a client whose socket is closed has stayed away for too long."""

    client: Client


TimerKey = RoomEnds | InvitationExpires | AbsenceEnds


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
    since: float = 0.0
    """When it connected; here and below by the clock of `Rooms.handle`."""
    serves: frozenset[int] | None = None
    """The rooms that it may publish to; None for every one."""
    rooms: dict[int, None] = field(default_factory=dict)
    created: dict[int, None] = field(default_factory=dict)
    """Living rooms that this client opened, joined or not."""
    feed: int | None = None
    """What it publishes. The feed belongs to every room that its publisher is in."""
    subscriptions: dict[int, None] = field(default_factory=dict)
    """Its subscriptions; the one whose offer is the newest comes last."""
    invitations: dict[int, None] = field(default_factory=dict)
    """Rooms that it was asked to publish to and that wait for its media."""
    listed: DeviceStatus | None = None
    """As which a device was last listed: making ten thousand of these anew takes longer than sending them."""

    def may_serve(self, room: int) -> bool:
        """Return whether it may publish to a room."""
        return self.serves is None or room in self.serves


@dataclass(slots=True)
class Invitation:
    """One device is asked to publish to one room, until its media flows there."""

    inviters: tuple[Client, ...]
    """Who asked, the first first."""
    due: float
    """When they are told that nothing came of it."""


@dataclass(slots=True)
class Room:
    """One room. It lives while a WEB is in it; before the first one comes, while its creator is connected.

    With devices in it, or on their way, it is kept for a while longer: see `RoomEnds`.
    """

    id: int
    creator: Client
    since: float = 0.0
    """When it was opened."""
    members: dict[Client, None] = field(default_factory=dict)
    announced: dict[int, dict[Client, None]] = field(default_factory=dict)
    """Feed to the WEBs that were sent `start_listening` for it in this room."""
    joined_by_web: bool = False
    invitations: dict[Client, Invitation] = field(default_factory=dict)
    """Devices that were asked and whose media does not flow yet; in the order in which they are due."""
    standing: dict[str | None, Client] = field(default_factory=dict)
    """Who invites devices that come later: by device id, None for every one."""

    def is_watched(self) -> bool:
        """Return whether a WEB is in it."""
        return any(client.role is Role.WEB for client in self.members)

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
    since: float = 0.0
    """When its first offer came."""
    state: FeedState = FeedState.ANSWERING
    tracks: tuple[Track, ...] = ()
    subscriptions: dict[int, None] = field(default_factory=dict)
    republishing: bool = False
    """Whether the engine works on a further offer."""

    def is_negotiating(self) -> bool:
        """Return whether an offer waits for its answer."""
        return self.republishing or self.state is FeedState.ANSWERING


@dataclass(slots=True)
class Subscription:
    """One WEB's connection for one feed, asked for in `room` and ending with its membership there."""

    id: int
    feed: int
    room: int
    client: Client
    request_id: RequestId | None
    """Of the request that the engine works on."""
    since: float = 0.0
    """When it was asked for."""
    state: SubscriptionState = SubscriptionState.OPENING
    pauses: list[tuple[str, RequestId | None]] = field(default_factory=list)
    """Event and id of each request to pause or resume that the engine works on, in order."""


@dataclass(slots=True)
class State:
    """Every table."""

    participants: dict[Client, Participant] = field(default_factory=dict)
    devices: dict[Client, None] = field(default_factory=dict)
    """The participants that are devices, and below those that watch: there may be thousands of the others."""
    webs: dict[Client, None] = field(default_factory=dict)
    rooms: dict[int, Room] = field(default_factory=dict)
    feeds: dict[int, Feed] = field(default_factory=dict)
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    standing: dict[int, None] = field(default_factory=dict)
    """Rooms that invite whoever comes online."""
    timers: Timers[TimerKey] = field(default_factory=Timers)
    ends_at: float | None = None
    """When the server will have ended, by the clock of the timers; None while it goes on."""

    def add(self, client: Client, now: float, serves: frozenset[int] | None = None) -> None:
        """Take a client in, which may publish to the rooms `serves`."""
        self.participants[client] = Participant(client, now, serves)
        (self.devices if client.role is Role.DEVICE else self.webs)[client] = None

    def remove(self, client: Client) -> None:
        """Let a client go that is part of nothing any more."""
        del self.participants[client]
        del (self.devices if client.role is Role.DEVICE else self.webs)[client]

    def has_id(self, number: int) -> bool:
        """Return whether anything goes by this number."""
        return number in self.rooms or number in self.feeds or number in self.subscriptions

    def is_empty(self) -> bool:
        """Return whether nothing is left."""
        return not (self.participants or self.rooms or self.feeds or self.subscriptions or len(self.timers))

    def check(self) -> None:
        """Raise `AssertionError` where two tables disagree. For tests: it walks everything."""
        _hold({*self.devices, *self.webs} == set(self.participants), "the clients by role")
        _hold(self.standing.keys() == {room.id for room in self.rooms.values() if room.standing}, "standing")
        for client, participant in self.participants.items():
            self._check_participant(client, participant)
        for room in self.rooms.values():
            self._check_room(room)
        for feed in self.feeds.values():
            _hold(self.participants[feed.publisher].feed == feed.id, f"publisher of {feed}")
            _hold(bool(self.participants[feed.publisher].rooms), f"{feed} is in no room")
            flows = feed.state is FeedState.FLOWING
            waits = self.participants[feed.publisher].invitations
            _hold(not (flows and waits), f"{feed} flows and its device is still waited for")
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
        _hold(all(map(participant.may_serve, participant.invitations)), f"{participant} is asked in vain")
        for number in participant.rooms:
            _hold(client in self.rooms[number].members, f"room {number} of {participant}")
        for number in participant.created:
            _hold(self.rooms[number].creator == client, f"created room {number} of {participant}")
        for number in participant.invitations:
            _hold(client in self.rooms[number].invitations, f"invitation {number} of {participant}")
        if participant.feed is not None:
            _hold(self.feeds[participant.feed].publisher == client, f"feed of {participant}")
        watched = [self.subscriptions[number].feed for number in participant.subscriptions]
        _hold(len(set(watched)) == len(watched), f"{client} has one feed twice")

    def _check_room(self, room: Room) -> None:
        creator = self.participants.get(room.creator)
        awaited = not room.joined_by_web and creator is not None and room.id in creator.created
        kept = RoomEnds(room.id) in self.timers
        _hold(kept != (room.is_watched() or awaited), f"nobody holds {room}, or it ends too soon")
        _hold(not kept or bool(room.members or room.invitations), f"{room} is kept for nobody")
        _hold(not room.invitations or InvitationExpires(room.id) in self.timers, f"invitations of {room} never end")
        for client in room.invitations:
            _hold(room.id in self.participants[client].invitations, f"invited {client} of {room}")
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
