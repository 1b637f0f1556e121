"""Devices online and off, invitations that stand or come to nothing, and what is kept for a while."""

from __future__ import annotations

import pytest

from signaling import effects, inputs, protocol
from signaling.effects import Client, Fail, Send
from signaling.protocol import DeviceStatus, ErrorCode, Role
from signaling.rooms import RoomLimits, Snapshot
from tests.helpers.house import ALICE, BOB, CAM, CAM2, TRACKS, House, hushed, invited, listening, only_failure, start

GRACE = 5.0
PATIENCE = 20.0
ABSENCE = 30.0


@pytest.fixture
def house() -> House:
    return House(RoomLimits(stop_grace_seconds=GRACE, invitation_seconds=PATIENCE, resume_grace_seconds=ABSENCE))


def stop(client: Client, room: int) -> Send:
    return Send(client, protocol.StopStreaming(room_id=room, reason="no_viewers"))


# --- who is there ----------------------------------------------------------------------------------------------------


def test_every_web_hears_of_devices_that_come_and_go(house: House) -> None:
    house.connect(ALICE, BOB)
    online = protocol.DeviceOnline(device="cam")
    assert house.everything(inputs.ClientConnected(CAM)) == [Send(ALICE, online), Send(BOB, online)]
    offline = protocol.DeviceOffline(device="cam")
    assert house.everything(inputs.ClientGone(CAM)) == [Send(ALICE, offline), Send(BOB, offline)]
    assert house.everything(inputs.ClientGone(BOB)) == []


