"""A client offers media, it flows, it ends; rooms are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signaling import protocol
from signaling.effects import Fail, Publish, Unpublish
from signaling.protocol import ErrorCode
from signaling.state import Feed, FeedState

from .subscribing import drop_subscription, fail_if_opening, forget_subscription
from .turn import RefusedError, not_in_room

if TYPE_CHECKING:
    from signaling.effects import (
        FeedFlowing,
        FeedLost,
        OfferReceived,
        PublishDone,
        PublishFailed,
        UnpublishRequested,
    )
    from signaling.protocol import EndReason
    from signaling.state import Participant, Room

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


def offer(turn: Turn, event: OfferReceived) -> None:
    """Begin a publication."""
    participant = turn.state.participants[event.client]
    if not participant.rooms:
        raise not_in_room(None)
    if participant.feed is not None:
        raise RefusedError(
            ErrorCode.ALREADY_PUBLISHING,
            f"this client publishes feed {participant.feed} already; unpublish it first",
        )
    if len(turn.state.feeds) >= turn.limits.feeds:
        raise RefusedError(ErrorCode.BAD_STATE, f"the server has {turn.limits.feeds} feeds, the most it may")
    feed = Feed(turn.new_id(), event.client, event.request_id)
    turn.state.feeds[feed.id] = feed
    participant.feed = feed.id
    turn.add(Publish(feed.id, event.sdp))


def publish_done(turn: Turn, event: PublishDone) -> None:
    """Pass the answer on."""
    feed = turn.state.feeds.get(event.feed)
    if feed is None:  # its publisher left while the engine worked
        turn.add(Unpublish(event.feed))
        return
    feed.tracks = event.tracks
    if feed.state is FeedState.ANSWERING:
        feed.state = FeedState.ANSWERED
    turn.send(feed.publisher, protocol.AnswerToClient(sdp=event.answer), feed.request_id)


def publish_failed(turn: Turn, event: PublishFailed) -> None:
    """Tell why; the client may try again."""
    feed = turn.state.feeds.get(event.feed)
    if feed is not None:
        _fail_offer(turn, feed, event.code, event.message)
        _forget_feed(turn, feed)


def flowing(turn: Turn, event: FeedFlowing) -> None:
    """Announce a feed in every room of its publisher."""
    feed = turn.state.feeds.get(event.feed)
    if feed is None:
        return
    feed.state = FeedState.FLOWING
    feed.tracks = event.tracks
    publisher = turn.state.participants[feed.publisher]
    for number in publisher.rooms:
        announce(turn, publisher, turn.state.rooms[number])


def unpublish(turn: Turn, event: UnpublishRequested) -> None:
    """End a publication as its publisher asks."""
    participant = turn.state.participants[event.client]
    if not participant.rooms:
        raise not_in_room(None)
    if participant.feed is None:
        raise RefusedError(ErrorCode.BAD_STATE, "this client publishes nothing; send offer_from_device first")
    feed = turn.state.feeds[participant.feed]
    turn.reply(event, protocol.Unpublished(feed=feed.id))
    end_feed(turn, feed, "unpublished")


def feed_lost(turn: Turn, event: FeedLost) -> None:
    """End a publication whose media died; its publisher may offer again."""
    feed = turn.state.feeds.get(event.feed)
    if feed is None:
        return
    turn.send(feed.publisher, protocol.ConnectionLost(typ="pub", feed=feed.id))
    _hush(turn, feed, "disconnected")
    _forget_feed(turn, feed)


def withdraw(turn: Turn, feed: Feed, room: Room, reason: EndReason) -> None:
    """Take a feed out of one of its rooms; out of the last one it ends."""
    if len(turn.state.participants[feed.publisher].rooms) == 1:
        end_feed(turn, feed, reason)
        return
    _hush_room(turn, feed, room, reason)
    for number in list(feed.subscriptions):
        if turn.state.subscriptions[number].room == room.id:
            drop_subscription(turn, number, f"feed {feed.id} left the room")


def end_feed(turn: Turn, feed: Feed, reason: EndReason) -> None:
    """End a publication here and in the engine."""
    if feed.state is FeedState.ANSWERING:
        _fail_offer(turn, feed, ErrorCode.BAD_STATE, "the publication ended before its offer was answered")
    _hush(turn, feed, reason)
    _forget_feed(turn, feed)
    turn.add(Unpublish(feed.id))


def _hush(turn: Turn, feed: Feed, reason: EndReason) -> None:
    for number in turn.state.participants[feed.publisher].rooms:
        _hush_room(turn, feed, turn.state.rooms[number], reason)


def _hush_room(turn: Turn, feed: Feed, room: Room, reason: EndReason) -> None:
    news = protocol.StopListening(room_id=room.id, feed=feed.id, device=feed.publisher.id, reason=reason)
    for web in room.announced.pop(feed.id, {}):
        turn.send(web, news)


def _fail_offer(turn: Turn, feed: Feed, code: ErrorCode, message: str) -> None:
    turn.add(Fail(feed.publisher, code, message, protocol.OfferFromDevice.event, feed.request_id))


def _forget_feed(turn: Turn, feed: Feed) -> None:
    """Drop a feed and its subscriptions from the tables; the engine ends those with their feed."""
    for number in list(feed.subscriptions):
        fail_if_opening(turn, forget_subscription(turn, number), f"feed {feed.id} has ended")
    turn.state.participants[feed.publisher].feed = None
    del turn.state.feeds[feed.id]
