"""A client offers media, it flows, it ends; rooms are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signaling import protocol
from signaling.effects import Fail, Publish, Republish, Unpublish
from signaling.protocol import ErrorCode
from signaling.state import Feed, FeedState

from .announcing import announce, hush, hush_room, tell_tracks
from .presence import attach_invited, taken_up
from .subscribing import drop_subscription, fail_open_requests, forget_subscription
from .turn import RefusedError, not_in_room

if TYPE_CHECKING:
    from signaling.inputs import (
        FeedFlowing,
        FeedLost,
        OfferReceived,
        PublishDone,
        PublishFailed,
        RepublishDone,
        RepublishFailed,
        UnpublishRequested,
        WantedTracksChanged,
    )
    from signaling.protocol import EndReason
    from signaling.state import Room

    from .turn import Turn


_UNANSWERED = "the publication ended before its offer was answered"


def offer(turn: Turn, event: OfferReceived) -> None:
    """Begin a publication, or negotiate a living one anew."""
    participant = turn.state.participants[event.client]
    if not participant.rooms:
        raise not_in_room(None)
    if participant.feed is not None:
        _offer_again(turn, turn.state.feeds[participant.feed], event)
        return
    if len(turn.state.feeds) >= turn.limits.feeds:
        raise RefusedError(ErrorCode.BAD_STATE, f"the server has {turn.limits.feeds} feeds, the most it may")
    feed = Feed(turn.new_id(), event.client, event.request_id, turn.now)
    turn.state.feeds[feed.id] = feed
    participant.feed = feed.id
    turn.add(Publish(feed.id, event.sdp))


def _offer_again(turn: Turn, feed: Feed, event: OfferReceived) -> None:
    """Take a further offer: other tracks, an ICE restart, or a wholly new connection. The feed keeps its id."""
    if feed.is_negotiating():
        raise RefusedError(
            ErrorCode.ALREADY_PUBLISHING,
            f"this client publishes feed {feed.id} already; offer again when the offer before it has been answered",
        )
    feed.republishing = True
    feed.request_id = event.request_id
    turn.add(Republish(feed.id, event.sdp))


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
    attach_invited(turn, turn.state.participants[feed.publisher])


def publish_failed(turn: Turn, event: PublishFailed) -> None:
    """Tell why; the client may try again."""
    feed = turn.state.feeds.get(event.feed)
    if feed is not None:
        _fail_offer(turn, feed, event.code, event.message)
        _forget_feed(turn, feed)


def republish_done(turn: Turn, event: RepublishDone) -> None:
    """Pass the answer on, and the news of other tracks to those who know of the feed."""
    feed = turn.state.feeds.get(event.feed)
    if feed is None:
        return
    feed.republishing = False
    turn.send(feed.publisher, protocol.AnswerToClient(sdp=event.answer), feed.request_id)
    if feed.tracks != event.tracks:
        feed.tracks = event.tracks
        tell_tracks(turn, feed)


def republish_failed(turn: Turn, event: RepublishFailed) -> None:
    """Tell why; the feed is what it was, and the client may try again."""
    feed = turn.state.feeds.get(event.feed)
    if feed is not None:
        feed.republishing = False
        _fail_offer(turn, feed, event.code, event.message)


def wanted(turn: Turn, event: WantedTracksChanged) -> None:
    """Tell a publisher which of its tracks somebody receives."""
    feed = turn.state.feeds.get(event.feed)
    if feed is not None:
        turn.send(feed.publisher, protocol.TracksWanted(feed=feed.id, tracks=event.tracks))


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
    taken_up(turn, publisher)


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
    if feed.is_negotiating():
        _fail_offer(turn, feed, ErrorCode.BAD_STATE, _UNANSWERED)
    turn.send(feed.publisher, protocol.ConnectionLost(typ="pub", feed=feed.id))
    hush(turn, feed, "disconnected")
    _forget_feed(turn, feed)


def withdraw(turn: Turn, feed: Feed, room: Room, reason: EndReason) -> None:
    """Take a feed out of one of its rooms; out of the last one it ends."""
    if len(turn.state.participants[feed.publisher].rooms) == 1:
        end_feed(turn, feed, reason)
        return
    hush_room(turn, feed, room, reason)
    for number in list(feed.subscriptions):
        if turn.state.subscriptions[number].room == room.id:
            drop_subscription(turn, number, f"feed {feed.id} left the room")


def end_feed(turn: Turn, feed: Feed, reason: EndReason) -> None:
    """End a publication here and in the engine."""
    if feed.is_negotiating():
        _fail_offer(turn, feed, ErrorCode.BAD_STATE, _UNANSWERED)
    hush(turn, feed, reason)
    _forget_feed(turn, feed)
    turn.add(Unpublish(feed.id))


def _fail_offer(turn: Turn, feed: Feed, code: ErrorCode, message: str) -> None:
    turn.add(Fail(feed.publisher, code, message, protocol.OfferFromDevice.event, feed.request_id))


def _forget_feed(turn: Turn, feed: Feed) -> None:
    """Drop a feed and its subscriptions from the tables; the engine ends those with their feed."""
    for number in list(feed.subscriptions):
        fail_open_requests(turn, forget_subscription(turn, number), f"feed {feed.id} has ended")
    turn.state.participants[feed.publisher].feed = None
    del turn.state.feeds[feed.id]
