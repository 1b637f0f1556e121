"""Who is in which room, who publishes, who watches: (state, event) -> effects.

Pure: no I/O, no clock. `Rooms.handle` takes one event and the time and returns what is to be done about it, in order.
What a client may not do is one `Fail` and changes nothing. What is to happen later is a timer: at `Rooms.deadline` a
`Tick` is due. A feed belongs to every room that its publisher is in, so one uplink serves several rooms. A client whose
socket has closed stays what it is, and is told things, until its absence has lasted too long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from . import effects, protocol
from .state import AbsenceEnds, InvitationExpires, RoomEnds, State
from .transitions import administration, ending, membership, presence, publishing, subscribing
from .transitions.turn import RefusedError, RoomLimits, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .effects import Client, ClientRequest, Effect, RoomsEvent

__all__ = ["RoomLimits", "Rooms"]

_TRANSITIONS: Mapping[type, Callable[[Turn, Any], None]] = {
    effects.ClientConnected: membership.connected,
    effects.ClientAbsent: membership.absent,
    effects.ClientResumed: membership.resumed,
    effects.ClientGone: membership.gone,
    effects.RoomRequested: membership.create_room,
    effects.JoinRequested: membership.join,
    effects.InviteRequested: presence.invite,
    effects.DevicesRequested: presence.list_devices,
    effects.LeaveRequested: membership.leave,
    effects.ServerDraining: membership.draining,
    effects.ServerStopping: membership.stopping,
    effects.RoomCloseOrdered: administration.end_room,
    effects.PublicationStopOrdered: administration.stop_publication,
    effects.OfferReceived: publishing.offer,
    effects.PublishDone: publishing.publish_done,
    effects.PublishFailed: publishing.publish_failed,
    effects.RepublishDone: publishing.republish_done,
    effects.RepublishFailed: publishing.republish_failed,
    effects.WantedTracksChanged: publishing.wanted,
    effects.FeedFlowing: publishing.flowing,
    effects.FeedLost: publishing.feed_lost,
    effects.UnpublishRequested: publishing.unpublish,
    effects.SubscribeRequested: subscribing.subscribe,
    effects.SubscribeDone: subscribing.subscribe_done,
    effects.SubscribeFailed: subscribing.subscribe_failed,
    effects.AnswerReceived: subscribing.answer,
    effects.AnswerDone: subscribing.answer_done,
    effects.AnswerFailed: subscribing.answer_failed,
    effects.OfferChanged: subscribing.offer_changed,
    effects.StopReceivingRequested: subscribing.stop,
    effects.PauseRequested: subscribing.pause,
    effects.PauseDone: subscribing.pause_done,
    effects.PauseFailed: subscribing.pause_failed,
    effects.SubscriptionLost: subscribing.subscription_lost,
}

_EXPIRIES: Mapping[type, Callable[[Turn, Any], None]] = {
    RoomEnds: ending.room_ends,
    InvitationExpires: ending.invitations_expire,
    AbsenceEnds: membership.absence_ends,
}

MAX_TIMERS_PER_TICK = 100
"""What is due beyond these waits for the next tick, which is due at once. When a site with thousands of devices drops
out, every WEB is told of each: what it is told must find the time to leave before its outbox is full."""

_WIRE_NAMES: Mapping[type, str] = {
    effects.RoomRequested: protocol.CreateRoom.event,
    effects.JoinRequested: protocol.JoinAsPublisher.event,
    effects.InviteRequested: protocol.InviteDevices.event,
    effects.DevicesRequested: protocol.ListDevices.event,
    effects.OfferReceived: protocol.OfferFromDevice.event,
    effects.SubscribeRequested: protocol.JoinAsSubscriber.event,
    effects.AnswerReceived: protocol.StartReceiving.event,
    effects.StopReceivingRequested: protocol.StopReceiving.event,
    effects.UnpublishRequested: protocol.Unpublish.event,
    effects.LeaveRequested: protocol.Leave.event,
}


def _wire_name(request: ClientRequest) -> str:
    if isinstance(request, effects.PauseRequested):
        return (protocol.PauseReceiving if request.paused else protocol.ResumeReceiving).event
    return _WIRE_NAMES[type(request)]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a client is part of: its rooms with the feeds that it was told of, what it publishes, what it watches."""

    rooms: Mapping[int, tuple[int, ...]]
    publication: int | None
    subscriptions: tuple[int, ...]


class Rooms:
    """Decide what follows from each event.

    `allocate_id` draws ids for rooms, feeds and subscriptions; one that is in use is drawn again.
    """

    def __init__(self, allocate_id: Callable[[], int], limits: RoomLimits | None = None) -> None:
        self.state = State()
        self._allocate_id = allocate_id
        self._limits = limits or RoomLimits()

    def reconfigure(self, limits: RoomLimits) -> None:
        """Take other limits; who is there already stays."""
        self._limits = limits

    def handle(self, event: RoomsEvent, now: float) -> list[Effect]:
        """Take one event at `now`, in seconds; return its effects in the order in which they are to be carried out."""
        if isinstance(event, effects.Tick):
            return self._tick(now)
        turn = Turn(self.state, self._limits, self._allocate_id, now)
        try:
            _TRANSITIONS[type(event)](turn, event)
        except RefusedError as refusal:
            request = cast("ClientRequest", event)  # nothing else is ever refused
            return [
                effects.Fail(request.client, refusal.code, refusal.message, _wire_name(request), request.request_id)
            ]
        return turn.effects

    def _tick(self, now: float) -> list[Effect]:
        found: list[Effect] = []
        for _ in range(MAX_TIMERS_PER_TICK):
            key = self.state.timers.pop(now)
            if key is None:
                break
            turn = Turn(self.state, self._limits, self._allocate_id, now)
            try:
                _EXPIRIES[type(key)](turn, key)
            except Exception as error:  # noqa: BLE001  what has been decided for others must not be lost
                found.append(effects.Fault(type(key).__name__, error))
            found += turn.effects
        return found

    def deadline(self) -> float | None:
        """Return when the next `Tick` is due, or None."""
        return self.state.timers.next()

    def snapshot(self, client: Client) -> Snapshot:
        """Return what a connected client is part of."""
        participant = self.state.participants[client]
        rooms = {
            number: tuple(feed for feed, webs in self.state.rooms[number].announced.items() if client in webs)
            for number in participant.rooms
        }
        watched = tuple(self.state.subscriptions[number].feed for number in participant.subscriptions)
        return Snapshot(rooms, participant.feed, watched)

    def check(self) -> None:
        """Raise `AssertionError` where the state contradicts itself. For tests."""
        self.state.check()
