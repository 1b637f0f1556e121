"""Clients come, open rooms, join, invite, leave and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signaling import protocol
from signaling.effects import Client, Fail, Send
from signaling.protocol import ErrorCode, Role
from signaling.state import Participant, Room

from .publishing import announce, end_feed, withdraw
from .subscribing import drop_subscription
from .turn import RefusedError, not_in_room

if TYPE_CHECKING:
    from signaling.effects import (
        ClientConnected,
        ClientGone,
        InviteRequested,
        JoinRequested,
        LeaveRequested,
        RoomRequested,
        ServerStopping,
    )
    from signaling.protocol import EndReason

    from .turn import Turn


def connected(turn: Turn, event: ClientConnected) -> None:
    """Take a new client in."""
    if event.client in turn.state.participants:
        raise AssertionError(f"{event.client} is connected already")
    turn.state.participants[event.client] = Participant(event.client)


def gone(turn: Turn, event: ClientGone) -> None:
    """Undo all that a client was part of; tell it nothing."""
    participant = turn.state.participants.get(event.client)
    if participant is None:
        return
    for room in _rooms_of(turn, participant):
        _depart(turn, participant, room, event.reason)
    del turn.state.participants[event.client]
    turn.effects[:] = [
        effect for effect in turn.effects if not (isinstance(effect, (Send, Fail)) and effect.client == event.client)
    ]


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
        _depart(turn, participant, room, "left")


def _rooms_of(turn: Turn, participant: Participant) -> list[Room]:
    """Return what a client can leave: rooms it is in, and rooms it opened that no WEB has joined yet."""
    numbers = dict.fromkeys((*participant.rooms, *participant.created))
    rooms = [turn.state.rooms[number] for number in numbers]
    return [room for room in rooms if room.id in participant.rooms or not room.joined_by_web]


def _depart(turn: Turn, participant: Participant, room: Room, reason: EndReason) -> None:
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
    creator_holds = not room.joined_by_web and room.creator != client
    if not creator_holds and not room.webs():
        _close_room(turn, room)


def _close_room(turn: Turn, room: Room) -> None:
    """End a room that nobody watches: its devices leave it, and stop when it was their last."""
    for client in list(room.members):
        device = turn.state.participants[client]
        if device.feed is not None:
            withdraw(turn, turn.state.feeds[device.feed], room, "left")
        del device.rooms[room.id]
        if not device.rooms:
            turn.send(client, protocol.StopStreaming(room_id=room.id, reason="no_viewers"))
    creator = turn.state.participants.get(room.creator)
    if creator is not None:
        creator.created.pop(room.id, None)
    del turn.state.rooms[room.id]


def create_room(turn: Turn, event: RoomRequested) -> None:
    """Open a room; its creator is not in it yet."""
    participant = turn.state.participants[event.client]
    limit = turn.limits.rooms_per_client
    if len(participant.created) >= limit:
        raise RefusedError(
            ErrorCode.BAD_STATE, f"this client has opened {limit} rooms, the most it may; leave one first"
        )
    if len(turn.state.rooms) >= turn.limits.rooms:
        raise RefusedError(ErrorCode.BAD_STATE, f"the server has {turn.limits.rooms} rooms, the most it may")
    room = Room(turn.new_id(), event.client)
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
        if _is_crowded(turn, room):
            limit = turn.limits.members_per_room
            raise RefusedError(ErrorCode.BAD_STATE, f"room {room.id} has {limit} members, the most it may")
    _enter(participant, room)
    turn.reply(event, protocol.JoinedAsPublisher(room_id=room.id))
    for member in room.members:
        announce(turn, turn.state.participants[member], room)


def _enter(participant: Participant, room: Room) -> None:
    room.members[participant.client] = None
    participant.rooms[room.id] = None
    if participant.client.role is Role.WEB:
        room.joined_by_web = True


def invite(turn: Turn, event: InviteRequested) -> None:
    """Ask devices that do not publish to do so; share the feeds of those that do."""
    room = turn.room(event.room)
    if event.client not in room.members:
        raise not_in_room(room.id)
    wanted: list[Client] = [client for client in turn.state.participants if client.role is Role.DEVICE]
    if event.devices is not None:
        wanted = [Client(Role.DEVICE, name) for name in dict.fromkeys(event.devices)]
    invited: list[Client] = []
    attached: list[Client] = []
    unavailable: list[Client] = []
    for client in wanted:
        device = turn.state.participants.get(client)
        if device is None or (client not in room.members and _is_crowded(turn, room, len(attached))):
            unavailable.append(client)
        elif device.feed is None:
            invited.append(client)
        else:
            attached.append(client)
    reply = protocol.DevicesInvited(
        room_id=room.id,
        invited=tuple(client.id for client in invited),
        attached=tuple(client.id for client in attached),
        unavailable=tuple(client.id for client in unavailable),
    )
    turn.reply(event, reply)
    for client in invited:
        turn.send(client, protocol.StartStreaming(room_id=room.id, inviter=event.client.id))
    for client in attached:
        _enter(turn.state.participants[client], room)
        announce(turn, turn.state.participants[client], room)


def _is_crowded(turn: Turn, room: Room, coming: int = 0) -> bool:
    return len(room.members) + coming >= turn.limits.members_per_room


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
    turn.state.rooms.clear()
