"""Invitations: to those who are there and those who come later; what is told of those that come to nothing."""

from __future__ import annotations

import pytest

from signaling import effects, inputs, protocol
from signaling.effects import Client, Send
from signaling.protocol import ErrorCode
from signaling.rooms import RoomLimits
from tests.helpers.house import ALICE, BOB, CAM, CAM2, TRACKS, House, invited, listening, only_failure, start

PATIENCE = 20.0


@pytest.fixture
def house() -> House:
    return House(RoomLimits(stop_grace_seconds=5, invitation_seconds=PATIENCE))


def late(client: Client, room: int, *devices: str) -> Send:
    return Send(client, protocol.DevicesUnavailable(room_id=room, devices=devices))


def test_an_invitation_that_is_never_taken_up_is_reported_once(house: House) -> None:
    house.connect(ALICE, CAM, CAM2)
    room = house.joined_room(ALICE)
    house(inputs.InviteRequested(ALICE, room))
    assert house.wait(PATIENCE - 0.1) == []
    assert house.wait(0.2) == [late(ALICE, room, "cam", "cam2")]
    assert house.rooms.deadline() is None
    assert house(inputs.InviteRequested(ALICE, room, ("cam",))) == [invited(room, "cam"), start(CAM, room)]
    assert house.wait(PATIENCE) == [late(ALICE, room, "cam")]


