"""A WEB asks for a feed, gets an offer, answers it; the subscription ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signaling import protocol
from signaling.effects import Accept, Fail, Pause, Subscribe, Unsubscribe
from signaling.protocol import ErrorCode
from signaling.state import FeedState, Subscription, SubscriptionState

from .turn import RefusedError, not_in_room

if TYPE_CHECKING:
    from signaling.inputs import (
        AnswerDone,
        AnswerFailed,
        AnswerReceived,
        OfferChanged,
        PauseDone,
        PauseFailed,
        PauseRequested,
        StopReceivingRequested,
        SubscribeDone,
        SubscribeFailed,
        SubscribeRequested,
        SubscriptionLost,
    )
    from signaling.protocol import RequestId
    from signaling.state import Participant

    from .turn import Turn


def subscribe(turn: Turn, event: SubscribeRequested) -> None:
    """Begin a subscription."""
    participant = turn.state.participants[event.client]
    room = turn.room(event.room)
    if event.client not in room.members:
        raise not_in_room(room.id)
    feed = turn.state.feeds.get(event.feed)
    if feed is None or feed.publisher not in room.members or feed.state is FeedState.ANSWERING:
        raise RefusedError(ErrorCode.FEED_NOT_FOUND, f"feed: there is no feed {event.feed} in room {room.id}")
    if _subscription_of(turn, participant, feed.id) is not None:
        raise RefusedError(ErrorCode.ALREADY_SUBSCRIBED, f"this client is subscribed to feed {feed.id} already")
    limit = turn.limits.subscriptions_per_client
    if len(participant.subscriptions) >= limit:
        raise RefusedError(ErrorCode.BAD_STATE, f"this client has {limit} subscriptions, the most it may")
    number = turn.new_id()
    turn.state.subscriptions[number] = Subscription(number, feed.id, room.id, event.client, event.request_id, turn.now)
    participant.subscriptions[number] = None
    feed.subscriptions[number] = None
    turn.add(Subscribe(number, feed.id, event.tracks))


def subscribe_done(turn: Turn, event: SubscribeDone) -> None:
    """Pass the offer on."""
    subscription = turn.state.subscriptions.get(event.subscription)
    if subscription is None:  # its client left, or its feed ended, while the engine worked
        turn.add(Unsubscribe(event.subscription))
        return
    _offer(turn, subscription, event.offer, subscription.request_id)


def offer_changed(turn: Turn, event: OfferChanged) -> None:
    """Pass a further offer on: the feed has other tracks, or a new connection."""
    subscription = turn.state.subscriptions.get(event.subscription)
    if subscription is not None:
        _offer(turn, subscription, event.offer, None)


def _offer(turn: Turn, subscription: Subscription, sdp: str, request_id: RequestId | None) -> None:
    subscription.state = SubscriptionState.OFFERED
    owned = turn.state.participants[subscription.client].subscriptions
    owned[subscription.id] = owned.pop(subscription.id)  # the newest offer comes last
    offer = protocol.OfferToSubscriber(sdp=sdp, feed=subscription.feed)
    turn.send(subscription.client, offer, request_id)


def subscribe_failed(turn: Turn, event: SubscribeFailed) -> None:
    """Tell why; the client may try again."""
    if event.subscription in turn.state.subscriptions:
        subscription = forget_subscription(turn, event.subscription)
        _fail_subscribe(turn, subscription, event.code, event.message)


def answer(turn: Turn, event: AnswerReceived) -> None:
    """Give an answer to the engine."""
    subscription = _answerable(turn, turn.state.participants[event.client], event.feed)
    subscription.state = SubscriptionState.ACCEPTING
    subscription.request_id = event.request_id
    turn.add(Accept(subscription.id, event.sdp))


def _answerable(turn: Turn, participant: Participant, feed: int | None) -> Subscription:
    if feed is None:
        for number in participant.subscriptions:
            if turn.state.subscriptions[number].state is SubscriptionState.OFFERED:
                return turn.state.subscriptions[number]
        raise RefusedError(ErrorCode.BAD_STATE, "there is no unanswered offer; send join_as_subscriber first")
    subscription = _subscription_to(turn, participant, feed)
    if subscription.state is SubscriptionState.OPENING:
        raise RefusedError(ErrorCode.BAD_STATE, f"the offer for feed {feed} has not been made yet")
    if subscription.state is not SubscriptionState.OFFERED:
        raise RefusedError(ErrorCode.BAD_STATE, f"the offer for feed {feed} has been answered already")
    return subscription


def _subscription_to(turn: Turn, participant: Participant, feed: int) -> Subscription:
    """Return a client's subscription to a feed, or refuse."""
    if feed not in turn.state.feeds:
        raise RefusedError(ErrorCode.FEED_NOT_FOUND, f"feed: there is no feed {feed}")
    subscription = _subscription_of(turn, participant, feed)
    if subscription is None:
        raise RefusedError(
            ErrorCode.BAD_STATE, f"this client is not subscribed to feed {feed}; send join_as_subscriber first"
        )
    return subscription


