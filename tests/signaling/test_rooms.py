"""Who is told what, and in which order; no socket, no engine."""

from __future__ import annotations

import pytest

from signaling import effects, inputs, protocol
from signaling.effects import Fail, Send
from signaling.protocol import ErrorCode
from signaling.rooms import RoomLimits, Rooms
from tests.helpers.house import ALICE, BOB, CAM, CAM2, TRACKS, House, hushed, listening, only_failure


@pytest.fixture
def house() -> House:
    return House()


# --- rooms and invitations -----------------------------------------------------------------------------------------


def test_the_documents_flow(house: House) -> None:
    house.connect(ALICE, CAM)
    assert house(inputs.RoomRequested(ALICE, "a")) == [Send(ALICE, protocol.RoomCreated(room_id=1), "a")]
    assert house(inputs.JoinRequested(ALICE, 1, "b")) == [Send(ALICE, protocol.JoinedAsPublisher(room_id=1), "b")]
    invited = protocol.DevicesInvited(room_id=1, invited=("cam",), attached=(), unavailable=())
    assert house(inputs.InviteRequested(ALICE, 1, None, "c")) == [
        Send(ALICE, invited, "c"),
        Send(CAM, protocol.StartStreaming(room_id=1, inviter="alice")),
    ]
    assert house(inputs.JoinRequested(CAM, 1)) == [Send(CAM, protocol.JoinedAsPublisher(room_id=1))]
    assert house(inputs.OfferReceived(CAM, "v=0")) == [effects.Publish(2, "v=0")]
    assert house(inputs.PublishDone(2, "v=0", TRACKS)) == [Send(CAM, protocol.AnswerToClient(sdp="v=0"))]
    assert house(inputs.FeedFlowing(2, TRACKS)) == [listening(ALICE, 1, 2)]
    assert house(inputs.SubscribeRequested(ALICE, 1, 2)) == [effects.Subscribe(3, 2, None)]
    assert house(inputs.SubscribeDone(3, "v=0")) == [Send(ALICE, protocol.OfferToSubscriber(sdp="v=0", feed=2))]
    assert house(inputs.AnswerReceived(ALICE, "v=0")) == [effects.Accept(3, "v=0")]
    assert house(inputs.AnswerDone(3)) == []


def test_joining_again_only_repeats_the_reply(house: House) -> None:
    room, _, _ = house.watching()
    assert house(inputs.JoinRequested(ALICE, room, 1)) == [Send(ALICE, protocol.JoinedAsPublisher(room_id=room), 1)]
    assert house(inputs.JoinRequested(CAM, room)) == [Send(CAM, protocol.JoinedAsPublisher(room_id=room))]


def test_a_late_web_is_told_of_what_flows(house: House) -> None:
    room, feed, _ = house.watching()
    house.connect(BOB)
    joined = Send(BOB, protocol.JoinedAsPublisher(room_id=room))
    assert house(inputs.JoinRequested(BOB, room)) == [joined, listening(BOB, room, feed)]


def test_flowing_is_announced_once(house: House) -> None:
    _, feed, _ = house.watching()
    assert house(inputs.FeedFlowing(feed, TRACKS)) == []


def test_a_publishing_device_is_attached_with_its_one_feed(house: House) -> None:
    _, feed, _ = house.watching()
    house.connect(BOB, CAM2)
    room = house.joined_room(BOB)
    found = house(inputs.InviteRequested(BOB, room, ("cam", "nobody", "cam2", "cam")))
    reply = protocol.DevicesInvited(room_id=room, invited=("cam2",), attached=("cam",), unavailable=("nobody",))
    assert found == [
        Send(BOB, reply),
        Send(CAM2, protocol.StartStreaming(room_id=room, inviter="bob")),
        listening(BOB, room, feed),
    ]
    again = house(inputs.InviteRequested(BOB, room, ("cam",)))
    assert again == [Send(BOB, protocol.DevicesInvited(room_id=room, invited=(), attached=("cam",), unavailable=()))]


