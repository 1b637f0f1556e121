"""Clients come, are absent for a while, open rooms, join, leave and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signaling import protocol
from signaling.effects import Fail, Forget, Send
from signaling.protocol import ErrorCode, Role
from signaling.state import AbsenceEnds, Room

from . import presence
from .announcing import announce
from .ending import end_unless_held
from .publishing import end_feed, withdraw
from .subscribing import drop_subscription
from .turn import RefusedError, not_in_room

if TYPE_CHECKING:
    from signaling.effects import Client
    from signaling.inputs import (
        ClientAbsent,
        ClientConnected,
        ClientGone,
        ClientResumed,
        JoinRequested,
        LeaveRequested,
        RoomRequested,
        ServerDraining,
        ServerStopping,
    )
    from signaling.protocol import EndReason
    from signaling.state import Participant

    from .turn import Turn


_TOLD_BY_DEVICE_OFFLINE = frozenset({"disconnected", "replaced", "shutdown"})
"""Reasons of a client that is gone altogether."""

# --- clients -------------------------------------------------------------------------------------------------------


def connected(turn: Turn, event: ClientConnected) -> None:
    """Take a new client in."""
    if event.client in turn.state.participants:
        raise AssertionError(f"{event.client} is connected already")
    turn.state.add(event.client, turn.now, event.serves)
    if turn.state.ends_at is not None:
        turn.send(event.client, _end_is_near(turn, turn.state.ends_at))
    if event.client.role is Role.DEVICE:
        presence.device_came(turn, event.client)


def absent(turn: Turn, event: ClientAbsent) -> None:
    """Keep all that a client is part of until it comes back or the grace period ends."""
    if event.client in turn.state.participants:
        turn.state.timers.set(AbsenceEnds(event.client), turn.now + turn.limits.resume_grace_seconds)


def resumed(turn: Turn, event: ClientResumed) -> None:
    """Note that a client is back."""
    turn.state.participants[event.client].serves = event.serves
    turn.state.timers.cancel(AbsenceEnds(event.client))


def absence_ends(turn: Turn, key: AbsenceEnds) -> None:
    """Give a client up that has not come back."""
    _go(turn, key.client, "disconnected")
    turn.add(Forget(key.client))


def gone(turn: Turn, event: ClientGone) -> None:
    """Undo all that a client was part of; tell it nothing."""
    if event.client in turn.state.participants:
        turn.state.timers.cancel(AbsenceEnds(event.client))
        _go(turn, event.client, event.reason)


def _go(turn: Turn, client: Client, reason: EndReason) -> None:
    participant = turn.state.participants[client]
    for room in _rooms_of(turn, participant):
        depart(turn, participant, room, reason)
    for number in list(participant.invitations):
        presence.close_invitation(turn, turn.state.rooms[number], client)
        end_unless_held(turn, turn.state.rooms[number])
    for number in list(participant.created):  # others hold these; nobody awaits their creator any more
        participant.created.pop(number)
    turn.state.remove(client)
    turn.effects[:] = [
        effect for effect in turn.effects if not (isinstance(effect, (Send, Fail)) and effect.client == client)
    ]
    if client.role is Role.DEVICE:
        presence.device_went(turn, client)


# --- rooms ---------------------------------------------------------------------------------------------------------


def create_room(turn: Turn, event: RoomRequested) -> None:
    """Open a room; its creator is not in it yet."""
    participant = turn.state.participants[event.client]
    if turn.state.ends_at is not None:
        raise RefusedError(ErrorCode.BAD_STATE, "the server is about to end and opens no rooms; connect again soon")
    limit = turn.limits.rooms_per_client
    if len(participant.created) >= limit:
        raise RefusedError(
            ErrorCode.BAD_STATE, f"this client has opened {limit} rooms, the most it may; leave one first"
        )
    if len(turn.state.rooms) >= turn.limits.rooms:
        raise RefusedError(ErrorCode.BAD_STATE, f"the server has {turn.limits.rooms} rooms, the most it may")
    room = Room(turn.new_id(), event.client, turn.now)
    turn.state.rooms[room.id] = room
    participant.created[room.id] = None
    turn.reply(event, protocol.RoomCreated(room_id=room.id))


def join(turn: Turn, event: JoinRequested) -> None:
    """Become a member; joining again only repeats the reply."""
    participant = turn.state.participants[event.client]
    room = turn.room(event.room)
    if room.id not in participant.rooms:
        limit = turn.limits.rooms_per_client
        if event.client.role is Role.WEB and len(participant.rooms) >= limit:
            raise RefusedError(
                ErrorCode.BAD_STATE, f"this client is in {limit} rooms, the most it may; leave one first"
            )
        if turn.is_crowded(room):
            limit = turn.limits.members_per_room
            raise RefusedError(ErrorCode.BAD_STATE, f"room {room.id} has {limit} members, the most it may")
    turn.enter(participant, room)
    turn.reply(event, protocol.JoinedAsPublisher(room_id=room.id))
    for member in room.members:
        announce(turn, turn.state.participants[member], room)


def leave(turn: Turn, event: LeaveRequested) -> None:
    """Leave one room or all of them."""
    participant = turn.state.participants[event.client]
    rooms = _rooms_of(turn, participant)
    if event.room is not None:
        asked = turn.room(event.room)
        rooms = [room for room in rooms if room is asked]
        if not rooms:
            raise not_in_room(asked.id)
    elif not rooms:
        raise not_in_room(None)
    for room in rooms:
        turn.reply(event, protocol.Left(room_id=room.id))
        depart(turn, participant, room, "left")


def _rooms_of(turn: Turn, participant: Participant) -> list[Room]:
    """Return what a client can leave: rooms it is in, and rooms it opened that no WEB has joined yet."""
    numbers = dict.fromkeys((*participant.rooms, *participant.created))
    rooms = [turn.state.rooms[number] for number in numbers]
    return [room for room in rooms if room.id in participant.rooms or not room.joined_by_web]


def depart(turn: Turn, participant: Participant, room: Room, reason: EndReason) -> None:
    """Take a client out of a room, or give a room up that it opened and nobody has joined."""
    client = participant.client
    if room.id in participant.rooms:
        if participant.feed is not None:
            withdraw(turn, turn.state.feeds[participant.feed], room, reason)
        for number in list(participant.subscriptions):
            if turn.state.subscriptions[number].room == room.id:
                drop_subscription(turn, number, "its client left the room")
        for feed, webs in list(room.announced.items()):
            webs.pop(client, None)
            if not webs:
                del room.announced[feed]
        del room.members[client]
        del participant.rooms[room.id]
    if reason in _TOLD_BY_DEVICE_OFFLINE:
        presence.close_invitation(turn, room, client)
    else:
        presence.decline(turn, room, client)
    if not room.joined_by_web and room.creator == client:
        participant.created.pop(room.id, None)
    end_unless_held(turn, room)


def draining(turn: Turn, event: ServerDraining) -> None:
    """Tell everybody that the server will end, and from now on open no room; what there is goes on."""
    turn.state.ends_at = turn.now + event.seconds
    news = _end_is_near(turn, turn.state.ends_at)
    for client in turn.state.participants:
        turn.send(client, news)


def _end_is_near(turn: Turn, ends_at: float) -> protocol.ServerDraining:
    return protocol.ServerDraining(seconds=round(max(ends_at - turn.now, 0.0), 1))


def stopping(turn: Turn, _event: ServerStopping) -> None:
    """Tell everybody and empty the rooms; the sockets, and with them the clients, go next."""
    for feed in list(turn.state.feeds.values()):
        end_feed(turn, feed, "shutdown")
    for participant in turn.state.participants.values():
        if participant.client.role is Role.DEVICE and participant.rooms:
            room = next(iter(participant.rooms))
            turn.send(participant.client, protocol.StopStreaming(room_id=room, reason="shutdown"))
        participant.rooms.clear()
        participant.created.clear()
        participant.invitations.clear()
    turn.state.rooms.clear()
    turn.state.standing.clear()
    turn.state.timers.clear()
