"""Subscriber: when it starts, what it reports, and where a viewer's RTCP goes. No network, no clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sfu.forwarding.retransmission import SECOND_COPY_DELAY_SECONDS
from sfu.parameters import RemoteTransport, SubscriberAnswer
from sfu.rtp.rtcp import (
    DelaySinceReferenceTime,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    ReferenceTime,
    Remb,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    encode_compound,
    parse_rtcp,
)
from sfu.subscriber import (
    FIRST_REPORT_SECONDS,
    REPORT_INTERVAL_SECONDS,
    ROUND_TRIP_INTERVAL_SECONDS,
    START_DELAY_SECONDS,
    Subscriber,
)
from tests.helpers.outbound import Device, NotingPeer, accepted, audio_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = 1000.0
TRANSPORT = RemoteTransport("ufrag", (), "server")


class Viewer:
    """A subscriber of devices that share a relay, and what it sends to its viewer."""

    def __init__(self, *devices: Device, takes: Sequence[Device] | None = None) -> None:
        self.reports: list[RtcpPacket] = []
        self.peer = NotingPeer()
        self.subscriber = Subscriber(
            [device.producer for device in devices],
            devices[0].relay,
            "cname",
            lambda data: self.reports.extend(parse_rtcp(data)),
        )
        self._answer = SubscriberAnswer(
            TRANSPORT,
            tuple(
                accepted(device, rtx=None if device.parameters.rtx is None else device.parameters.rtx.payload_type)
                for device in (devices if takes is None else takes)
            ),
        )

    def join(self, now: float = NOW) -> None:
        """Go through what the peer connection does until media flows."""
        self.subscriber.accept(self._answer, now)
        self.subscriber.connected(now, self.peer)
        self.subscriber.handle_timer(now + START_DELAY_SECONDS)

    def tell(self, *packets: RtcpPacket, now: float = NOW) -> None:
        self.subscriber.handle_rtcp(encode_compound(packets), now)


def pair() -> tuple[Device, Device]:
    """Return a camera and a microphone of one device."""
    camera, microphone = Device(), Device(audio_parameters())
    microphone.relay = camera.relay
    microphone.producer._relay = camera.relay
    return camera, microphone


def test_media_begins_a_moment_after_the_handshake() -> None:
    device = Device()
    numbers = [device.keyframe(NOW - 0.2)]
    viewer = Viewer(device)
    assert not viewer.subscriber.answered
    viewer.subscriber.accept(viewer._answer, NOW)
    assert viewer.subscriber.answered
    assert device.keyframe_wishes == 0, "there is a recent one"
    viewer.subscriber.connected(NOW, viewer.peer)
    assert viewer.subscriber.next_deadline() == NOW + START_DELAY_SECONDS
    numbers.append(device.delta(NOW + 0.01))
    viewer.subscriber.handle_timer(NOW + 0.9 * START_DELAY_SECONDS)
    assert viewer.peer.sent == []
    viewer.subscriber.handle_timer(NOW + START_DELAY_SECONDS)
    assert viewer.peer.numbers() == numbers, "what came meanwhile is not lost"
    assert viewer.subscriber.next_deadline() == NOW + FIRST_REPORT_SECONDS


def test_media_begins_at_once_for_one_that_is_ready() -> None:
    device = Device()
    number = device.keyframe(NOW - 0.2)
    viewer = Viewer(device)
    viewer.subscriber.accept(replace(viewer._answer, starts_early=True), NOW)
    viewer.subscriber.connected(NOW, viewer.peer)
    assert viewer.subscriber.next_deadline() == NOW
    viewer.subscriber.handle_timer(NOW)
    assert viewer.peer.numbers() == [number]


def test_what_waits_in_the_relay_reaches_a_new_viewer_once() -> None:
    device = Device()
    Viewer(device).join()  # without a viewer nothing waits
    device.keyframe(NOW)
    device.packet(NOW, b"\x10\x01\x00\x00", flush=False)
    viewer = Viewer(device)
    viewer.join()
    device.relay.flush()
    assert len(viewer.peer.numbers()) == len(set(viewer.peer.numbers())) == 2
    (consumer,) = viewer.subscriber.consumers
    assert consumer.packets == 2


def test_an_answer_to_a_stale_picture_asks_for_a_keyframe_at_once() -> None:
    device = Device()
    viewer = Viewer(device)
    viewer.subscriber.accept(viewer._answer, NOW)
    assert device.keyframe_wishes == 1


def test_a_track_that_the_viewer_refused_is_not_sent() -> None:
    camera, microphone = pair()
    viewer = Viewer(camera, microphone, takes=[microphone])
    viewer.join()
    camera.keyframe(NOW)
    number = microphone.packet(NOW, b"sound")
    assert viewer.peer.numbers() == [number]
    assert camera.keyframe_wishes == 0
    assert [consumer.producer for consumer in viewer.subscriber.consumers] == [microphone.producer]


def test_the_first_report_comes_early_and_the_next_each_second() -> None:
    device = Device()
    device.keyframe(NOW)
    viewer = Viewer(device)
    viewer.join()
    device.producer.sender_report(SenderReport(1, 9 << 32, 0, 1, 1), NOW)
    viewer.subscriber.handle_timer(NOW + 0.9 * FIRST_REPORT_SECONDS)
    assert viewer.reports == []
    first = NOW + FIRST_REPORT_SECONDS
    viewer.subscriber.handle_timer(first)
    report, description = viewer.reports
    assert isinstance(report, SenderReport)
    assert (report.ssrc, report.packet_count) == (device.producer.ssrc, 1)
    assert description == SourceDescription(((device.producer.ssrc, "cname"),))
    assert viewer.subscriber.next_deadline() == first + REPORT_INTERVAL_SECONDS
    viewer.subscriber.handle_timer(first + 0.9 * REPORT_INTERVAL_SECONDS)
    assert len(viewer.reports) == 2
    viewer.subscriber.handle_timer(first + REPORT_INTERVAL_SECONDS)
    assert len(viewer.reports) == 4


def test_without_the_devices_clock_there_is_no_report() -> None:
    device = Device()
    device.keyframe(NOW)
    viewer = Viewer(device)
    viewer.join()
    viewer.subscriber.handle_timer(NOW + FIRST_REPORT_SECONDS)
    assert viewer.reports == []


def test_reports_reach_the_estimate_of_their_track_alone() -> None:
    camera, microphone = pair()
    camera.keyframe(NOW)
    viewer = Viewer(camera, microphone)
    viewer.join()
    camera.producer.sender_report(SenderReport(1, 9 << 32, 0, 1, 1), NOW)
    sent_at = NOW + FIRST_REPORT_SECONDS
    viewer.subscriber.handle_timer(sent_at)
    (report, _) = viewer.reports
    assert isinstance(report, SenderReport)
    last_sr = (report.ntp_time >> 16) & 0xFFFF_FFFF
    video = ReportBlock(camera.producer.ssrc, 128, 7, 0, 450, last_sr, 0)
    stranger = ReportBlock(0xDEAD, 255, 99, 0, 0, 0, 0)
    viewer.tell(ReceiverReport(5, (stranger, video)), now=sent_at + 0.08)
    of_video, of_audio = (consumer.statistics() for consumer in viewer.subscriber.consumers)
    assert (of_video.fraction_lost, of_video.packets_lost, of_video.jitter) == (0.5, 7, 0.005)
    assert of_video.round_trip == pytest.approx(0.08)
    assert (of_audio.fraction_lost, of_audio.packets_lost, of_audio.round_trip) == (0.0, 0, None)


def test_remb_and_transport_feedback_are_for_the_whole_transport() -> None:
    camera, microphone = pair()
    viewer = Viewer(camera, microphone)
    viewer.join()
    viewer.tell(
        Remb(5, 750_000, (camera.producer.ssrc,)),
        TransportFeedback(5, camera.producer.ssrc, 0, 0, 0, (4, None, 4, 4)),
    )
    for consumer in viewer.subscriber.consumers:
        statistics = consumer.statistics()
        assert statistics.bitrate_estimate == 750_000
        assert statistics.transport_fraction_lost == 0.25


def test_a_viewer_that_asks_is_told_its_round_trip() -> None:
    viewer = Viewer(Device())
    viewer.tell(ReferenceTime(5, 0x1111_2222_3333_4444))
    assert viewer.reports == [], "before it has a track there is nobody to answer as"
    viewer.join()
    viewer.tell(ReferenceTime(5, 0x1111_2222_3333_4444))
    (consumer,) = viewer.subscriber.consumers
    answer = DelaySinceReferenceTime(consumer.sent.ssrc, 5, 0x2222_3333, 0)
    assert viewer.reports == [answer]
    viewer.tell(ReferenceTime(5, 0), now=NOW + 0.9 * ROUND_TRIP_INTERVAL_SECONDS)
    assert viewer.reports == [answer], "it asks with each report, and is answered now and then"
    viewer.tell(ReferenceTime(5, 0x1111_2222_3333_4444), now=NOW + ROUND_TRIP_INTERVAL_SECONDS)
    assert viewer.reports == [answer, answer]


def test_second_copies_are_sent_by_the_timer() -> None:
    camera, microphone = pair()
    viewer = Viewer(camera, microphone)
    viewer.join()
    number = camera.keyframe(NOW)
    viewer.tell(Nack(5, camera.producer.ssrc, (number,)))
    assert len(viewer.peer.sent) == 2
    assert viewer.subscriber.next_deadline() == NOW + SECOND_COPY_DELAY_SECONDS
    viewer.subscriber.handle_timer(NOW + SECOND_COPY_DELAY_SECONDS)
    assert len(viewer.peer.sent) == 3
    assert viewer.subscriber.next_deadline() > NOW + SECOND_COPY_DELAY_SECONDS


def test_nacks_are_answered_for_the_track_that_they_name() -> None:
    camera, microphone = pair()
    viewer = Viewer(camera, microphone)
    viewer.join()
    number = camera.keyframe(NOW)
    viewer.tell(Nack(5, 0xDEAD, (number,)))
    assert len(viewer.peer.sent) == 1
    viewer.tell(Nack(5, camera.producer.ssrc, (number,)))
    assert [consumer.retransmitted for consumer in viewer.subscriber.consumers] == [1, 0]


def test_a_nack_finds_packets_in_their_final_bytes() -> None:
    """The relay pads packets as it hands them round; one number must not go out with different bytes."""
    device = Device()
    viewer = Viewer(device)
    viewer.join()
    device.packet(NOW, b"\x10\x00\x00\x00\x9d\x01\x2a\x40\x01\xf0\x00" + bytes(20), flush=False)
    number = device.packet(NOW, b"\x10\x01\x00\x00" + bytes(20), flush=False)
    viewer.tell(Nack(5, device.producer.ssrc, (number,)))
    assert len(viewer.peer.sent) == 3, "both, and the second again"
    kept = device.producer.history.get(number, NOW)
    assert kept is not None
    assert viewer.peer.sent[1] == kept.data


def test_keyframe_requests_of_both_kinds_reach_the_device() -> None:
    camera, microphone = pair()
    camera.keyframe(NOW)
    viewer = Viewer(camera, microphone)
    viewer.join()
    viewer.tell(PictureLossIndication(5, camera.producer.ssrc), PictureLossIndication(5, 0xDEAD))
    assert camera.keyframe_wishes == 1
    viewer.tell(FullIntraRequest(5, ((camera.producer.ssrc, 1), (0xDEAD, 1))))
    assert camera.keyframe_wishes == 2
    assert [consumer.keyframe_requests for consumer in viewer.subscriber.consumers] == [2, 0]
    viewer.tell(PictureLossIndication(5, microphone.producer.ssrc))
    assert microphone.keyframe_wishes == 0, "audio has none"


def test_what_a_viewer_may_not_send_is_counted() -> None:
    viewer = Viewer(Device())
    viewer.join()
    assert viewer.subscriber.handle_rtp([b"\x80" + bytes(20)], NOW) is False
    viewer.subscriber.handle_rtcp(b"\x81\xc9\x00\x07", NOW)
    assert viewer.subscriber.drops == {"rtp_from_subscriber": 1, "rtcp_malformed": 1}


def test_closing_leaves_the_relay() -> None:
    device = Device()
    viewer = Viewer(device)
    viewer.join()
    number = device.keyframe(NOW)
    assert device.relay.subscribers(device.producer) == 1
    viewer.subscriber.close()
    viewer.subscriber.close()
    assert device.relay.subscribers(device.producer) == 0
    device.delta(NOW)
    viewer.tell(Nack(5, device.producer.ssrc, (number,)), PictureLossIndication(5, device.producer.ssrc))
    assert viewer.peer.numbers() == [number]


def test_one_that_closes_before_its_start_never_starts() -> None:
    device = Device()
    device.keyframe(NOW)
    viewer = Viewer(device)
    viewer.subscriber.accept(viewer._answer, NOW)
    viewer.subscriber.connected(NOW, viewer.peer)
    viewer.subscriber.close()
    viewer.subscriber.handle_timer(NOW + START_DELAY_SECONDS)
    assert viewer.peer.sent == []
    assert device.relay.subscribers(device.producer) == 0


def test_a_paused_kind_neither_arrives_nor_costs_the_device_keyframes() -> None:
    camera, microphone = pair()
    camera.keyframe(NOW)
    viewer = Viewer(camera, microphone)
    viewer.join()
    assert viewer.subscriber.pause(frozenset({"video"})) == ("video",)
    assert camera.relay.subscribers(camera.producer) == 0
    camera.delta(NOW)
    number = microphone.packet(NOW, b"sound")
    assert viewer.peer.numbers()[1:] == [number]
    viewer.tell(PictureLossIndication(5, camera.producer.ssrc))
    assert camera.keyframe_wishes == 0
    assert viewer.subscriber.resume(frozenset({"audio"}), NOW) == ("video",)
    assert viewer.subscriber.resume(frozenset({"video"}), NOW) == ()
    assert camera.keyframe_wishes == 1, "the newest keyframe has been seen"
    camera.delta(NOW)
    assert len(viewer.peer.sent) == 2
    camera.keyframe(NOW)
    first, _, last = viewer.peer.numbers()
    assert last == first + 1


def test_a_resume_begins_with_a_keyframe_that_came_meanwhile() -> None:
    device = Device()
    device.keyframe(NOW)
    viewer = Viewer(device)
    viewer.join()
    viewer.subscriber.pause(frozenset({"video"}))
    device.delta(NOW)
    device.keyframe(NOW)
    device.delta(NOW)
    viewer.subscriber.resume(frozenset({"video"}), NOW + 0.5)
    first = viewer.peer.numbers()[0]
    assert viewer.peer.numbers() == [first, first + 1, first + 2]
    assert device.keyframe_wishes == 0
    viewer.tell(Nack(5, device.producer.ssrc, (first + 1, first)), now=NOW + 0.5)
    (consumer,) = viewer.subscriber.consumers
    assert consumer.retransmitted == 1, "what was sent before the pause has another packet's number by now"
    assert consumer.drops["nack_too_old"] == 1
