"""Who is in which room, who publishes, who watches: (state, event) -> effects.

Pure: no I/O, no clock. `Rooms.handle` takes one event and the time and returns what is to be done about it, in order.
What a client may not do is one `Fail` and changes nothing. What is to happen later is a timer: at `Rooms.deadline` a
`Tick` is due. A feed belongs to every room that its publisher is in, so one uplink serves several rooms. A client whose
socket has closed stays what it is, and is told things, until its absence has lasted too long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from . import effects, inputs, protocol
from .state import AbsenceEnds, InvitationExpires, RoomEnds, State
from .transitions import administration, ending, membership, presence, publishing, subscribing
from .transitions.turn import RefusedError, RoomLimits, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .effects import Client, Effect
    from .inputs import ClientRequest, RoomsEvent

__all__ = ["RoomLimits", "Rooms"]

_TRANSITIONS: Mapping[type, Callable[[Turn, Any], None]] = {
    inputs.ClientConnected: membership.connected,
    inputs.ClientAbsent: membership.absent,
    inputs.ClientResumed: membership.resumed,
    inputs.ClientGone: membership.gone,
    inputs.RoomRequested: membership.create_room,
    inputs.JoinRequested: membership.join,
    inputs.InviteRequested: presence.invite,
    inputs.DevicesRequested: presence.list_devices,
    inputs.LeaveRequested: membership.leave,
    inputs.ServerDraining: membership.draining,
    inputs.ServerStopping: membership.stopping,
    inputs.RoomCloseOrdered: administration.end_room,
    inputs.PublicationStopOrdered: administration.stop_publication,
    inputs.OfferReceived: publishing.offer,
    inputs.PublishDone: publishing.publish_done,
    inputs.PublishFailed: publishing.publish_failed,
    inputs.RepublishDone: publishing.republish_done,
    inputs.RepublishFailed: publishing.republish_failed,
    inputs.WantedTracksChanged: publishing.wanted,
    inputs.FeedFlowing: publishing.flowing,
    inputs.FeedLost: publishing.feed_lost,
    inputs.UnpublishRequested: publishing.unpublish,
    inputs.SubscribeRequested: subscribing.subscribe,
    inputs.SubscribeDone: subscribing.subscribe_done,
    inputs.SubscribeFailed: subscribing.subscribe_failed,
    inputs.AnswerReceived: subscribing.answer,
    inputs.AnswerDone: subscribing.answer_done,
    inputs.AnswerFailed: subscribing.answer_failed,
    inputs.OfferChanged: subscribing.offer_changed,
    inputs.StopReceivingRequested: subscribing.stop,
    inputs.PauseRequested: subscribing.pause,
    inputs.PauseDone: subscribing.pause_done,
    inputs.PauseFailed: subscribing.pause_failed,
    inputs.SubscriptionLost: subscribing.subscription_lost,
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
    inputs.RoomRequested: protocol.CreateRoom.event,
    inputs.JoinRequested: protocol.JoinAsPublisher.event,
    inputs.InviteRequested: protocol.InviteDevices.event,
    inputs.DevicesRequested: protocol.ListDevices.event,
    inputs.OfferReceived: protocol.OfferFromDevice.event,
    inputs.SubscribeRequested: protocol.JoinAsSubscriber.event,
    inputs.AnswerReceived: protocol.StartReceiving.event,
    inputs.StopReceivingRequested: protocol.StopReceiving.event,
    inputs.UnpublishRequested: protocol.Unpublish.event,
    inputs.LeaveRequested: protocol.Leave.event,
}


def _wire_name(request: ClientRequest) -> str:
    if isinstance(request, inputs.PauseRequested):
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
        if isinstance(event, inputs.Tick):
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