def answer_done(turn: Turn, event: AnswerDone) -> None:
    """Note that media may follow."""
    subscription = turn.state.subscriptions.get(event.subscription)
    if subscription is not None and subscription.state is SubscriptionState.ACCEPTING:
        subscription.state = SubscriptionState.ACCEPTED


def answer_failed(turn: Turn, event: AnswerFailed) -> None:
    """Tell why; unless it is final another answer may be tried."""
    subscription = turn.state.subscriptions.get(event.subscription)
    if subscription is None:
        return
    name = protocol.StartReceiving.event
    turn.add(Fail(subscription.client, event.code, event.message, name, subscription.request_id))
    if event.final:
        drop_subscription(turn, subscription.id, "its answer cannot be used")
    else:
        subscription.state = SubscriptionState.OFFERED


def stop(turn: Turn, event: StopReceivingRequested) -> None:
    """End a subscription as its client asks."""
    subscription = _subscription_to(turn, turn.state.participants[event.client], event.feed)
    turn.reply(event, protocol.StoppedReceiving(feed=event.feed))
    drop_subscription(turn, subscription.id, "its client stopped receiving")


def pause(turn: Turn, event: PauseRequested) -> None:
    """Have kinds of a subscription sent no more, or again."""
    subscription = _subscription_to(turn, turn.state.participants[event.client], event.feed)
    if subscription.state is SubscriptionState.OPENING:
        raise RefusedError(ErrorCode.BAD_STATE, f"the offer for feed {event.feed} has not been made yet")
    if len(subscription.pauses) >= turn.limits.pauses_per_subscription:
        limit = turn.limits.pauses_per_subscription
        raise RefusedError(
            ErrorCode.RATE_LIMITED, f"{limit} requests to pause or resume feed {event.feed} wait already"
        )
    name = protocol.PauseReceiving.event if event.paused else protocol.ResumeReceiving.event
    subscription.pauses.append((name, event.request_id))
    turn.add(Pause(subscription.id, event.kinds, event.paused))


def pause_done(turn: Turn, event: PauseDone) -> None:
    """Tell what is paused now."""
    subscription = turn.state.subscriptions.get(event.subscription)
    if subscription is not None:
        _, request_id = subscription.pauses.pop(0)
        news = protocol.ReceivingChanged(feed=subscription.feed, paused=event.paused)
        turn.send(subscription.client, news, request_id)


def pause_failed(turn: Turn, event: PauseFailed) -> None:
    """Tell why."""
    subscription = turn.state.subscriptions.get(event.subscription)
    if subscription is not None:
        name, request_id = subscription.pauses.pop(0)
        turn.add(Fail(subscription.client, event.code, event.message, name, request_id))


def subscription_lost(turn: Turn, event: SubscriptionLost) -> None:
    """Tell that a subscription died; the client may subscribe again."""
    if event.subscription in turn.state.subscriptions:
        subscription = forget_subscription(turn, event.subscription)
        fail_open_requests(turn, subscription, "the subscription's connection was lost")
        turn.send(subscription.client, protocol.ConnectionLost(typ="sub", feed=subscription.feed))


def _subscription_of(turn: Turn, participant: Participant, feed: int) -> Subscription | None:
    for number in participant.subscriptions:
        if turn.state.subscriptions[number].feed == feed:
            return turn.state.subscriptions[number]
    return None


def _fail_subscribe(turn: Turn, subscription: Subscription, code: ErrorCode, message: str) -> None:
    name = protocol.JoinAsSubscriber.event
    turn.add(Fail(subscription.client, code, message, name, subscription.request_id))


def forget_subscription(turn: Turn, number: int) -> Subscription:
    """Drop a subscription from the tables."""
    subscription = turn.state.subscriptions.pop(number)
    del turn.state.participants[subscription.client].subscriptions[number]
    del turn.state.feeds[subscription.feed].subscriptions[number]
    return subscription


def drop_subscription(turn: Turn, number: int, why: str) -> None:
    """End a subscription here and in the engine."""
    fail_open_requests(turn, forget_subscription(turn, number), why)
    turn.add(Unsubscribe(number))


def fail_open_requests(turn: Turn, subscription: Subscription, why: str) -> None:
    """Answer the requests of a subscription that has ended before the engine was done with them."""
    if subscription.state is SubscriptionState.OPENING:
        _fail_subscribe(turn, subscription, ErrorCode.FEED_NOT_FOUND, why)
    for name, request_id in subscription.pauses:
        turn.add(Fail(subscription.client, ErrorCode.FEED_NOT_FOUND, why, name, request_id))