def test_a_device_attached_before_its_media_flows_is_announced_later(house: House) -> None:
    house.connect(ALICE, BOB, CAM)
    first = house.joined_room(ALICE, CAM)
    feed = house.publish(flowing=False)
    second = house.joined_room(BOB)
    found = house(inputs.InviteRequested(BOB, second))
    assert [type(effect.event) for effect in found if isinstance(effect, Send)] == [protocol.DevicesInvited]
    assert house(inputs.FeedFlowing(feed, TRACKS)) == [listening(ALICE, first, feed), listening(BOB, second, feed)]


def test_a_device_that_joins_a_second_room_brings_its_feed(house: House) -> None:
    _, feed, _ = house.watching()
    house.connect(BOB)
    room = house.joined_room(BOB)
    joined = Send(CAM, protocol.JoinedAsPublisher(room_id=room))
    assert house(inputs.JoinRequested(CAM, room)) == [joined, listening(BOB, room, feed)]


def test_a_web_may_publish_and_is_not_told_of_itself(house: House) -> None:
    house.connect(ALICE, BOB)
    room = house.joined_room(ALICE, BOB)
    (publish,) = house(inputs.OfferReceived(ALICE, "v=0"))
    assert isinstance(publish, effects.Publish)
    house(inputs.PublishDone(publish.feed, "v=0", TRACKS))
    assert house(inputs.FeedFlowing(publish.feed, TRACKS)) == [listening(BOB, room, publish.feed, "alice")]


# --- endings -------------------------------------------------------------------------------------------------------


def test_unpublish_ends_the_feed_and_tells_the_room(house: House) -> None:
    room, feed, _ = house.watching()
    assert house(inputs.UnpublishRequested(CAM, 9)) == [
        Send(CAM, protocol.Unpublished(feed=feed), 9),
        hushed(ALICE, room, feed, "unpublished"),
        effects.Unpublish(feed),
    ]
    assert only_failure(house(inputs.UnpublishRequested(CAM))).code is ErrorCode.BAD_STATE
    house.publish()


def test_a_device_that_leaves_ends_its_feed(house: House) -> None:
    room, feed, _ = house.watching()
    assert house(inputs.LeaveRequested(CAM)) == [
        Send(CAM, protocol.Left(room_id=room)),
        hushed(ALICE, room, feed, "left"),
        effects.Unpublish(feed),
    ]


def test_a_device_that_leaves_one_of_two_rooms_streams_on_in_the_other(house: House) -> None:
    room, feed, number = house.watching()
    house.connect(BOB)
    other = house.joined_room(BOB, CAM)
    bobs = house.subscribe(BOB, other, feed)
    assert house(inputs.LeaveRequested(CAM, room)) == [
        Send(CAM, protocol.Left(room_id=room)),
        hushed(ALICE, room, feed, "left"),
        effects.Unsubscribe(number),
    ]
    assert house(inputs.AnswerReceived(BOB, "v=0")) == [effects.Accept(bobs, "v=0")]


def test_a_device_that_vanishes_ends_its_feed(house: House) -> None:
    room, feed, _ = house.watching()
    assert house(inputs.ClientGone(CAM)) == [hushed(ALICE, room, feed, "disconnected"), effects.Unpublish(feed)]
    assert house(inputs.ClientGone(CAM)) == []


@pytest.mark.parametrize("by", ["leave", "gone"])
def test_the_last_web_stops_the_device(house: House, by: str) -> None:
    room, feed, number = house.watching()
    event = inputs.LeaveRequested(ALICE) if by == "leave" else inputs.ClientGone(ALICE)
    replies = [Send(ALICE, protocol.Left(room_id=room))] if by == "leave" else []
    assert house(event) == [
        *replies,
        effects.Unsubscribe(number),
        effects.Unpublish(feed),
        Send(CAM, protocol.StopStreaming(room_id=room, reason="no_viewers")),
    ]
    assert only_failure(house(inputs.OfferReceived(CAM, "v=0"))).code is ErrorCode.NOT_IN_ROOM
    assert not house.rooms.state.rooms


