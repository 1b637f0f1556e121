"""Beliefs: what clients can know of themselves from what they asked and were told. It is to be what the tables say."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from signaling import effects, inputs, protocol
from signaling.effects import Client
from signaling.protocol import ErrorCode, Role
from signaling.state import FeedState, SubscriptionState

if TYPE_CHECKING:
    from collections.abc import Collection

    from signaling.effects import Effect
    from signaling.inputs import RoomsEvent
    from signaling.state import State


class Beliefs:
    """What each client believes, kept up by every effect that concerns it."""

    def __init__(self) -> None:
        self.rooms: defaultdict[Client, set[int]] = defaultdict(set)
        """That it is in. A device is not told of all of them."""
        self.publishes: defaultdict[Client, bool] = defaultdict(bool)
        """Whether it has the answer to an offer, and no end of the publication since."""
        self.watches: defaultdict[Client, set[tuple[int, int]]] = defaultdict(set)
        """What it has an offer for, as (room, feed)."""
        self.awaits: defaultdict[Client, set[tuple[int, str]]] = defaultdict(set)
        """The devices that it has invited and waits for, as (room, device)."""
        self._hears: defaultdict[Client, set[tuple[int, str]]] = defaultdict(set)
        """The devices whose feeds it listens to."""
        self._subscribing: dict[tuple[Client, int], int] = {}
        """The room of each subscription that a client has asked for, by its feed."""
        self._answering: dict[object, tuple[int, int]] = {}
        """What was answered, by the id of the request."""

    def forget(self, client: Client) -> None:
        """Take note that a client is gone."""
        for table in (self.rooms, self.publishes, self.watches, self.awaits, self._hears):
            table.pop(client, None)

    def take(self, event: RoomsEvent, effect: Effect, state: State) -> None:
        """Take note of what follows from `event`; `state` is that after it."""
        match effect:
            case effects.Send(client, news):
                self._told(client, news)
                self._told_of_devices(client, news)
                is_device = client.role is Role.DEVICE
                if is_device and isinstance(event, inputs.LeaveRequested) and isinstance(news, protocol.Left):
                    # It is not told of every room that it serves, nor of each that ends: it cannot know whether this
                    # was the last one, unless it has left all.
                    self.publishes[client] = event.room is not None and _is_answered(state, client)
            case effects.Fail(client, code, request_id=request_id):
                refused = self._answering.pop(request_id, None)
                if refused is not None and code is not ErrorCode.BAD_SDP:
                    self.watches[client].discard(refused)
            case effects.Subscribe():
                assert isinstance(event, inputs.SubscribeRequested)
                self._subscribing[event.client, event.feed] = event.room
            case effects.Accept(number):
                assert isinstance(event, inputs.AnswerReceived)
                subscription = state.subscriptions[number]
                self._answering[event.request_id] = (subscription.room, subscription.feed)
            case _:
                pass

    def check(self, client: Client, heard: Collection[tuple[int, int]], state: State) -> None:
        """Fail where a client was told other things of itself than the tables say; `heard` is what it listens to."""
        participant = state.participants[client]
        if client.role is Role.WEB:
            assert self.rooms[client] == set(participant.rooms)
        elif not participant.rooms and not participant.invitations:
            assert not self.publishes[client], f"{client} streams and is in no room"
        assert self.publishes[client] == _is_answered(state, client)
        subscriptions = [state.subscriptions[number] for number in participant.subscriptions]
        offered = {(each.room, each.feed) for each in subscriptions if each.state is not SubscriptionState.OPENING}
        # Whoever guesses the id of a feed before it flows is not told of its end.
        assert self.watches[client] & set(heard) == offered & set(heard)
        for room, device in self.awaits[client]:
            waiting = state.rooms[room].invitations.get(Client(Role.DEVICE, device))
            assert waiting is not None, f"{client} waits for {device}, and nobody will tell it"
            assert client in waiting.inviters

    def _told(self, client: Client, news: protocol.Outbound) -> None:
        match news:
            case protocol.JoinedAsPublisher(room_id=room):
                self.rooms[client].add(room)
            case protocol.Left(room_id=room) | protocol.RoomClosed(room_id=room):
                self.rooms[client].discard(room)
                self.watches[client] = {key for key in self.watches[client] if key[0] != room}
                if not self.rooms[client]:
                    self.publishes[client] = False  # a feed ends with the last room of its publisher
            case protocol.StopStreaming():
                self.rooms[client].clear()
                self.publishes[client] = False
            case protocol.AnswerToClient():
                self.publishes[client] = True
            case protocol.Unpublished() | protocol.ConnectionLost(typ="pub"):
                self.publishes[client] = False
            case protocol.OfferToSubscriber(feed=feed):
                self.watches[client].add((self._subscribing[client, feed], feed))
            case protocol.StoppedReceiving(feed=feed) | protocol.ConnectionLost(typ="sub", feed=feed):
                self.watches[client] -= {key for key in self.watches[client] if key[1] == feed}
            case protocol.StopListening(room_id=room, feed=feed):
                self.watches[client].discard((room, feed))
            case _:
                pass

    def _told_of_devices(self, client: Client, news: protocol.Outbound) -> None:
        awaits, hears = self.awaits[client], self._hears[client]
        match news:
            case protocol.DevicesInvited(room_id=room, invited=invited, attached=attached):
                awaits |= {(room, device) for device in (*invited, *attached)} - hears
            case protocol.StartListening(room_id=room, device=device):
                awaits.discard((room, device))
                hears.add((room, device))
            case protocol.StopListening(room_id=room, device=device):
                hears.discard((room, device))
            case protocol.DevicesUnavailable(room_id=room, devices=devices):
                awaits -= {(room, device) for device in devices}
            case protocol.DeviceOffline(device=device):
                awaits -= {key for key in awaits if key[1] == device}
            case protocol.Left(room_id=room) | protocol.RoomClosed(room_id=room):
                for known in (awaits, hears):
                    known -= {key for key in known if key[0] == room}
            case _:
                pass


def _is_answered(state: State, client: Client) -> bool:
    feed = state.participants[client].feed
    return feed is not None and state.feeds[feed].state is not FeedState.ANSWERING
