"""ClientLog: one line for each thing that happened to a client, all found by the ids of client, session, room and feed.

What goes to everybody in a room (a feed that begins or ends, a device that is online) is logged once for the client
that it is about, not for each that is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sfu

from . import protocol
from .effects import Send, Unpublish
from .inputs import FeedFlowing
from .logs import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .effects import Client, Effect
    from .inputs import RoomsEvent
    from .registry import Registry
    from .state import State

log = EventLog("signaling.clients")


class ClientLog:
    """Log what an `Observer` sees."""

    def __init__(self, state: State, registry: Registry) -> None:
        self._state = state
        self._registry = registry

    def decided(self, event: RoomsEvent, effects: Sequence[Effect], now: float) -> None:
        """Log what a client is told of its own doings, and what begins to flow or ends."""
        is_written = log.is_written
        for effect in effects:  # an invitation to all has ten thousand
            if isinstance(effect, Send):
                told = _TOLD.get(type(effect.event))
                if told is None:
                    continue
                name, fields = told
                if is_written:
                    self._log(name, effect.client, fields(effect.event))
                else:
                    log.count(name)
            elif isinstance(effect, Unpublish):
                log.info("publication_ended", feed=effect.feed)
        if isinstance(event, FeedFlowing):
            feed = self._state.feeds.get(event.feed)
            if feed is not None:
                tracks, seconds = len(feed.tracks), round(now - feed.since, 3)
                self._log("feed_flowing", feed.publisher, {"feed": feed.id, "tracks": tracks, "seconds": seconds})

    def media(self, event: sfu.EngineEvent, now: float) -> None:
        """Log that a viewer is connected, and that it is sent a picture."""
        if isinstance(event, sfu.SubscriptionStarted | sfu.FirstFrameSent):
            subscription = self._state.subscriptions.get(event.subscription)
            if subscription is None:
                return
            name = "first_frame_sent" if isinstance(event, sfu.FirstFrameSent) else "subscription_connected"
            ids = {"room": subscription.room, "feed": event.feed, "subscription": subscription.id}
            self._log(name, subscription.client, {**ids, "seconds": round(now - subscription.since, 3)})

    def _log(self, event: str, client: Client, fields: Mapping[str, object]) -> None:
        if not log.is_written:
            log.count(event)
            return
        record = self._registry.record(client)
        session = None if record is None else record.id
        log.info(event, role=client.role, client=client.id, session=session, **fields)


def _room(event: Any) -> Mapping[str, object]:  # noqa: ANN401  each row below takes its own event
    return {"room": event.room_id}


def _feed(event: Any) -> Mapping[str, object]:  # noqa: ANN401  as above
    return {"feed": event.feed}


def _nothing(_event: object) -> Mapping[str, object]:
    return {}


def _invited(event: protocol.DevicesInvited) -> Mapping[str, object]:
    found = {"invited": event.invited, "attached": event.attached, "unavailable": event.unavailable}
    return {"room": event.room_id} | {name: len(devices) for name, devices in found.items()}


_TOLD: Mapping[type, tuple[str, Callable[[Any], Mapping[str, object]]]] = {
    protocol.RoomCreated: ("room_opened", _room),
    protocol.JoinedAsPublisher: ("room_joined", _room),
    protocol.Left: ("room_left", _room),
    protocol.DevicesInvited: ("devices_invited", _invited),
    protocol.DevicesUnavailable: (
        "devices_unavailable",
        lambda event: {"room": event.room_id, "devices": len(event.devices)},
    ),
    protocol.StartStreaming: ("device_invited", lambda event: {"room": event.room_id, "inviter": event.inviter}),
    protocol.StopStreaming: ("device_stopped", lambda event: {"room": event.room_id, "reason": event.reason}),
    protocol.RoomClosed: ("room_closed", lambda event: {"room": event.room_id, "reason": event.reason}),
    protocol.AnswerToClient: ("publication_answered", _nothing),
    protocol.Unpublished: ("unpublished", _feed),
    protocol.OfferToSubscriber: ("subscription_offered", _feed),
    protocol.StoppedReceiving: ("subscription_stopped", _feed),
    protocol.ReceivingChanged: (
        "receiving_changed",
        lambda event: {"feed": event.feed, "paused": ",".join(event.paused)},
    ),
    protocol.ConnectionLost: ("media_lost", lambda event: {"feed": event.feed, "typ": event.typ}),
}
"""What is logged of an event that a client is told, and which of its fields: never a description or a secret."""
