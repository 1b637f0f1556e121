"""Consumer: the gate, the instant start, retransmissions, short sends and the counting. No network, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from sfu.consumer import KEYFRAME_PATIENCE_SECONDS, Consumer
from sfu.forwarding.retransmission import (
    DEFAULT_ROUND_TRIP_SECONDS,
    MAX_RESENT_REMEMBERED,
    MAX_SECOND_COPIES_WAITING,
    RETRANSMISSION_BYTES_PER_SECOND,
    ROUND_TRIP_PART,
    SECOND_COPY_DELAY_SECONDS,
    SECOND_COPY_RESERVE_BYTES,
)
from sfu.producer import HISTORY_SECONDS, INSTANT_START_BYTES, INSTANT_START_SECONDS
from sfu.rtp.batch import PacketBatch
from sfu.rtp.packet import parse_header, unwrap_rtx
from sfu.rtp.rtcp import ReportBlock, SenderReport
from tests.helpers.outbound import (
    OPUS,
    RED,
    RTX,
    VP8,
    VP8_DELTA,
    VP8_KEYFRAME,
    Device,
    NotingPeer,
    accepted,
    audio_parameters,
    offered,
    video_parameters,
)

if TYPE_CHECKING:
    from sfu.forwarding.history import PacketHistory
    from sfu.parameters import AcceptedTrack
    from sfu.rtp.batch import ForwardedPacket
    from sfu.transport.fanout import Outlet

NOW = 1000.0
SOME_OUTLET = cast("Outlet", object())
"""Only whether there is one matters here."""


def watch(
    device: Device, *, now: float = NOW, answer: AcceptedTrack | None = None, start: bool = True
) -> tuple[Consumer, NotingPeer]:
    """Add a viewer, as a subscriber does."""
    peer = NotingPeer()
    totals = device.relay.totals(device.producer)
    consumer = Consumer(device.producer, offered(device), answer or accepted(device), peer, totals, now)
    if start:
        consumer.start(now)
    device.relay.subscribe_packets(device.producer, consumer)
    return consumer, peer


def newest(device: Device, count: int) -> list[ForwardedPacket]:
    history: PacketHistory[ForwardedPacket] = device.producer.history
    run = history.run_from(history._highest - count + 1, NOW)
    assert run is not None
    return run


def test_nothing_is_sent_before_a_keyframe() -> None:
    device = Device()
    consumer, peer = watch(device)
    assert (consumer.keyframe_requests, device.keyframe_wishes) == (1, 1)
    device.delta(NOW)
    device.delta(NOW)
    assert peer.sent == []
    assert consumer.drops == {"before_keyframe": 2}
    wanted = [device.keyframe(NOW), device.delta(NOW)]
    assert peer.numbers() == wanted
    assert (consumer.packets, consumer.octets) == (2, 200)
    assert not consumer.instant_start


def test_within_one_batch_the_gate_opens_at_the_keyframe() -> None:
    device = Device()
    consumer, peer = watch(device)
    device.packet(NOW, VP8_DELTA, flush=False)
    keyframe = device.packet(NOW, VP8_KEYFRAME, flush=False)
    delta = device.packet(NOW, VP8_DELTA)
    assert peer.numbers() == [keyframe, delta]
    assert consumer.drops == {"before_keyframe": 1}


def test_patience_ends_for_a_stream_that_never_shows_a_keyframe() -> None:
    device = Device()
    consumer, peer = watch(device)
    device.delta(NOW + KEYFRAME_PATIENCE_SECONDS - 0.01)
    assert peer.sent == []
    wanted = [device.delta(NOW + KEYFRAME_PATIENCE_SECONDS), device.delta(NOW + KEYFRAME_PATIENCE_SECONDS)]
    assert peer.numbers() == wanted
    assert consumer.drops == {"before_keyframe": 1}


def test_a_codec_whose_keyframes_nobody_can_tell_has_no_gate() -> None:
    device = Device(video_parameters("X-Encrypted"))
    consumer, peer = watch(device)
    number = device.packet(NOW, b"opaque")
    assert peer.numbers() == [number]
    assert not consumer.drops


def test_audio_has_no_gate_and_asks_for_nothing() -> None:
    device = Device(audio_parameters())
    consumer, peer = watch(device, answer=accepted(device, rtx=None))
    number = device.packet(NOW, b"sound")
    assert peer.numbers() == [number]
    assert (consumer.keyframe_requests, device.keyframe_wishes) == (0, 0)


def test_a_recent_keyframe_and_what_followed_is_sent_at_once() -> None:
    device = Device()
    device.keyframe(NOW - INSTANT_START_SECONDS - 0.5)
    wanted = [device.keyframe(NOW - 0.9), device.delta(NOW - 0.5), device.delta(NOW - 0.1)]
    consumer, peer = watch(device)
    assert peer.numbers() == wanted
    wanted.append(device.delta(NOW))
    assert peer.numbers() == wanted
    assert consumer.instant_start
    assert (consumer.keyframe_requests, device.keyframe_wishes, consumer.packets) == (0, 0, 4)
    assert not consumer.drops


@pytest.mark.parametrize("why", ["old", "large", "holes"])
def test_no_instant_start_with_a_keyframe_that_is_no_good_beginning(why: str) -> None:
    device = Device()
    device.keyframe(NOW - INSTANT_START_SECONDS - 0.01 if why == "old" else NOW - 0.5)
    if why == "large":
        for _ in range(INSTANT_START_BYTES // 1000):
            device.delta(NOW - 0.4, size=1000)
    if why == "holes":
        device.skip()
    device.delta(NOW - 0.1)
    consumer, peer = watch(device)
    assert peer.sent == []
    assert not consumer.instant_start
    assert (consumer.keyframe_requests, device.keyframe_wishes) == (1, 1)


def test_lost_packets_are_sent_again_as_rtx() -> None:
    device = Device()
    consumer, peer = watch(device)
    numbers = [device.keyframe(NOW), device.delta(NOW)]
    originals = list(peer.sent)
    consumer.retransmit(numbers, NOW)
    again = peer.sent[2:]
    headers = [parse_header(packet) for packet in again]
    assert {(header.payload_type, header.ssrc) for header in headers} == {(RTX, consumer.sent.rtx_ssrc)}
    assert headers[1].sequence_number - headers[0].sequence_number == 1
    restored = [
        unwrap_rtx(packet, header, payload_type=VP8, ssrc=device.producer.ssrc)
        for packet, header in zip(again, headers, strict=True)
    ]
    assert restored == originals
    assert consumer.retransmitted == 2
    assert consumer.packets == 2, "retransmissions are counted apart"


def test_without_rtx_they_are_sent_as_they_were() -> None:
    device = Device()
    consumer, peer = watch(device, answer=accepted(device, rtx=None))
    number = device.keyframe(NOW)
    consumer.retransmit([number], NOW)
    assert peer.sent == [peer.sent[0]] * 2


def test_what_is_gone_is_counted() -> None:
    device = Device()
    consumer, peer = watch(device)
    number = device.keyframe(NOW)
    consumer.retransmit([number], NOW + HISTORY_SECONDS + 0.1)
    consumer.retransmit([(number + 5) & 0xFFFF], NOW)
    assert len(peer.sent) == 1
    assert consumer.drops == {"nack_too_old": 2}


def measure_round_trip(consumer: Consumer, seconds: float) -> None:
    consumer.estimate.note_sender_report(77, NOW - seconds)
    consumer.handle_report(ReportBlock(consumer.sent.ssrc, 0, 0, 0, 0, 77, 0), NOW)


@pytest.mark.parametrize("round_trip", [None, 0.2])
def test_a_nack_repeated_within_a_round_trip_is_answered_once(round_trip: float | None) -> None:
    device = Device()
    consumer, _ = watch(device)
    number = device.keyframe(NOW)
    if round_trip is not None:
        measure_round_trip(consumer, round_trip)
    wait = ROUND_TRIP_PART * (DEFAULT_ROUND_TRIP_SECONDS if round_trip is None else round_trip)
    consumer.retransmit([number], NOW)
    consumer.retransmit([number], NOW + 0.9 * wait)
    assert consumer.retransmitted == 1
    assert consumer.drops == {"nack_repeated": 1}
    consumer.retransmit([number], NOW + 1.1 * wait)
    consumer.retransmit([number], NOW + 1.2 * wait)
    assert consumer.retransmitted == 2
    assert consumer.drops == {"nack_repeated": 2}


def test_only_so_many_answers_are_remembered() -> None:
    device = Device()
    consumer, _ = watch(device, answer=accepted(device, rtx=None))
    numbers = [device.keyframe(NOW)] + [device.delta(NOW, size=20) for _ in range(MAX_RESENT_REMEMBERED)]
    consumer.retransmit(numbers, NOW)
    consumer.retransmit(numbers[1:], NOW)
    assert consumer.drops == {"nack_repeated": MAX_RESENT_REMEMBERED}
    consumer.retransmit(numbers[:1], NOW)
    assert consumer.retransmitted == MAX_RESENT_REMEMBERED + 2, "the oldest was forgotten, and is sent again"


def test_a_packet_that_was_sent_again_is_remembered_longest() -> None:
    device = Device()
    consumer, _ = watch(device, answer=accepted(device, rtx=None))
    numbers = [device.keyframe(NOW)] + [device.delta(NOW, size=20) for _ in range(MAX_RESENT_REMEMBERED)]
    later = NOW + 2 * DEFAULT_ROUND_TRIP_SECONDS
    consumer.retransmit(numbers[:2], NOW)
    consumer.retransmit(numbers[:1], later)
    consumer.retransmit(numbers[2:], later)
    consumer.retransmit(numbers[:1], later)
    assert consumer.drops == {"nack_repeated": 1}


def test_a_hopeless_viewer_gets_no_more_than_its_budget() -> None:
    device = Device()
    consumer, peer = watch(device)
    device.keyframe(NOW)
    numbers = [device.delta(NOW, size=1200) for _ in range(800)]
    peer.sent.clear()
    consumer.retransmit(numbers, NOW)
    assert 0.99 * RETRANSMISSION_BYTES_PER_SECOND < sum(map(len, peer.sent)) <= 1.01 * RETRANSMISSION_BYTES_PER_SECOND
    assert consumer.retransmitted + consumer.drops["retransmission_budget"] == 800
    before = consumer.retransmitted
    consumer.retransmit(numbers, NOW + 0.5)
    assert (consumer.retransmitted - before) * 1212 == pytest.approx(RETRANSMISSION_BYTES_PER_SECOND / 2, rel=0.01)


def test_a_retransmission_comes_once_more() -> None:
    device = Device()
    consumer, peer = watch(device)
    number = device.keyframe(NOW)
    assert consumer.next_deadline() is None
    consumer.retransmit([number], NOW)
    assert consumer.next_deadline() == NOW + SECOND_COPY_DELAY_SECONDS
    consumer.handle_timer(NOW + 0.9 * SECOND_COPY_DELAY_SECONDS)
    assert len(peer.sent) == 2
    consumer.handle_timer(NOW + SECOND_COPY_DELAY_SECONDS)
    first, second = (parse_header(packet) for packet in peer.sent[1:])
    assert second.sequence_number == first.sequence_number + 1, "SRTP takes a number once"
    restored = [
        unwrap_rtx(packet, header, payload_type=VP8, ssrc=device.producer.ssrc)
        for packet, header in zip(peer.sent[1:], (first, second), strict=True)
    ]
    assert restored == [peer.sent[0]] * 2
    assert consumer.next_deadline() is None
    consumer.handle_timer(NOW + 1.0)
    assert len(peer.sent) == 3, "once more, not for ever"
    statistics = consumer.statistics()
    assert (statistics.retransmitted, statistics.second_copies, statistics.drops) == (1, 1, {})


def test_without_rtx_there_is_no_second_copy() -> None:
    device = Device()
    consumer, _ = watch(device, answer=accepted(device, rtx=None))
    consumer.retransmit([device.keyframe(NOW)], NOW)
    assert consumer.next_deadline() is None


def test_what_was_not_sent_again_has_no_second_copy() -> None:
    device = Device()
    consumer, peer = watch(device)
    number = device.keyframe(NOW)
    peer.room = 0
    consumer.retransmit([number, (number + 5) & 0xFFFF], NOW)
    assert consumer.next_deadline() is None


def test_a_pause_ends_second_copies() -> None:
    device = Device()
    consumer, _ = watch(device)
    consumer.retransmit([device.keyframe(NOW)], NOW)
    consumer.pause()
    assert consumer.next_deadline() is None


def test_second_copies_leave_half_of_the_budget() -> None:
    device = Device()
    consumer, peer = watch(device)
    device.keyframe(NOW)
    numbers = [device.delta(NOW, size=1188) for _ in range(150)]
    consumer.retransmit(numbers, NOW)
    peer.sent.clear()
    later = NOW + SECOND_COPY_DELAY_SECONDS
    left = RETRANSMISSION_BYTES_PER_SECOND * (1 + SECOND_COPY_DELAY_SECONDS) - 150 * 1200
    consumer.handle_timer(later)
    assert 0 < len(peer.sent) == int((left - SECOND_COPY_RESERVE_BYTES) / 1200) == consumer.second_copies
    assert consumer.drops == {"second_copy": 150 - len(peer.sent)}
    assert consumer.retransmitted == 150


def test_only_so_many_second_copies_wait() -> None:
    device = Device()
    consumer, _ = watch(device)
    numbers = [device.keyframe(NOW)] + [device.delta(NOW, size=20) for _ in range(MAX_SECOND_COPIES_WAITING)]
    consumer.retransmit(numbers, NOW)
    assert consumer.drops == {"second_copy": 1}
    assert consumer.retransmitted == MAX_SECOND_COPIES_WAITING + 1


def test_packets_go_under_the_numbers_that_the_viewer_wants() -> None:
    device = Device()
    consumer, peer = watch(device, answer=accepted(device, rtx=101, payload_types={VP8: 100}))
    peer.outlet = SOME_OUTLET
    assert consumer.outlet is None, "every packet has to be changed"
    number = device.keyframe(NOW)
    consumer.retransmit([number], NOW)
    sent, again = (parse_header(packet) for packet in peer.sent)
    (kept,) = newest(device, 1)
    assert (sent.payload_type, sent.sequence_number, sent.ssrc) == (100, number, device.producer.ssrc)
    assert sent.timestamp == kept.timestamp
    assert peer.sent[0][12:] == kept.data[12:]
    assert again.payload_type == 101
    restored = unwrap_rtx(peer.sent[1], again, payload_type=100, ssrc=device.producer.ssrc)
    assert restored == peer.sent[0]


def test_a_codec_that_the_viewer_did_not_take_is_left_out() -> None:
    device = Device(audio_parameters())
    consumer, peer = watch(device, answer=accepted(device, rtx=None, payload_types={OPUS: OPUS}))
    plain = device.packet(NOW, b"opus")
    red = device.packet(NOW, b"red", payload_type=RED)
    assert peer.numbers() == [plain]
    assert consumer.drops == {"payload_type": 1}
    consumer.retransmit([red], NOW)
    assert peer.numbers() == [plain]
    assert consumer.retransmitted == 0


def test_after_a_short_send_the_rest_of_the_frame_is_left_out() -> None:
    device = Device()
    consumer, peer = watch(device)
    peer.outlet = SOME_OUTLET
    first = device.keyframe(NOW)
    assert consumer.outlet is SOME_OUTLET
    peer.outlet = None
    peer.room = 1
    second = device.packet(NOW, VP8_DELTA, marker=False, flush=False)
    device.packet(NOW, VP8_DELTA, marker=False)
    assert consumer.drops == {"not_sent": 1}
    peer.room, peer.outlet = None, SOME_OUTLET
    assert consumer.outlet is None, "it has to leave packets out"
    device.packet(NOW, VP8_DELTA, marker=False)
    device.packet(NOW, VP8_DELTA)
    assert consumer.drops == {"not_sent": 1, "broken_frame": 2}
    assert consumer.outlet is SOME_OUTLET
    peer.outlet = None
    next_frame = device.delta(NOW)
    assert peer.numbers() == [first, second, next_frame]
    assert (consumer.packets, consumer.octets) == (3, 100 + len(VP8_DELTA) + 100)


def test_a_send_short_of_whole_frames_spoils_no_further_one() -> None:
    device = Device()
    consumer, peer = watch(device)
    first = device.keyframe(NOW)
    peer.room = 0
    device.delta(NOW)
    peer.room = None
    third = device.delta(NOW)
    assert peer.numbers() == [first, third]
    assert consumer.drops == {"not_sent": 1}


def direct(device: Device, consumer: Consumer, count: int) -> PacketBatch:
    """Count a batch as the relay does when it goes by the fan-out."""
    assert consumer.outlet is SOME_OUTLET
    batch = PacketBatch(newest(device, count))
    totals = device.relay.totals(device.producer)
    totals.packets += count
    totals.octets += batch.octets
    return batch


def test_packets_are_counted_once_whoever_sends_them() -> None:
    device = Device()
    totals = device.relay.totals(device.producer)
    totals.packets, totals.octets = 5000, 5_000_000  # of the viewers before
    consumer, peer = watch(device)
    device.keyframe(NOW)
    device.delta(NOW)
    assert (consumer.packets, consumer.octets) == (2, 200)

    peer.outlet = SOME_OUTLET
    direct(device, consumer, 2)
    assert (consumer.packets, consumer.octets) == (4, 400)

    peer.outlet = None
    assert consumer.outlet is None
    totals.packets += 50  # to the others
    totals.octets += 5000
    device.delta(NOW)
    assert (consumer.packets, consumer.octets) == (5, 500)

    peer.outlet = SOME_OUTLET
    direct(device, consumer, 1)
    direct(device, consumer, 1)
    assert (consumer.packets, consumer.octets) == (7, 700)
    statistics = consumer.statistics()
    assert (statistics.packets, statistics.octets) == (7, 700)


def test_what_the_fan_out_could_not_send_is_taken_back() -> None:
    device = Device()
    consumer, peer = watch(device)
    device.keyframe(NOW)
    device.delta(NOW, size=50)
    device.packet(NOW, VP8_DELTA.ljust(70), marker=False)
    peer.outlet = SOME_OUTLET
    before = consumer.packets, consumer.octets
    batch = direct(device, consumer, 3)
    consumer.fell_short(batch, 1)
    assert (consumer.packets, consumer.octets) == (before[0] + 1, before[1] + 100)
    assert consumer.drops == {"not_sent": 2}
    assert consumer.outlet is None, "the last frame is half sent"
    assert (consumer.packets, consumer.octets) == (before[0] + 1, before[1] + 100)


def test_a_sender_report_tells_the_devices_clock_and_what_was_sent() -> None:
    device = Device()
    consumer, _ = watch(device)
    device.keyframe(NOW)
    assert consumer.sender_report(NOW) is None, "the device has not told its clock"
    device.producer.sender_report(SenderReport(1, 5 << 32, 0, 1, 1), NOW)
    (first,) = newest(device, 1)
    report = consumer.sender_report(NOW + 2.0)
    assert report is not None
    assert report.ssrc == consumer.sent.ssrc
    assert report.ntp_time == 7 << 32
    assert report.rtp_timestamp == (first.timestamp + 180_000) & 0xFFFF_FFFF
    assert (report.packet_count, report.octet_count) == (1, 100)
    # The viewer answers 60 ms later, of which it took 10.
    consumer.handle_report(ReportBlock(report.ssrc, 64, 3, 0, 900, (7 << 16), int(0.01 * 65536)), NOW + 2.06)
    statistics = consumer.statistics()
    assert statistics.round_trip == pytest.approx(0.05, abs=0.001)
    assert (statistics.fraction_lost, statistics.packets_lost, statistics.jitter) == (0.25, 3, 0.01)


def test_there_is_no_sender_report_before_the_first_packet() -> None:
    device = Device()
    device.keyframe(NOW - INSTANT_START_SECONDS - 1)
    device.producer.sender_report(SenderReport(1, 5 << 32, 0, 1, 1), NOW)
    consumer, _ = watch(device)
    assert consumer.sender_report(NOW) is None