def test_devices_are_listed_with_what_they_do(house: House) -> None:
    house.connect(ALICE, CAM, CAM2, Client(Role.DEVICE, "idle"))
    room = house.joined_room(ALICE, CAM)
    feed = house.publish(CAM)
    house(inputs.InviteRequested(ALICE, room, ("cam2",)))
    assert house(inputs.DevicesRequested(ALICE, 5)) == [
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


# --- the last viewer --------------------------------------------------------------------------------------------------


def test_a_device_is_stopped_a_while_after_the_last_web(house: House) -> None:
    room, feed, number = house.watching()
    assert house(inputs.LeaveRequested(ALICE)) == [
        Send(ALICE, protocol.Left(room_id=room)),
        effects.Unsubscribe(number),
    ]
    assert house.wait(GRACE - 0.1) == []
    assert house.wait(0.2) == [effects.Unpublish(feed), stop(CAM, room)]
    assert not house.rooms.state.rooms


def test_a_web_that_is_back_in_time_keeps_the_camera_running(house: House) -> None:
    room, feed, _ = house.watching()
    house(inputs.ClientGone(ALICE))
    house.connect(ALICE)
    house.wait(GRACE - 0.1)
    joined = Send(ALICE, protocol.JoinedAsPublisher(room_id=room))
    assert house(inputs.JoinRequested(ALICE, room)) == [joined, listening(ALICE, room, feed)]
    assert house.wait(100) == []


def test_a_reloaded_page_with_a_room_of_its_own_keeps_the_camera_running(house: House) -> None:
    room, feed, _ = house.watching()
    house(inputs.ClientGone(ALICE))
    house.connect(BOB)
    other = house.joined_room(BOB)
    assert listening(BOB, other, feed) in house(inputs.InviteRequested(BOB, other))
    assert house.wait(100) == []
    assert room not in house.rooms.state.rooms
    assert feed in house.rooms.state.feeds


def test_a_device_on_its_way_is_stopped_too(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(inputs.InviteRequested(ALICE, room))
    house(inputs.LeaveRequested(ALICE))
    assert house.wait(GRACE) == [stop(CAM, room)]
    assert house.wait(100) == []


def test_a_kept_room_ends_with_its_last_device(house: House) -> None:
    room, feed, _ = house.watching()
    house(inputs.ClientGone(ALICE))
    assert house(inputs.ClientGone(CAM)) == [effects.Unpublish(feed)]
    assert room not in house.rooms.state.rooms
    assert house.rooms.state.is_empty()


# --- absence ---------------------------------------------------------------------------------------------------------


def test_an_absent_client_stays_what_it_is_until_the_grace_period_ends(house: House) -> None:
    room, feed, _ = house.watching()
    house.connect(BOB)
    house(inputs.JoinRequested(BOB, room))
    assert house.everything(inputs.ClientAbsent(CAM)) == []
    assert house.wait(ABSENCE - 0.1) == []
    house.now += 0.2
    offline = protocol.DeviceOffline(device="cam")
    assert house.everything(inputs.Tick()) == [
        hushed(ALICE, room, feed, "disconnected"),
        hushed(BOB, room, feed, "disconnected"),
        effects.Unpublish(feed),
        Send(ALICE, offline),
        Send(BOB, offline),
        effects.Forget(CAM),
    ]


def test_a_client_that_is_back_in_time_has_lost_nothing(house: House) -> None:
    room, feed, _ = house.watching()
    house(inputs.ClientAbsent(ALICE))
    house(inputs.ClientAbsent(CAM))
    house.wait(ABSENCE - 1)
    assert house(inputs.ClientResumed(ALICE)) == []
    assert house(inputs.ClientResumed(CAM)) == []
    assert house.rooms.snapshot(ALICE) == Snapshot({room: (feed,)}, None, (feed,))
    assert house.rooms.snapshot(CAM) == Snapshot({room: ()}, feed, ())
    assert house.wait(100) == []


def test_each_absence_has_its_own_grace(house: House) -> None:
    house.connect(ALICE)
    for _ in range(3):
        house(inputs.ClientAbsent(ALICE))
        assert house.wait(ABSENCE - 1) == []
        house(inputs.ClientResumed(ALICE))
    house(inputs.ClientAbsent(ALICE))
    assert house.wait(ABSENCE) == [effects.Forget(ALICE)]


def test_an_absent_client_is_told_what_happens(house: House) -> None:
    room, feed, _ = house.watching()
    house(inputs.ClientAbsent(ALICE))
    found = house(inputs.UnpublishRequested(CAM))
    assert hushed(ALICE, room, feed, "unpublished") in found


def test_many_absences_end_in_several_ticks(house: House) -> None:
    devices = [Client(Role.DEVICE, f"d{number}") for number in range(250)]
    house.connect(ALICE, *devices)
    for device in devices:
        house(inputs.ClientAbsent(device))
    house.now += ABSENCE
    ticks = [house(inputs.Tick()) for _ in range(3)]
    assert [len(found) for found in ticks] == [100, 100, 50]
    assert [*ticks[0], *ticks[1], *ticks[2]] == [effects.Forget(device) for device in devices]
    assert not house.rooms.state.devices


def test_an_absent_device_is_not_asked_again_and_again(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    house(inputs.ClientAbsent(CAM))
    assert house(inputs.InviteRequested(ALICE, room)) == [invited(room, "cam"), start(CAM, room)]
    assert house(inputs.InviteRequested(ALICE, room)) == [invited(room, "cam")]
    house(inputs.ClientResumed(CAM))
    assert house(inputs.InviteRequested(ALICE, room)) == [invited(room, "cam"), start(CAM, room)]


# --- negotiating anew, pausing ----------------------------------------------------------------------------------------


def test_a_further_offer_keeps_the_feed_and_tells_of_other_tracks(house: House) -> None:
    room, feed, _ = house.watching()
    more = (*TRACKS, protocol.Track(id="a", kind="audio", codec="opus", label="a"))
    assert house(inputs.OfferReceived(CAM, "v=1", 7)) == [effects.Republish(feed, "v=1")]
    assert house(inputs.RepublishDone(feed, "answer", more)) == [
        Send(CAM, protocol.AnswerToClient(sdp="answer"), 7),
        Send(ALICE, protocol.TracksChanged(feed=feed, room_id=room, device="cam", tracks=more)),
    ]
    house(inputs.OfferReceived(CAM, "v=2"))
    assert house(inputs.RepublishDone(feed, "answer", more)) == [Send(CAM, protocol.AnswerToClient(sdp="answer"))]


def test_a_further_offer_that_is_refused_leaves_the_feed_as_it_was(house: House) -> None:
    room, feed, _ = house.watching()
    house(inputs.OfferReceived(CAM, "x", 7))
    refused = house(inputs.RepublishFailed(feed, ErrorCode.BAD_SDP, "m"))
    assert refused == [Fail(CAM, ErrorCode.BAD_SDP, "m", "offer_from_device", 7)]
    assert feed in house.rooms.state.rooms[room].announced
    assert house(inputs.OfferReceived(CAM, "v=2")) == [effects.Republish(feed, "v=2")]


def test_a_feed_lost_while_it_is_negotiated_anew_fails_the_offer(house: House) -> None:
    _, feed, _ = house.watching()
    house(inputs.OfferReceived(CAM, "v=1", 7))
    first, second, *_ = house(inputs.FeedLost(feed))
    assert isinstance(first, Fail)
    assert first.request_id == 7
    assert second == Send(CAM, protocol.ConnectionLost(typ="pub", feed=feed))
    assert house(inputs.RepublishFailed(feed, ErrorCode.FEED_NOT_FOUND, "m")) == []


def test_a_subscriber_is_offered_anew_and_answers(house: House) -> None:
    _, feed, number = house.watching()
    offered = house(inputs.OfferChanged(number, "offer 2"))
    assert offered == [Send(ALICE, protocol.OfferToSubscriber(sdp="offer 2", feed=feed))]
    assert house(inputs.AnswerReceived(ALICE, "a", feed)) == [effects.Accept(number, "a")]
    # The engine may have more to offer before the rooms hear that it took the answer.
    house(inputs.OfferChanged(number, "offer 3"))
    house(inputs.AnswerDone(number))
    assert house(inputs.AnswerReceived(ALICE, "b")) == [effects.Accept(number, "b")]


def test_the_oldest_unanswered_offer_is_by_the_time_of_the_offer(house: House) -> None:
    house.connect(ALICE, CAM, CAM2)
    room = house.joined_room(ALICE, CAM, CAM2)
    first = house.subscribe(ALICE, room, house.publish(CAM))
    house(inputs.AnswerReceived(ALICE, "a"))
    house(inputs.AnswerDone(first))
    second = house.subscribe(ALICE, room, house.publish(CAM2))
    house(inputs.OfferChanged(first, "again"))
    assert house(inputs.AnswerReceived(ALICE, "b")) == [effects.Accept(second, "b")]
    assert house(inputs.AnswerReceived(ALICE, "c")) == [effects.Accept(first, "c")]


def test_receiving_is_paused_resumed_and_stopped(house: House) -> None:
    _, feed, number = house.watching()
    both = frozenset[protocol.Kind](("audio", "video"))
    assert house(inputs.PauseRequested(ALICE, feed, both, request_id=1)) == [effects.Pause(number, both, paused=True)]
    asked = house(inputs.PauseRequested(ALICE, feed, frozenset(("audio",)), paused=False, request_id=2))
    assert asked == [effects.Pause(number, frozenset(("audio",)), paused=False)]
    changed = protocol.ReceivingChanged(feed=feed, paused=("audio", "video"))
    assert house(inputs.PauseDone(number, ("audio", "video"))) == [Send(ALICE, changed, 1)]
    refused = house(inputs.PauseFailed(number, ErrorCode.BAD_STATE, "m"))
    assert refused == [Fail(ALICE, ErrorCode.BAD_STATE, "m", "resume_receiving", 2)]
    assert house(inputs.StopReceivingRequested(ALICE, feed, 3)) == [
        Send(ALICE, protocol.StoppedReceiving(feed=feed), 3),
        effects.Unsubscribe(number),
    ]
    assert house(inputs.PauseDone(number, ())) == []


def test_requests_to_pause_are_limited_and_all_answered(house: House) -> None:
    _, feed, number = house.watching()
    kinds = frozenset[protocol.Kind](("video",))
    for request in range(8):
        house(inputs.PauseRequested(ALICE, feed, kinds, request_id=request))
    assert only_failure(house(inputs.PauseRequested(ALICE, feed, kinds))).code is ErrorCode.RATE_LIMITED
    failed = [effect for effect in house(inputs.SubscriptionLost(number)) if isinstance(effect, Fail)]
    assert [failure.request_id for failure in failed] == list(range(8))


@pytest.mark.parametrize("feed", [99, 2])
def test_nobody_pauses_or_stops_what_it_does_not_receive(house: House, feed: int) -> None:
    house.watching()
    house.connect(BOB)
    code = ErrorCode.FEED_NOT_FOUND if feed == 99 else ErrorCode.BAD_STATE
    assert only_failure(house(inputs.StopReceivingRequested(BOB, feed))).code is code
    failure = only_failure(house(inputs.PauseRequested(BOB, feed, frozenset(("audio",)), paused=False)))
    assert (failure.code, failure.event) == (code, "resume_receiving")


def test_a_publisher_hears_which_tracks_are_wanted(house: House) -> None:
    _, feed, _ = house.watching()
    wanted = protocol.TracksWanted(feed=feed, tracks=("v",))
    assert house(inputs.WantedTracksChanged(feed, ("v",))) == [Send(CAM, wanted)]
    assert house(inputs.WantedTracksChanged(feed + 7, ("v",))) == []
