"""Devices online and off, invitations that stand or come to nothing, and what is kept for a while."""

from __future__ import annotations

import pytest

from signaling import effects, protocol
from signaling.effects import Client, Fail, Send
from signaling.protocol import DevicesInvited, DeviceStatus, ErrorCode, Role
from signaling.rooms import RoomLimits, Snapshot
from tests.helpers.house import ALICE, BOB, CAM, CAM2, TRACKS, House, hushed, listening, only_failure

GRACE = 5.0
PATIENCE = 20.0
ABSENCE = 30.0


@pytest.fixture
def house() -> House:
    return House(RoomLimits(stop_grace_seconds=GRACE, invitation_seconds=PATIENCE, resume_grace_seconds=ABSENCE))


def start(client: Client, room: int, inviter: str = "alice") -> Send:
    return Send(client, protocol.StartStreaming(room_id=room, inviter=inviter))


def stop(client: Client, room: int) -> Send:
    return Send(client, protocol.StopStreaming(room_id=room, reason="no_viewers"))


def late(client: Client, room: int, *devices: str) -> Send:
    return Send(client, protocol.DevicesUnavailable(room_id=room, devices=devices))


def invited(room: int, *devices: str, attached: tuple[str, ...] = (), unavailable: tuple[str, ...] = ()) -> Send:
    reply = DevicesInvited(room_id=room, invited=devices, attached=attached, unavailable=unavailable)
    return Send(ALICE, reply)


# --- who is there ----------------------------------------------------------------------------------------------------


def test_every_web_hears_of_devices_that_come_and_go(house: House) -> None:
    house.connect(ALICE, BOB)
    online = protocol.DeviceOnline(device="cam")
    assert house.everything(effects.ClientConnected(CAM)) == [Send(ALICE, online), Send(BOB, online)]
    offline = protocol.DeviceOffline(device="cam")
    assert house.everything(effects.ClientGone(CAM)) == [Send(ALICE, offline), Send(BOB, offline)]
    assert house.everything(effects.ClientGone(BOB)) == []


def test_devices_are_listed_with_what_they_do(house: House) -> None:
    house.connect(ALICE, CAM, CAM2, Client(Role.DEVICE, "idle"))
    room = house.joined_room(ALICE, CAM)
    feed = house.publish(CAM)
    house(effects.InviteRequested(ALICE, room, ("cam2",)))
    assert house(effects.DevicesRequested(ALICE, 5)) == [
        Send(
            ALICE,
            protocol.Devices(
                devices=(
                    DeviceStatus(device="cam", state="streaming", feed=feed, tracks=TRACKS),
                    DeviceStatus(device="cam2", state="invited"),
                    DeviceStatus(device="idle", state="available"),
                )
            ),
            5,
        )
    ]


# --- invitations -----------------------------------------------------------------------------------------------------


def test_an_invitation_that_is_never_taken_up_is_reported_once(house: House) -> None:
    house.connect(ALICE, CAM, CAM2)
    room = house.joined_room(ALICE)
    house(effects.InviteRequested(ALICE, room))
    assert house.wait(PATIENCE - 0.1) == []
    assert house.wait(0.2) == [late(ALICE, room, "cam", "cam2")]
    assert house.rooms.deadline() is None
    assert house(effects.InviteRequested(ALICE, room, ("cam",))) == [invited(room, "cam"), start(CAM, room)]
    assert house.wait(PATIENCE) == [late(ALICE, room, "cam")]


