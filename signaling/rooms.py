"""Who is in which room, who publishes, who watches: (state, event) -> effects.

Pure: no I/O, no clock. `Rooms.handle` takes one event and returns what is to be done about it, in order. What a
client may not do is one `Fail` and changes nothing. A feed belongs to every room that its publisher is in, so one
uplink serves several rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from . import effects, protocol
from .state import State
from .transitions import membership, publishing, subscribing
from .transitions.turn import RefusedError, RoomLimits, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .effects import ClientRequest, Effect, RoomsEvent

__all__ = ["RoomLimits", "Rooms"]

_TRANSITIONS: Mapping[type, Callable[[Turn, Any], None]] = {
    effects.ClientConnected: membership.connected,
    effects.ClientGone: membership.gone,
    effects.RoomRequested: membership.create_room,
    effects.JoinRequested: membership.join,
    effects.InviteRequested: membership.invite,
    effects.LeaveRequested: membership.leave,
    effects.ServerStopping: membership.stopping,
    effects.OfferReceived: publishing.offer,
    effects.PublishDone: publishing.publish_done,
    effects.PublishFailed: publishing.publish_failed,
    effects.FeedFlowing: publishing.flowing,
    effects.FeedLost: publishing.feed_lost,
    effects.UnpublishRequested: publishing.unpublish,
    effects.SubscribeRequested: subscribing.subscribe,
    effects.SubscribeDone: subscribing.subscribe_done,
    effects.SubscribeFailed: subscribing.subscribe_failed,
    effects.AnswerReceived: subscribing.answer,
    effects.AnswerDone: subscribing.answer_done,
    effects.AnswerFailed: subscribing.answer_failed,
    effects.SubscriptionLost: subscribing.subscription_lost,
}

_WIRE_NAMES: Mapping[type, str] = {
    effects.RoomRequested: protocol.CreateRoom.event,
    effects.JoinRequested: protocol.JoinAsPublisher.event,
    effects.InviteRequested: protocol.InviteDevices.event,
    effects.OfferReceived: protocol.OfferFromDevice.event,
    effects.SubscribeRequested: protocol.JoinAsSubscriber.event,
    effects.AnswerReceived: protocol.StartReceiving.event,
    effects.UnpublishRequested: protocol.Unpublish.event,
    effects.LeaveRequested: protocol.Leave.event,
}


class Rooms:
    """Decide what follows from each event.

    `allocate_id` draws ids for rooms, feeds and subscriptions; one that is in use is drawn again.
    """

    def __init__(self, allocate_id: Callable[[], int], limits: RoomLimits | None = None) -> None:
        self.state = State()
        self._allocate_id = allocate_id
        self._limits = limits or RoomLimits()

    def handle(self, event: RoomsEvent) -> list[Effect]:
        """Take one event; return its effects in the order in which they are to be carried out."""
        turn = Turn(self.state, self._limits, self._allocate_id)
        try:
            _TRANSITIONS[type(event)](turn, event)
        except RefusedError as refusal:
            request = cast("ClientRequest", event)  # nothing else is ever refused
            name = _WIRE_NAMES[type(event)]
            return [effects.Fail(request.client, refusal.code, refusal.message, name, request.request_id)]
        return turn.effects

    def check(self) -> None:
        """Raise `AssertionError` where the state contradicts itself. For tests."""
        self.state.check()
