"""Rooms under test: ids that count from 1, a clock set by hand, and the tables checked after every step."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from signaling import effects, inputs, protocol
from signaling.effects import Client, Fail, Send
from signaling.protocol import Role, Track
from signaling.rooms import RoomLimits, Rooms

if TYPE_CHECKING:
    from signaling.effects import Effect
    from signaling.inputs import RoomsEvent

ALICE = Client(Role.WEB, "alice")
BOB = Client(Role.WEB, "bob")
CAM = Client(Role.DEVICE, "cam")
CAM2 = Client(Role.DEVICE, "cam2")
TRACKS = (Track(id="v", kind="video", codec="VP8", label="v"),)


class House:
    """Rooms with ids that count from 1, checked after every step."""

    def __init__(self, limits: RoomLimits | None = None) -> None:
        self.rooms = Rooms(itertools.count(1).__next__, limits or RoomLimits(stop_grace_seconds=0))
        self.now = 1000.0

    def __call__(self, event: RoomsEvent) -> list[Effect]:
        """Return what follows, but for the news of who is online, which goes to every WEB."""
        return [effect for effect in self.everything(event) if not is_presence(effect)]

    def everything(self, event: RoomsEvent) -> list[Effect]:
        found = self.rooms.handle(event, self.now)
        self.rooms.check()
        return found

    def wait(self, seconds: float) -> list[Effect]:
        """Let time pass, with the ticks that are due on the way."""
        end = self.now + seconds
        found: list[Effect] = []
        while (due := self.rooms.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            found += self(inputs.Tick())
        self.now = end
        return found

    def connect(self, *clients: Client) -> None:
        for client in clients:
            assert self(inputs.ClientConnected(client)) == []

    def open_room(self, creator: Client = ALICE) -> int:
        (reply,) = self(inputs.RoomRequested(creator))
        assert isinstance(reply, Send)
        assert isinstance(reply.event, protocol.RoomCreated)
        return reply.event.room_id

    def joined_room(self, *members: Client) -> int:
        """Return a room opened by the first of the members and joined by all."""
        room = self.open_room(members[0])
        for member in members:
            self(inputs.JoinRequested(member, room))
        return room

    def publish(self, client: Client = CAM, *, flowing: bool = True) -> int:
        (effect,) = self(inputs.OfferReceived(client, "offer", "q"))
        assert isinstance(effect, effects.Publish)
        answer = self(inputs.PublishDone(effect.feed, "answer", TRACKS))
        assert answer == [Send(client, protocol.AnswerToClient(sdp="answer"), "q")]
        if flowing:
            self(inputs.FeedFlowing(effect.feed, TRACKS))
        return effect.feed

    def subscribe(self, client: Client, room: int, feed: int) -> int:
        (effect,) = self(inputs.SubscribeRequested(client, room, feed))
        assert isinstance(effect, effects.Subscribe)
        offer = self(inputs.SubscribeDone(effect.subscription, "offer"))
        assert offer == [Send(client, protocol.OfferToSubscriber(sdp="offer", feed=feed))]
        return effect.subscription

    def watching(self) -> tuple[int, int, int]:
        """Return room, feed and subscription of Alice watching the camera."""
        self.connect(ALICE, CAM)
        room = self.joined_room(ALICE, CAM)
        feed = self.publish()
        number = self.subscribe(ALICE, room, feed)
        self(inputs.AnswerReceived(ALICE, "answer"))
        self(inputs.AnswerDone(number))
        return room, feed, number


def is_presence(effect: Effect) -> bool:
    return isinstance(effect, Send) and isinstance(effect.event, protocol.DeviceOnline | protocol.DeviceOffline)


def listening(client: Client, room: int, feed: int, device: str = "cam") -> Send:
    return Send(client, protocol.StartListening(feed=feed, room_id=room, device=device, tracks=TRACKS))


def start(client: Client, room: int, inviter: str = "alice") -> Send:
    return Send(client, protocol.StartStreaming(room_id=room, inviter=inviter))


def invited(room: int, *devices: str, attached: tuple[str, ...] = (), unavailable: tuple[str, ...] = ()) -> Send:
    reply = protocol.DevicesInvited(room_id=room, invited=devices, attached=attached, unavailable=unavailable)
    return Send(ALICE, reply)


def hushed(client: Client, room: int, feed: int, reason: Any, device: str = "cam") -> Send:
    return Send(client, protocol.StopListening(room_id=room, feed=feed, device=device, reason=reason))


def only_failure(found: list[Effect]) -> Fail:
    assert len(found) == 1, found
    assert isinstance(found[0], Fail), found
    return found[0]