def test_a_device_streams_while_any_room_watches(house: House) -> None:
    room, feed, _ = house.watching()
    house.connect(BOB)
    other = house.joined_room(BOB, CAM)
    house(inputs.ClientGone(ALICE))
    assert room not in house.rooms.state.rooms
    assert house.rooms.state.feeds[feed]
    assert house(inputs.ClientGone(BOB)) == [
        effects.Unpublish(feed),
        Send(CAM, protocol.StopStreaming(room_id=other, reason="no_viewers")),
    ]


def test_a_device_that_has_not_offered_yet_is_stopped_too(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE, CAM)
    stop = Send(CAM, protocol.StopStreaming(room_id=room, reason="no_viewers"))
    assert house(inputs.ClientGone(ALICE)) == [stop]


def test_a_room_nobody_joined_ends_with_its_creator(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.open_room()
    house(inputs.JoinRequested(CAM, room))
    house(inputs.LeaveRequested(CAM))
    assert room in house.rooms.state.rooms
    house(inputs.JoinRequested(CAM, room))
    stop = Send(CAM, protocol.StopStreaming(room_id=room, reason="no_viewers"))
    assert house(inputs.ClientGone(ALICE)) == [stop]


def test_a_creator_may_leave_a_room_it_never_joined(house: House) -> None:
    house.connect(ALICE)
    room = house.open_room()
    assert house(inputs.LeaveRequested(ALICE, room, 1)) == [Send(ALICE, protocol.Left(room_id=room), 1)]
    assert not house.rooms.state.rooms


def test_a_room_outlives_its_creator_while_another_web_is_there(house: House) -> None:
    house.connect(ALICE, BOB)
    room = house.joined_room(ALICE, BOB)
    house(inputs.ClientGone(ALICE))
    assert room in house.rooms.state.rooms
    house(inputs.ClientGone(BOB))
    assert house.rooms.state.is_empty()


def test_leave_leaves_every_room(house: House) -> None:
    house.connect(ALICE)
    rooms = [house.joined_room(ALICE), house.joined_room(ALICE)]
    assert house(inputs.LeaveRequested(ALICE, None, "x")) == [
        Send(ALICE, protocol.Left(room_id=room), "x") for room in rooms
    ]
    assert only_failure(house(inputs.LeaveRequested(ALICE))).code is ErrorCode.NOT_IN_ROOM


def test_lost_media_is_told_to_both_sides_and_may_begin_again(house: House) -> None:
    room, feed, _ = house.watching()
    assert house(inputs.FeedLost(feed)) == [
        Send(CAM, protocol.ConnectionLost(typ="pub", feed=feed)),
        hushed(ALICE, room, feed, "disconnected"),
    ]
    newer = house.publish()
    house.subscribe(ALICE, room, newer)


def test_a_lost_subscription_may_begin_again(house: House) -> None:
    room, feed, number = house.watching()
    lost = Send(ALICE, protocol.ConnectionLost(typ="sub", feed=feed))
    assert house(inputs.SubscriptionLost(number)) == [lost]
    house.subscribe(ALICE, room, feed)


def test_stopping_tells_everybody_and_empties_the_rooms(house: House) -> None:
    room, feed, _ = house.watching()
    house.connect(CAM2)
    assert house(inputs.ServerStopping()) == [
        hushed(ALICE, room, feed, "shutdown"),
        effects.Unpublish(feed),
        Send(CAM, protocol.StopStreaming(room_id=room, reason="shutdown")),
    ]
    for client in (ALICE, CAM, CAM2):
        assert house(inputs.ClientGone(client)) == []
    assert house.rooms.state.is_empty()


# --- results that come late ----------------------------------------------------------------------------------------


def test_a_publisher_that_left_meanwhile_leaves_nothing(house: House) -> None:
    house.connect(ALICE, CAM)
    house.joined_room(ALICE, CAM)
    (publish,) = house(inputs.OfferReceived(CAM, "v=0"))
    assert isinstance(publish, effects.Publish)
    assert house(inputs.ClientGone(CAM)) == [effects.Unpublish(publish.feed)]
    assert house(inputs.PublishDone(publish.feed, "v=0", TRACKS)) == [effects.Unpublish(publish.feed)]
    assert house(inputs.FeedFlowing(publish.feed, TRACKS)) == []
    assert house(inputs.PublishFailed(publish.feed, ErrorCode.BAD_SDP, "m")) == []


def test_an_offer_that_is_withdrawn_gets_an_answer_of_a_kind(house: House) -> None:
    house.connect(ALICE, CAM)
    house.joined_room(ALICE, CAM)
    (publish,) = house(inputs.OfferReceived(CAM, "v=0", "q"))
    assert isinstance(publish, effects.Publish)
    replied, failed, ended = house(inputs.UnpublishRequested(CAM, "r"))
    assert replied == Send(CAM, protocol.Unpublished(feed=publish.feed), "r")
    assert isinstance(failed, Fail)
    assert (failed.client, failed.request_id, failed.event) == (CAM, "q", "offer_from_device")
    assert ended == effects.Unpublish(publish.feed)


def test_a_refused_offer_may_be_made_again(house: House) -> None:
    house.connect(ALICE, CAM)
    house.joined_room(ALICE, CAM)
    (publish,) = house(inputs.OfferReceived(CAM, "v=0", "q"))
    assert isinstance(publish, effects.Publish)
    refused = house(inputs.PublishFailed(publish.feed, ErrorCode.BAD_SDP, "line 3"))
    assert refused == [Fail(CAM, ErrorCode.BAD_SDP, "line 3", "offer_from_device", "q")]
    house.publish()


def test_a_subscriber_that_left_meanwhile_leaves_nothing(house: House) -> None:
    house.connect(ALICE, BOB, CAM)
    room = house.joined_room(ALICE, BOB, CAM)
    feed = house.publish()
    (subscribe,) = house(inputs.SubscribeRequested(ALICE, room, feed))
    assert isinstance(subscribe, effects.Subscribe)
    assert house(inputs.ClientGone(ALICE)) == [effects.Unsubscribe(subscribe.subscription)]
    assert house(inputs.SubscribeDone(subscribe.subscription, "v=0")) == [effects.Unsubscribe(subscribe.subscription)]
    assert house(inputs.AnswerDone(subscribe.subscription)) == []


def test_a_feed_that_ends_before_its_offer_fails_the_request(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE, CAM)
    feed = house.publish()
    house(inputs.SubscribeRequested(ALICE, room, feed, None, "q"))
    found = house(inputs.ClientGone(CAM))
    assert Fail(ALICE, ErrorCode.FEED_NOT_FOUND, f"feed {feed} has ended", "join_as_subscriber", "q") in found


def test_a_refused_subscription_may_be_asked_for_again(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE, CAM)
    feed = house.publish()
    (subscribe,) = house(inputs.SubscribeRequested(ALICE, room, feed, ("x",), "q"))
    assert isinstance(subscribe, effects.Subscribe)
    assert subscribe.tracks == ("x",)
    refused = house(inputs.SubscribeFailed(subscribe.subscription, ErrorCode.BAD_DATA, "no track x"))
    assert refused == [Fail(ALICE, ErrorCode.BAD_DATA, "no track x", "join_as_subscriber", "q")]
    house.subscribe(ALICE, room, feed)


def test_a_bad_answer_leaves_the_offer_open_a_final_one_does_not(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE, CAM)
    feed = house.publish()
    number = house.subscribe(ALICE, room, feed)
    house(inputs.AnswerReceived(ALICE, "x", feed, 4))
    assert only_failure(house(inputs.AnswerReceived(ALICE, "x", feed))).code is ErrorCode.BAD_STATE
    refused = house(inputs.AnswerFailed(number, ErrorCode.BAD_SDP, "m", final=False))
    assert refused == [Fail(ALICE, ErrorCode.BAD_SDP, "m", "start_receiving", 4)]
    assert house(inputs.AnswerReceived(ALICE, "y")) == [effects.Accept(number, "y")]
    refused = house(inputs.AnswerFailed(number, ErrorCode.NO_COMMON_CODEC, "m", final=True))
    assert refused == [
        Fail(ALICE, ErrorCode.NO_COMMON_CODEC, "m", "start_receiving", None),
        effects.Unsubscribe(number),
    ]
    house.subscribe(ALICE, room, feed)


def test_an_answer_without_a_feed_goes_to_the_oldest_open_offer(house: House) -> None:
    house.connect(ALICE, CAM, CAM2)
    room = house.joined_room(ALICE, CAM, CAM2)
    first = house.subscribe(ALICE, room, house.publish(CAM))
    second = house.subscribe(ALICE, room, house.publish(CAM2))
    assert house(inputs.AnswerReceived(ALICE, "a")) == [effects.Accept(first, "a")]
    assert house(inputs.AnswerReceived(ALICE, "b")) == [effects.Accept(second, "b")]
    assert only_failure(house(inputs.AnswerReceived(ALICE, "c"))).code is ErrorCode.BAD_STATE


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (inputs.JoinRequested(ALICE, 99, "q"), ErrorCode.ROOM_NOT_FOUND),
        (inputs.InviteRequested(ALICE, 99, None, "q"), ErrorCode.ROOM_NOT_FOUND),
        (inputs.InviteRequested(BOB, 1, None, "q"), ErrorCode.NOT_IN_ROOM),
        (inputs.LeaveRequested(BOB, None, "q"), ErrorCode.NOT_IN_ROOM),
        (inputs.LeaveRequested(BOB, 1, "q"), ErrorCode.NOT_IN_ROOM),
        (inputs.LeaveRequested(ALICE, 99, "q"), ErrorCode.ROOM_NOT_FOUND),
        (inputs.OfferReceived(BOB, "v=0", "q"), ErrorCode.NOT_IN_ROOM),
        (inputs.UnpublishRequested(BOB, "q"), ErrorCode.NOT_IN_ROOM),
        (inputs.UnpublishRequested(ALICE, "q"), ErrorCode.BAD_STATE),
        (inputs.SubscribeRequested(ALICE, 99, 2, None, "q"), ErrorCode.ROOM_NOT_FOUND),
        (inputs.SubscribeRequested(BOB, 1, 2, None, "q"), ErrorCode.NOT_IN_ROOM),
        (inputs.SubscribeRequested(ALICE, 1, 99, None, "q"), ErrorCode.FEED_NOT_FOUND),
        (inputs.SubscribeRequested(ALICE, 1, 2, None, "q"), ErrorCode.ALREADY_SUBSCRIBED),
        (inputs.AnswerReceived(ALICE, "v=0", None, "q"), ErrorCode.BAD_STATE),
        (inputs.AnswerReceived(ALICE, "v=0", 99, "q"), ErrorCode.FEED_NOT_FOUND),
        (inputs.AnswerReceived(ALICE, "v=0", 2, "q"), ErrorCode.BAD_STATE),
        (inputs.AnswerReceived(BOB, "v=0", 2, "q"), ErrorCode.BAD_STATE),
    ],
)
def test_refusals_change_nothing(house: House, event: inputs.ClientRequest, code: ErrorCode) -> None:
    house.watching()
    house.connect(BOB)
    before = repr(house.rooms.state)
    failure = only_failure(house(event))
    assert (failure.client, failure.code, failure.request_id) == (event.client, code, "q")
    assert failure.message
    assert repr(house.rooms.state) == before


