"""Rooms end: at once, or with devices in them a while after the last WEB has left; invitations end before that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signaling import protocol
from signaling.state import RoomEnds

from . import presence
from .publishing import withdraw

if TYPE_CHECKING:
    from signaling.state import InvitationExpires, Room

    from .turn import Turn


def end_unless_held(turn: Turn, room: Room) -> None:
    """End a room that no WEB holds any more: at once, or with devices in it after a while.

    A viewer that reloads its page, or changes from one room to another, must not restart a camera.
    """
    creator = turn.state.participants.get(room.creator)
    awaited = not room.joined_by_web and creator is not None and room.id in creator.created
    if awaited or room.is_watched():
        return
    if turn.limits.stop_grace_seconds <= 0 or not (room.members or room.invitations):
        close_room(turn, room)
    elif RoomEnds(room.id) not in turn.state.timers:
        if creator is not None:
            creator.created.pop(room.id, None)  # no longer its creator's to leave, nor counted as its
        turn.state.timers.set(RoomEnds(room.id), turn.now + turn.limits.stop_grace_seconds)


def room_ends(turn: Turn, key: RoomEnds) -> None:
    """End a room to which no WEB has come back."""
    close_room(turn, turn.state.rooms[key.room])


def close_room(turn: Turn, room: Room) -> None:
    """End a room that nobody watches: its devices leave it, and stop when it was their last."""
    stop = protocol.StopStreaming(room_id=room.id, reason="no_viewers")
    asked = [client for client in room.invitations if client not in room.members]
    for client in (*room.members, *asked):
        device = turn.state.participants[client]
        if device.feed is not None and client in room.members:
            withdraw(turn, turn.state.feeds[device.feed], room, "left")
        device.rooms.pop(room.id, None)
        device.invitations.pop(room.id, None)
        if not device.rooms and not device.invitations:
            turn.send(client, stop)
    creator = turn.state.participants.get(room.creator)
    if creator is not None:
        creator.created.pop(room.id, None)
    turn.drop_room(room)


def invitations_expire(turn: Turn, key: InvitationExpires) -> None:
    """Give up waiting for devices that published nothing in time; a room may have waited for nothing else."""
    room = turn.state.rooms[key.room]
    presence.report_late(turn, room)
    end_unless_held(turn, room)
