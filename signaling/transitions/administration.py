"""What an operator ends: a room, a publication."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signaling import protocol
from signaling.protocol import Role

from .ending import close_room
from .membership import depart
from .publishing import end_feed, withdraw

if TYPE_CHECKING:
    from signaling.inputs import PublicationStopOrdered, RoomCloseOrdered

    from .turn import Turn


def end_room(turn: Turn, event: RoomCloseOrdered) -> None:
    """Have everybody leave a room, which ends with the last; who is gone already is no error."""
    room = turn.state.rooms.get(event.room)
    if room is None:
        return
    for client in room.members:
        feed = turn.state.participants[client].feed
        if feed is not None:
            withdraw(turn, turn.state.feeds[feed], room, "left")  # first, so that those who watch hear of it
    news = protocol.RoomClosed(room_id=room.id, reason="operator")
    for web in room.webs():
        depart(turn, turn.state.participants[web], room, "left")
        turn.send(web, news)
    if room.id in turn.state.rooms:  # kept for its devices, or its creator has not joined it
        close_room(turn, room)


def stop_publication(turn: Turn, event: PublicationStopOrdered) -> None:
    """End a publication; a device leaves its rooms as well and streams again when it is invited anew."""
    feed = turn.state.feeds.get(event.feed)
    if feed is None:
        return
    publisher = turn.state.participants[feed.publisher]
    end_feed(turn, feed, "unpublished")
    if publisher.client.role is Role.WEB:
        turn.send(publisher.client, protocol.Unpublished(feed=feed.id))
        return
    rooms = [turn.state.rooms[number] for number in publisher.rooms]
    turn.send(publisher.client, protocol.StopStreaming(room_id=rooms[0].id, reason="operator"))
    for room in rooms:
        depart(turn, publisher, room, "unpublished")