def test_an_offer_while_another_is_unanswered_is_refused(house: House) -> None:
    house.connect(ALICE, CAM)
    house.joined_room(ALICE, CAM)
    (publish,) = house(inputs.OfferReceived(CAM, "v=0"))
    assert isinstance(publish, effects.Publish)
    assert only_failure(house(inputs.OfferReceived(CAM, "v=0"))).code is ErrorCode.ALREADY_PUBLISHING
    house(inputs.PublishDone(publish.feed, "v=0", TRACKS))
    assert house(inputs.OfferReceived(CAM, "v=1")) == [effects.Republish(publish.feed, "v=1")]
    assert only_failure(house(inputs.OfferReceived(CAM, "v=2"))).code is ErrorCode.ALREADY_PUBLISHING


def test_a_feed_of_another_room_is_not_found(house: House) -> None:
    _, feed, _ = house.watching()
    house.connect(BOB)
    room = house.joined_room(BOB)
    assert only_failure(house(inputs.SubscribeRequested(BOB, room, feed))).code is ErrorCode.FEED_NOT_FOUND


def test_an_offer_that_is_still_being_made_cannot_be_answered(house: House) -> None:
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE, CAM)
    feed = house.publish()
    house(inputs.SubscribeRequested(ALICE, room, feed))
    assert only_failure(house(inputs.AnswerReceived(ALICE, "v=0", feed))).code is ErrorCode.BAD_STATE


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (RoomLimits(rooms_per_client=1), "1 rooms"),
        (RoomLimits(rooms=1), "1 rooms"),
    ],
)
def test_rooms_are_limited(limits: RoomLimits, words: str) -> None:
    house = House(limits)
    house.connect(ALICE)
    room = house.open_room()
    failure = only_failure(house(inputs.RoomRequested(ALICE)))
    assert failure.code is ErrorCode.BAD_STATE
    assert words in failure.message
    house(inputs.LeaveRequested(ALICE, room))
    house.open_room()


