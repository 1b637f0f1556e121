"""Rooms hear of feeds: that they flow, that their tracks change, that they are over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signaling import protocol
from signaling.state import FeedState

if TYPE_CHECKING:
    from signaling.protocol import EndReason
    from signaling.state import Feed, Participant, Room

    from .turn import Turn


def announce(turn: Turn, publisher: Participant, room: Room) -> None:
    """Tell the WEBs of a room about a feed that flows; each of them once."""
    feed = None if publisher.feed is None else turn.state.feeds[publisher.feed]
    if feed is None or feed.state is not FeedState.FLOWING:
        return
    told = room.announced.get(feed.id, {})
    news = protocol.StartListening(feed=feed.id, room_id=room.id, device=feed.publisher.id, tracks=feed.tracks)
    for web in room.webs():
        if web != feed.publisher and web not in told:
            room.announced.setdefault(feed.id, {})[web] = None
            turn.send(web, news)


def tell_tracks(turn: Turn, feed: Feed) -> None:
    """Tell whoever was told of a feed which tracks it has now."""
    for number in turn.state.participants[feed.publisher].rooms:
        news = protocol.TracksChanged(feed=feed.id, room_id=number, device=feed.publisher.id, tracks=feed.tracks)
        for web in turn.state.rooms[number].announced.get(feed.id, ()):
            turn.send(web, news)


def hush(turn: Turn, feed: Feed, reason: EndReason) -> None:
    """Tell every room that a feed is over."""
    for number in turn.state.participants[feed.publisher].rooms:
        hush_room(turn, feed, turn.state.rooms[number], reason)


def hush_room(turn: Turn, feed: Feed, room: Room, reason: EndReason) -> None:
    """Tell the WEBs of a room, as far as they were told of a feed, that it is over."""
    news = protocol.StopListening(room_id=room.id, feed=feed.id, device=feed.publisher.id, reason=reason)
    for web in room.announced.pop(feed.id, {}):
        turn.send(web, news)
