"""Turn: what one transition has at hand: the state, the limits and the list of effects that it adds to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signaling.effects import Send
from signaling.protocol import ErrorCode, Role
from signaling.state import InvitationExpires, RoomEnds

if TYPE_CHECKING:
    from collections.abc import Callable

    from signaling.effects import Client, Effect
    from signaling.inputs import ClientRequest
    from signaling.protocol import Outbound, RequestId
    from signaling.state import Participant, Room, State

MAX_ID_DRAWS = 100
"""Draws for an unused id. With 31-bit ids a second is rare; so many mean that the source of ids is broken."""


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """How much the tables may hold, and for how long."""

    rooms: int = 10_000
    """Some kB each."""
    rooms_per_client: int = 16
    """For WEBs; a popular device is in a room of each of its viewers."""
    members_per_room: int = 1_000
    """Every member is told of every feed."""
    feeds: int = 1_000
    """Above what one engine can receive."""
    subscriptions_per_client: int = 64
    """A wall of cameras."""
    pauses_per_subscription: int = 8
    """Requests to pause or resume that may wait for the engine, which takes a millisecond for each."""
    stop_grace_seconds: float = 5.0
    """How long devices stream on when the last WEB has left: a page reloads within this time. 0 for not at all."""
    invitation_seconds: float = 20.0
    """After how long an invitation that nobody took up is reported. A phone takes some 5 s to open its camera."""
    resume_grace_seconds: float = 30.0
    """How long a client may be without a socket."""


class RefusedError(Exception):
    """The request at hand is not allowed; nothing has been changed."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def not_in_room(room: int | None) -> RefusedError:
    """Return the refusal of what needs a join first; `room` None means any room."""
    where = "in any room" if room is None else f"in room {room}"
    return RefusedError(ErrorCode.NOT_IN_ROOM, f"this client is not {where}; send join_as_publisher first")


@dataclass(slots=True)
class Turn:
    """One event's transition."""

    state: State
    limits: RoomLimits
    allocate_id: Callable[[], int]
    now: float
    """Seconds of any steady clock."""
    effects: list[Effect] = field(default_factory=list)

    def add(self, effect: Effect) -> None:
        """Add an effect; they are carried out in this order."""
        self.effects.append(effect)

    def reply(self, request: ClientRequest, event: Outbound) -> None:
        """Answer a request."""
        self.add(Send(request.client, event, request.request_id))

    def send(self, client: Client, event: Outbound, request_id: RequestId | None = None) -> None:
        """Tell a client something."""
        self.add(Send(client, event, request_id))

    def room(self, number: int) -> Room:
        """Return a room, or refuse."""
        room = self.state.rooms.get(number)
        if room is None:
            raise RefusedError(ErrorCode.ROOM_NOT_FOUND, f"room_id: there is no room {number}")
        return room

    def is_crowded(self, room: Room, coming: int = 0) -> bool:
        """Return whether a room has no place for one more, with `coming` others on their way."""
        return len(room.members) + coming >= self.limits.members_per_room

    def enter(self, participant: Participant, room: Room) -> None:
        """Make a client a member."""
        room.members[participant.client] = None
        participant.rooms[room.id] = None
        if participant.client.role is Role.WEB:
            room.joined_by_web = True
            self.state.timers.cancel(RoomEnds(room.id))

    def drop_room(self, room: Room) -> None:
        """Take a room out of the tables."""
        for key in (RoomEnds(room.id), InvitationExpires(room.id)):
            self.state.timers.cancel(key)
        self.state.standing.pop(room.id, None)
        del self.state.rooms[room.id]

    def new_id(self) -> int:
        """Return a number by which nothing goes."""
        for _ in range(MAX_ID_DRAWS):
            number = self.allocate_id()
            if not self.state.has_id(number):
                return number
        raise AssertionError(f"{MAX_ID_DRAWS} ids in a row were in use")