def test_a_web_may_be_in_so_many_rooms_a_device_in_any_number() -> None:
    house = House(RoomLimits(rooms_per_client=1))
    house.connect(ALICE, BOB, CAM)
    rooms = [house.joined_room(ALICE, CAM), house.joined_room(BOB, CAM)]
    assert only_failure(house(inputs.JoinRequested(ALICE, rooms[1]))).code is ErrorCode.BAD_STATE


def test_members_feeds_and_subscriptions_are_limited() -> None:
    house = House(RoomLimits(members_per_room=3, feeds=2, subscriptions_per_client=1))
    house.connect(ALICE, BOB, CAM, CAM2)
    room = house.joined_room(ALICE, CAM, CAM2)
    assert only_failure(house(inputs.JoinRequested(BOB, room))).code is ErrorCode.BAD_STATE
    feeds = [house.publish(CAM), house.publish(CAM2)]
    house.subscribe(ALICE, room, feeds[0])
    assert only_failure(house(inputs.SubscribeRequested(ALICE, room, feeds[1]))).code is ErrorCode.BAD_STATE
    assert only_failure(house(inputs.OfferReceived(ALICE, "v=0"))).code is ErrorCode.BAD_STATE


def test_a_full_room_has_no_place_for_a_device() -> None:
    house = House(RoomLimits(members_per_room=1))
    house.connect(ALICE, CAM)
    room = house.joined_room(ALICE)
    (reply,) = house(inputs.InviteRequested(ALICE, room))
    assert reply == Send(ALICE, protocol.DevicesInvited(room_id=room, invited=(), attached=(), unavailable=("cam",)))


def test_an_id_in_use_is_drawn_again() -> None:
    draws = iter([5, 5, 5, 6])
    rooms = Rooms(lambda: next(draws))
    rooms.handle(inputs.ClientConnected(ALICE), 0)
    rooms.handle(inputs.RoomRequested(ALICE), 0)
    assert rooms.handle(inputs.RoomRequested(ALICE), 0) == [Send(ALICE, protocol.RoomCreated(room_id=6))]


def test_a_source_of_ids_that_is_stuck_is_a_bug_not_a_loop() -> None:
    rooms = Rooms(lambda: 5)
    rooms.handle(inputs.ClientConnected(ALICE), 0)
    rooms.handle(inputs.RoomRequested(ALICE), 0)
    with pytest.raises(AssertionError, match="in use"):
        rooms.handle(inputs.RoomRequested(ALICE), 0)