def test_asking_again_does_not_put_the_report_off(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(inputs.InviteRequested(ALICE, room))
    for _ in range(3):
        assert house.wait(6) == []
        assert house(inputs.InviteRequested(ALICE, room)) == [invited(room, "cam"), start(CAM, room)]
    assert house.wait(2) == [late(ALICE, room, "cam")]


def test_each_inviter_hears_of_its_own(house: House) -> None:
    house.connect(ALICE, BOB, CAM, CAM2)
    room = house.joined_room(ALICE, BOB)
    house(inputs.InviteRequested(ALICE, room, ("cam",)))
    house.wait(1)
    house(inputs.InviteRequested(BOB, room, ("cam2",)))
    assert house.wait(PATIENCE - 1) == [late(ALICE, room, "cam")]
    assert house.wait(1) == [late(BOB, room, "cam2")]


def test_everybody_who_asked_for_a_device_hears_that_it_did_not_come(house: House) -> None:
    house.connect(ALICE, BOB, CAM)
    room = house.joined_room(ALICE, BOB)
    house(inputs.InviteRequested(ALICE, room))
    house(inputs.InviteRequested(BOB, room))
    house(inputs.InviteRequested(BOB, room))
    assert house.wait(PATIENCE) == [late(ALICE, room, "cam"), late(BOB, room, "cam")]


def test_a_device_that_leaves_without_media_is_reported_at_once(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(inputs.InviteRequested(ALICE, room))
    house(inputs.JoinRequested(CAM, room))
    assert house(inputs.LeaveRequested(CAM)) == [Send(CAM, protocol.Left(room_id=room)), late(ALICE, room, "cam")]
    assert house.wait(100) == []


@pytest.mark.parametrize("when", ["before it offers", "after its answer"])
def test_a_device_whose_media_does_not_come_through_is_reported(house: House, when: str) -> None:
    house.connect(ALICE, BOB, CAM)
    room = house.joined_room(BOB, CAM)
    if when == "before it offers":
        house(inputs.InviteRequested(BOB, room))
    feed = house.publish(flowing=False)
    if when == "after its answer":
        house(inputs.InviteRequested(BOB, room))
    house(inputs.FeedLost(feed))  # an answer was all that ever reached it
    assert house.wait(PATIENCE) == [late(BOB, room, "cam")]


def test_joining_without_publishing_is_not_taking_up(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(inputs.InviteRequested(ALICE, room))
    house(inputs.JoinRequested(CAM, room))
    assert house.wait(PATIENCE) == [late(ALICE, room, "cam")]
    feed = house.publish()
    assert house.rooms.state.rooms[room].announced[feed] == {ALICE: None}


def test_an_invitation_taken_up_is_not_reported(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(inputs.InviteRequested(ALICE, room))
    house(inputs.JoinRequested(CAM, room))
    house.publish()
    assert house.wait(100) == []


@pytest.mark.parametrize("joins", ["the first", "the second"])
def test_a_device_invited_twice_before_it_publishes_serves_both_with_one_uplink(house: House, joins: str) -> None:
    house.connect(ALICE, BOB, CAM)
    rooms = [house.joined_room(ALICE), house.joined_room(BOB)]
    for web, room in zip((ALICE, BOB), rooms, strict=True):
        assert start(CAM, room, web.id) in house(inputs.InviteRequested(web, room))
    house(inputs.JoinRequested(CAM, rooms[joins == "the second"]))
    feed = house.publish(flowing=False)
    found = house(inputs.FeedFlowing(feed, TRACKS))
    assert sorted(found, key=repr) == [listening(ALICE, rooms[0], feed), listening(BOB, rooms[1], feed)]
    assert house.wait(100) == []


def test_a_device_that_has_no_place_in_a_second_room_is_reported_there() -> None:
    house = House(RoomLimits(members_per_room=2, stop_grace_seconds=0))
    house.connect(ALICE, BOB, CAM, CAM2)
    first, second = house.joined_room(ALICE), house.joined_room(BOB)
    house(inputs.InviteRequested(ALICE, first, ("cam",)))
    house(inputs.InviteRequested(BOB, second, ("cam",)))
    house(inputs.JoinRequested(CAM2, second))
    house(inputs.JoinRequested(CAM, first))
    (publish,) = house(inputs.OfferReceived(CAM, "v=0"))
    assert isinstance(publish, effects.Publish)
    found = house(inputs.PublishDone(publish.feed, "v=0", TRACKS))
    assert found == [Send(CAM, protocol.AnswerToClient(sdp="v=0")), late(BOB, second, "cam")]


def test_a_device_that_goes_is_waited_for_no_longer(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(inputs.InviteRequested(ALICE, room))
    assert house(inputs.ClientGone(CAM)) == []
    assert house.wait(100) == []


def test_a_standing_invitation_is_for_devices_that_come_later(house: House) -> None:
    house.connect(ALICE)
    room = house.joined_room(ALICE)
    assert house(inputs.InviteRequested(ALICE, room, None, None, standing=True)) == [invited(room)]
    assert house(inputs.ClientConnected(CAM)) == [start(CAM, room)]
    house(inputs.ClientGone(CAM))
    assert house(inputs.ClientConnected(CAM)) == [start(CAM, room)]
    assert house.wait(PATIENCE) == [late(ALICE, room, "cam")]
    house(inputs.LeaveRequested(ALICE))
    assert house(inputs.ClientConnected(CAM2)) == []


def test_a_standing_invitation_may_name_devices(house: House) -> None:
    house.connect(ALICE)
    room = house.joined_room(ALICE)
    found = house(inputs.InviteRequested(ALICE, room, ("cam",), None, standing=True))
    assert found == [invited(room, unavailable=("cam",))]
    assert house(inputs.ClientConnected(CAM2)) == []
    assert house(inputs.ClientConnected(CAM)) == [start(CAM, room)]


def test_a_device_that_may_publish_to_certain_rooms_serves_no_other(house: House) -> None:
    house.connect(ALICE)
    room, other = house.joined_room(ALICE), house.joined_room(ALICE)
    for number in (room, other):
        house(inputs.InviteRequested(ALICE, number, None, None, standing=True))
    assert house(inputs.ClientConnected(CAM, frozenset({room}))) == [start(CAM, room)]
    assert house(inputs.InviteRequested(ALICE, other)) == [invited(other, unavailable=("cam",))]
    house(inputs.JoinRequested(CAM, room))
    house.publish(CAM)
    assert house(inputs.InviteRequested(ALICE, other)) == [invited(other, unavailable=("cam",))]
    house(inputs.ClientResumed(CAM, frozenset({room, other})))
    assert house(inputs.InviteRequested(ALICE, other))[0] == invited(other, attached=("cam",))


def test_names_that_a_room_waits_for_are_limited(house: House) -> None:
    house.connect(ALICE)
    room = house.joined_room(ALICE)
    for begin in range(0, 1024, 256):
        names = tuple(f"d{number}" for number in range(begin, begin + 256))
        house(inputs.InviteRequested(ALICE, room, names, None, standing=True))
    failure = only_failure(house(inputs.InviteRequested(ALICE, room, ("more",), None, standing=True)))
    assert failure.code is ErrorCode.BAD_STATE
    assert house(inputs.InviteRequested(ALICE, room, ("d7",), None, standing=True))