def test_asking_again_does_not_put_the_report_off(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(effects.InviteRequested(ALICE, room))
    for _ in range(3):
        assert house.wait(6) == []
        assert house(effects.InviteRequested(ALICE, room)) == [invited(room, "cam"), start(CAM, room)]
    assert house.wait(2) == [late(ALICE, room, "cam")]


def test_each_inviter_hears_of_its_own(house: House) -> None:
    house.connect(ALICE, BOB, CAM, CAM2)
    room = house.joined_room(ALICE, BOB)
    house(effects.InviteRequested(ALICE, room, ("cam",)))
    house.wait(1)
    house(effects.InviteRequested(BOB, room, ("cam2",)))
    assert house.wait(PATIENCE - 1) == [late(ALICE, room, "cam")]
    assert house.wait(1) == [late(BOB, room, "cam2")]


def test_joining_without_publishing_is_not_taking_up(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(effects.InviteRequested(ALICE, room))
    house(effects.JoinRequested(CAM, room))
    assert house.wait(PATIENCE) == [late(ALICE, room, "cam")]
    feed = house.publish()
    assert house.rooms.state.rooms[room].announced[feed] == {ALICE: None}


def test_an_invitation_taken_up_is_not_reported(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(effects.InviteRequested(ALICE, room))
    house(effects.JoinRequested(CAM, room))
    house.publish()
    assert house.wait(100) == []


@pytest.mark.parametrize("joins", ["the first", "the second"])
def test_a_device_invited_twice_before_it_publishes_serves_both_with_one_uplink(house: House, joins: str) -> None:
    house.connect(ALICE, BOB, CAM)
    rooms = [house.joined_room(ALICE), house.joined_room(BOB)]
    for web, room in zip((ALICE, BOB), rooms, strict=True):
        assert start(CAM, room, web.id) in house(effects.InviteRequested(web, room))
    house(effects.JoinRequested(CAM, rooms[joins == "the second"]))
    feed = house.publish(flowing=False)
    found = house(effects.FeedFlowing(feed, TRACKS))
    assert sorted(found, key=repr) == [listening(ALICE, rooms[0], feed), listening(BOB, rooms[1], feed)]
    assert house.wait(100) == []


def test_a_device_that_has_no_place_in_a_second_room_is_reported_there() -> None:
    house = House(RoomLimits(members_per_room=2, stop_grace_seconds=0))
    house.connect(ALICE, BOB, CAM, CAM2)
    first, second = house.joined_room(ALICE), house.joined_room(BOB)
    house(effects.InviteRequested(ALICE, first, ("cam",)))
    house(effects.InviteRequested(BOB, second, ("cam",)))
    house(effects.JoinRequested(CAM2, second))
    house(effects.JoinRequested(CAM, first))
    (publish,) = house(effects.OfferReceived(CAM, "v=0"))
    assert isinstance(publish, effects.Publish)
    found = house(effects.PublishDone(publish.feed, "v=0", TRACKS))
    assert found == [Send(CAM, protocol.AnswerToClient(sdp="v=0")), late(BOB, second, "cam")]


def test_a_device_that_goes_is_waited_for_no_longer(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(effects.InviteRequested(ALICE, room))
    assert house(effects.ClientGone(CAM)) == []
    assert house.wait(100) == []


def test_a_standing_invitation_is_for_devices_that_come_later(house: House) -> None:
    house.connect(ALICE)
    room = house.joined_room(ALICE)
    assert house(effects.InviteRequested(ALICE, room, None, None, standing=True)) == [invited(room)]
    assert house(effects.ClientConnected(CAM)) == [start(CAM, room)]
    house(effects.ClientGone(CAM))
    assert house(effects.ClientConnected(CAM)) == [start(CAM, room)]
    assert house.wait(PATIENCE) == [late(ALICE, room, "cam")]
    house(effects.LeaveRequested(ALICE))
    assert house(effects.ClientConnected(CAM2)) == []


def test_a_standing_invitation_may_name_devices(house: House) -> None:
    house.connect(ALICE)
    room = house.joined_room(ALICE)
    found = house(effects.InviteRequested(ALICE, room, ("cam",), None, standing=True))
    assert found == [invited(room, unavailable=("cam",))]
    assert house(effects.ClientConnected(CAM2)) == []
    assert house(effects.ClientConnected(CAM)) == [start(CAM, room)]


def test_a_device_that_may_publish_to_certain_rooms_serves_no_other(house: House) -> None:
    house.connect(ALICE)
    room, other = house.joined_room(ALICE), house.joined_room(ALICE)
    for number in (room, other):
        house(effects.InviteRequested(ALICE, number, None, None, standing=True))
    assert house(effects.ClientConnected(CAM, frozenset({room}))) == [start(CAM, room)]
    assert house(effects.InviteRequested(ALICE, other)) == [invited(other, unavailable=("cam",))]
    house(effects.JoinRequested(CAM, room))
    house.publish(CAM)
    assert house(effects.InviteRequested(ALICE, other)) == [invited(other, unavailable=("cam",))]
    house(effects.ClientResumed(CAM, frozenset({room, other})))
    assert house(effects.InviteRequested(ALICE, other))[0] == invited(other, attached=("cam",))


def test_names_that_a_room_waits_for_are_limited(house: House) -> None:
    house.connect(ALICE)
    room = house.joined_room(ALICE)
    for begin in range(0, 1024, 256):
        names = tuple(f"d{number}" for number in range(begin, begin + 256))
        house(effects.InviteRequested(ALICE, room, names, None, standing=True))
    failure = only_failure(house(effects.InviteRequested(ALICE, room, ("more",), None, standing=True)))
    assert failure.code is ErrorCode.BAD_STATE
    assert house(effects.InviteRequested(ALICE, room, ("d7",), None, standing=True))


# --- the last viewer --------------------------------------------------------------------------------------------------


def test_a_device_is_stopped_a_while_after_the_last_web(house: House) -> None:
    room, feed, number = house.watching()
    assert house(effects.LeaveRequested(ALICE)) == [
        Send(ALICE, protocol.Left(room_id=room)),
        effects.Unsubscribe(number),
    ]
    assert house.wait(GRACE - 0.1) == []
    assert house.wait(0.2) == [effects.Unpublish(feed), stop(CAM, room)]
    assert not house.rooms.state.rooms


def test_a_web_that_is_back_in_time_keeps_the_camera_running(house: House) -> None:
    room, feed, _ = house.watching()
    house(effects.ClientGone(ALICE))
    house.connect(ALICE)
    house.wait(GRACE - 0.1)
    joined = Send(ALICE, protocol.JoinedAsPublisher(room_id=room))
    assert house(effects.JoinRequested(ALICE, room)) == [joined, listening(ALICE, room, feed)]
    assert house.wait(100) == []


def test_a_reloaded_page_with_a_room_of_its_own_keeps_the_camera_running(house: House) -> None:
    room, feed, _ = house.watching()
    house(effects.ClientGone(ALICE))
    house.connect(BOB)
    other = house.joined_room(BOB)
    assert listening(BOB, other, feed) in house(effects.InviteRequested(BOB, other))
    assert house.wait(100) == []
    assert room not in house.rooms.state.rooms
    assert feed in house.rooms.state.feeds


def test_a_device_on_its_way_is_stopped_too(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(effects.InviteRequested(ALICE, room))
    house(effects.LeaveRequested(ALICE))
    assert house.wait(GRACE) == [stop(CAM, room)]
    assert house.wait(100) == []


def test_a_kept_room_ends_with_its_last_device(house: House) -> None:
    room, feed, _ = house.watching()
    house(effects.ClientGone(ALICE))
    assert house(effects.ClientGone(CAM)) == [effects.Unpublish(feed)]
    assert room not in house.rooms.state.rooms
    assert house.rooms.state.is_empty()


# --- absence ---------------------------------------------------------------------------------------------------------


def test_an_absent_client_stays_what_it_is_until_the_grace_period_ends(house: House) -> None:
    room, feed, _ = house.watching()
    house.connect(BOB)
    house(effects.JoinRequested(BOB, room))
    assert house.everything(effects.ClientAbsent(CAM)) == []
    assert house.wait(ABSENCE - 0.1) == []
    house.now += 0.2
    offline = protocol.DeviceOffline(device="cam")
    assert house.everything(effects.Tick()) == [
        hushed(ALICE, room, feed, "disconnected"),
        hushed(BOB, room, feed, "disconnected"),
        effects.Unpublish(feed),
        Send(ALICE, offline),
        Send(BOB, offline),
        effects.Forget(CAM),
    ]


def test_a_client_that_is_back_in_time_has_lost_nothing(house: House) -> None:
    room, feed, _ = house.watching()
    house(effects.ClientAbsent(ALICE))
    house(effects.ClientAbsent(CAM))
    house.wait(ABSENCE - 1)
    assert house(effects.ClientResumed(ALICE)) == []
    assert house(effects.ClientResumed(CAM)) == []
    assert house.rooms.snapshot(ALICE) == Snapshot({room: (feed,)}, None, (feed,))
    assert house.rooms.snapshot(CAM) == Snapshot({room: ()}, feed, ())
    assert house.wait(100) == []


def test_each_absence_has_its_own_grace(house: House) -> None:
    house.connect(ALICE)
    for _ in range(3):
        house(effects.ClientAbsent(ALICE))
        assert house.wait(ABSENCE - 1) == []
        house(effects.ClientResumed(ALICE))
    house(effects.ClientAbsent(ALICE))
    assert house.wait(ABSENCE) == [effects.Forget(ALICE)]


def test_an_absent_client_is_told_what_happens(house: House) -> None:
    room, feed, _ = house.watching()
    house(effects.ClientAbsent(ALICE))
    found = house(effects.UnpublishRequested(CAM))
    assert hushed(ALICE, room, feed, "unpublished") in found


def test_many_absences_end_in_several_ticks(house: House) -> None:
    devices = [Client(Role.DEVICE, f"d{number}") for number in range(250)]
    house.connect(ALICE, *devices)
    for device in devices:
        house(effects.ClientAbsent(device))
    house.now += ABSENCE
    ticks = [house(effects.Tick()) for _ in range(3)]
    assert [len(found) for found in ticks] == [100, 100, 50]
    assert [*ticks[0], *ticks[1], *ticks[2]] == [effects.Forget(device) for device in devices]
    assert not house.rooms.state.devices


def test_an_absent_device_is_not_asked_again_and_again(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(effects.ClientAbsent(CAM))
    assert house(effects.InviteRequested(ALICE, room)) == [invited(room, "cam"), start(CAM, room)]
    assert house(effects.InviteRequested(ALICE, room)) == [invited(room, "cam")]
    house(effects.ClientResumed(CAM))
    assert house(effects.InviteRequested(ALICE, room)) == [invited(room, "cam"), start(CAM, room)]


# --- negotiating anew, pausing ----------------------------------------------------------------------------------------


def test_a_further_offer_keeps_the_feed_and_tells_of_other_tracks(house: House) -> None:
    room, feed, _ = house.watching()
    more = (*TRACKS, protocol.Track(id="a", kind="audio", codec="opus", label="a"))
    assert house(effects.OfferReceived(CAM, "v=1", 7)) == [effects.Republish(feed, "v=1")]
    assert house(effects.RepublishDone(feed, "answer", more)) == [
        Send(CAM, protocol.AnswerToClient(sdp="answer"), 7),
        Send(ALICE, protocol.TracksChanged(feed=feed, room_id=room, device="cam", tracks=more)),
    ]
    house(effects.OfferReceived(CAM, "v=2"))
    assert house(effects.RepublishDone(feed, "answer", more)) == [Send(CAM, protocol.AnswerToClient(sdp="answer"))]


def test_a_further_offer_that_is_refused_leaves_the_feed_as_it_was(house: House) -> None:
    room, feed, _ = house.watching()
    house(effects.OfferReceived(CAM, "x", 7))
    refused = house(effects.RepublishFailed(feed, ErrorCode.BAD_SDP, "m"))
    assert refused == [Fail(CAM, ErrorCode.BAD_SDP, "m", "offer_from_device", 7)]
    assert feed in house.rooms.state.rooms[room].announced
    assert house(effects.OfferReceived(CAM, "v=2")) == [effects.Republish(feed, "v=2")]


def test_a_feed_lost_while_it_is_negotiated_anew_fails_the_offer(house: House) -> None:
    _, feed, _ = house.watching()
    house(effects.OfferReceived(CAM, "v=1", 7))
    first, second, *_ = house(effects.FeedLost(feed))
    assert isinstance(first, Fail)
    assert first.request_id == 7
    assert second == Send(CAM, protocol.ConnectionLost(typ="pub", feed=feed))
    assert house(effects.RepublishFailed(feed, ErrorCode.FEED_NOT_FOUND, "m")) == []


def test_a_subscriber_is_offered_anew_and_answers(house: House) -> None:
    _, feed, number = house.watching()
    offered = house(effects.OfferChanged(number, "offer 2"))
    assert offered == [Send(ALICE, protocol.OfferToSubscriber(sdp="offer 2", feed=feed))]
    assert house(effects.AnswerReceived(ALICE, "a", feed)) == [effects.Accept(number, "a")]
    # The engine may have more to offer before the rooms hear that it took the answer.
    house(effects.OfferChanged(number, "offer 3"))
    house(effects.AnswerDone(number))
    assert house(effects.AnswerReceived(ALICE, "b")) == [effects.Accept(number, "b")]


def test_the_oldest_unanswered_offer_is_by_the_time_of_the_offer(house: House) -> None:
    house.connect(ALICE, CAM, CAM2)
    room = house.joined_room(ALICE, CAM, CAM2)
    first = house.subscribe(ALICE, room, house.publish(CAM))
    house(effects.AnswerReceived(ALICE, "a"))
    house(effects.AnswerDone(first))
    second = house.subscribe(ALICE, room, house.publish(CAM2))
    house(effects.OfferChanged(first, "again"))
    assert house(effects.AnswerReceived(ALICE, "b")) == [effects.Accept(second, "b")]
    assert house(effects.AnswerReceived(ALICE, "c")) == [effects.Accept(first, "c")]


def test_receiving_is_paused_resumed_and_stopped(house: House) -> None:
    _, feed, number = house.watching()
    both = frozenset[protocol.Kind](("audio", "video"))
    assert house(effects.PauseRequested(ALICE, feed, both, request_id=1)) == [effects.Pause(number, both, paused=True)]
    asked = house(effects.PauseRequested(ALICE, feed, frozenset(("audio",)), paused=False, request_id=2))
    assert asked == [effects.Pause(number, frozenset(("audio",)), paused=False)]
    changed = protocol.ReceivingChanged(feed=feed, paused=("audio", "video"))
    assert house(effects.PauseDone(number, ("audio", "video"))) == [Send(ALICE, changed, 1)]
    refused = house(effects.PauseFailed(number, ErrorCode.BAD_STATE, "m"))
    assert refused == [Fail(ALICE, ErrorCode.BAD_STATE, "m", "resume_receiving", 2)]
    assert house(effects.StopReceivingRequested(ALICE, feed, 3)) == [
        Send(ALICE, protocol.StoppedReceiving(feed=feed), 3),
        effects.Unsubscribe(number),
    ]
    assert house(effects.PauseDone(number, ())) == []


def test_requests_to_pause_are_limited_and_all_answered(house: House) -> None:
    _, feed, number = house.watching()
    kinds = frozenset[protocol.Kind](("video",))
    for request in range(8):
        house(effects.PauseRequested(ALICE, feed, kinds, request_id=request))
    assert only_failure(house(effects.PauseRequested(ALICE, feed, kinds))).code is ErrorCode.RATE_LIMITED
    failed = [effect for effect in house(effects.SubscriptionLost(number)) if isinstance(effect, Fail)]
    assert [failure.request_id for failure in failed] == list(range(8))


@pytest.mark.parametrize("feed", [99, 2])
def test_nobody_pauses_or_stops_what_it_does_not_receive(house: House, feed: int) -> None:
    house.watching()
    house.connect(BOB)
    code = ErrorCode.FEED_NOT_FOUND if feed == 99 else ErrorCode.BAD_STATE
    assert only_failure(house(effects.StopReceivingRequested(BOB, feed))).code is code
    failure = only_failure(house(effects.PauseRequested(BOB, feed, frozenset(("audio",)), paused=False)))
    assert (failure.code, failure.event) == (code, "resume_receiving")


def test_a_publisher_hears_which_tracks_are_wanted(house: House) -> None:
    _, feed, _ = house.watching()
    wanted = protocol.TracksWanted(feed=feed, tracks=("v",))
    assert house(effects.WantedTracksChanged(feed, ("v",))) == [Send(CAM, wanted)]
    assert house(effects.WantedTracksChanged(feed + 7, ("v",))) == []
