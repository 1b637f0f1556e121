"""Transport-wide feedback: what a sender would read out of it; and what viewers' reports tell."""

from __future__ import annotations

import random

import pytest

from sfu.forwarding.bandwidth import (
    BACK_WINDOW_SECONDS,
    FEEDBACK_INTERVAL_SECONDS,
    FEEDBACK_WINDOW_PACKETS,
    MAX_RECORDED_PACKETS,
    MAX_SENT_REPORTS,
    MAX_STATUSES_PER_FEEDBACK,
    ReceiverEstimate,
    TransportFeedbackRecorder,
)
from sfu.rtp.rtcp import ReportBlock, TransportFeedback, parse_rtcp

TICK = 1 / 4000
EDGES = (0, 0x7FFE, 0xFFFD, 0xFFFF)


def told(feedback: list[TransportFeedback]) -> list[tuple[int, float | None]]:
    """Return number and arrival of every status, as a sender reads them from the wire."""
    statuses: list[tuple[int, float | None]] = []
    for packet in feedback:
        encoded = packet.encode()
        assert len(encoded) < 1200
        assert parse_rtcp(encoded) == [packet]
        ticks = packet.reference_time * 256
        for step, delta in enumerate(packet.arrivals):
            ticks += delta or 0
            statuses.append(((packet.base_sequence + step) & 0xFFFF, None if delta is None else ticks * TICK))
    return statuses


def near(arrival: float | None) -> object:
    return None if arrival is None else pytest.approx(arrival, abs=TICK)


def agree(statuses: list[tuple[int, float | None]], expected: list[tuple[int, float | None]]) -> bool:
    """Compare numbers exactly and arrivals to the tick."""
    return len(statuses) == len(expected) and all(
        number == wanted and arrival == near(time)
        for (number, arrival), (wanted, time) in zip(statuses, expected, strict=True)
    )


@pytest.mark.parametrize("first", EDGES)
def test_arrivals_and_losses_are_told(first: int) -> None:
    recorder = TransportFeedbackRecorder()
    arrivals: dict[int, float] = {0: 100.0, 1: 100.001, 3: 100.0305, 4: 100.02}
    for step, arrival in arrivals.items():
        recorder.add((first + step) & 0xFFFF, arrival)
    feedback = recorder.build(100.06, 1, 2)
    assert [(packet.sender_ssrc, packet.media_ssrc, packet.feedback_count) for packet in feedback] == [(1, 2, 0)]
    assert agree(told(feedback), [((first + step) & 0xFFFF, arrivals.get(step)) for step in range(5)])


def test_it_is_due_an_interval_after_the_first_news() -> None:
    recorder = TransportFeedbackRecorder()
    assert recorder.next_deadline() is None
    assert not recorder.due(1000.0)
    assert recorder.build(1000.0, 1, 2) == []
    recorder.add(5, 10.0)
    recorder.add(6, 10.02)
    assert recorder.next_deadline() == 10.0 + FEEDBACK_INTERVAL_SECONDS
    assert not recorder.due(10.0)
    assert recorder.due(10.0 + FEEDBACK_INTERVAL_SECONDS)
    assert len(recorder.build(10.05, 1, 2)) == 1
    assert recorder.next_deadline() is None
    assert recorder.build(10.05, 1, 2) == []
    recorder.add(6, 10.06)
    assert recorder.next_deadline() is None, "a duplicate is no news"


@pytest.mark.parametrize("first", EDGES)
def test_feedback_continues_where_it_ended(first: int) -> None:
    recorder = TransportFeedbackRecorder()
    recorder.add(first, 1.0)
    recorder.add((first + 1) & 0xFFFF, 1.01)
    assert len(told(recorder.build(1.05, 1, 2))) == 2
    recorder.add((first + 4) & 0xFFFF, 1.06)
    feedback = recorder.build(1.11, 1, 2)
    assert feedback[0].feedback_count == 1
    assert agree(
        told(feedback), [((first + 2) & 0xFFFF, None), ((first + 3) & 0xFFFF, None), ((first + 4) & 0xFFFF, 1.06)]
    )


@pytest.mark.parametrize("first", EDGES)
def test_a_late_packet_is_told_among_its_neighbours(first: int) -> None:
    recorder = TransportFeedbackRecorder()
    for step in (0, 2, 3):
        recorder.add((first + step) & 0xFFFF, 1.0 + step * 0.01)
    recorder.build(1.05, 1, 2)
    recorder.add((first + 1) & 0xFFFF, 1.06)
    expected: list[tuple[int, float | None]] = [(1, 1.06), (2, 1.02), (3, 1.03)]
    assert agree(told(recorder.build(1.11, 1, 2)), [((first + step) & 0xFFFF, arrival) for step, arrival in expected])


def test_what_comes_after_its_neighbours_are_forgotten_is_ignored() -> None:
    recorder = TransportFeedbackRecorder()
    recorder.add(10, 1.0)
    recorder.build(1.0 + 2 * BACK_WINDOW_SECONDS + 0.1, 1, 2)
    recorder.add(9, 2.2)
    assert recorder.ignored == 1
    assert recorder.next_deadline() is None
    recorder.add(12, 2.2)
    assert [number for number, _ in told(recorder.build(2.3, 1, 2))] == [11, 12]


def test_a_long_pause_takes_another_packet() -> None:
    recorder = TransportFeedbackRecorder()
    recorder.add(1, 1.0)
    recorder.add(2, 20.0)
    feedback = recorder.build(20.1, 1, 2)
    assert [packet.feedback_count for packet in feedback] == [0, 1]
    assert agree(told(feedback), [(1, 1.0), (2, 20.0)])


def test_many_packets_take_many_feedbacks() -> None:
    recorder = TransportFeedbackRecorder()
    for step in range(1000):
        recorder.add((65000 + step) & 0xFFFF, 1.0 + step * 0.0005)
    feedback = recorder.build(1.5, 1, 2)
    assert [len(packet.arrivals) for packet in feedback] == [MAX_STATUSES_PER_FEEDBACK, MAX_STATUSES_PER_FEEDBACK, 200]
    assert [number for number, _ in told(feedback)] == [(65000 + step) & 0xFFFF for step in range(1000)]


def test_a_jump_is_not_told_as_loss() -> None:
    recorder = TransportFeedbackRecorder()
    recorder.add(1, 1.0)
    recorder.add(20_001, 1.01)
    assert [number for number, _ in told(recorder.build(1.05, 1, 2))] == [1, 20_001]


def test_the_count_wraps() -> None:
    recorder = TransportFeedbackRecorder()
    counts = []
    for step in range(300):
        recorder.add(step, step * 0.1)
        counts += [packet.feedback_count for packet in recorder.build(step * 0.1 + 0.05, 1, 2)]
    assert counts == [step & 0xFF for step in range(300)]


def test_a_flood_is_bounded_and_counted() -> None:
    recorder = TransportFeedbackRecorder()
    for step in range(MAX_RECORDED_PACKETS + 10):
        recorder.add(step, 1.0)
    assert recorder.ignored == 10
    assert len(told(recorder.build(1.05, 1, 2))) == MAX_RECORDED_PACKETS


@pytest.mark.parametrize("seed", range(5))
def test_a_sender_learns_of_every_arrival(seed: int) -> None:
    source = random.Random(seed)
    packets = [(n, n * 0.001 + source.uniform(0, 0.08)) for n in range(5000) if n == 0 or source.random() > 0.05]
    packets.sort(key=lambda packet: packet[1])
    recorder = TransportFeedbackRecorder()
    first = 0xFF00
    known: dict[int, float] = {}

    def read(now: float) -> None:
        for number, arrival in told(recorder.build(now, 1, 2)):
            if arrival is not None:
                assert abs(known.setdefault(number, arrival) - arrival) < TICK / 2
            else:
                assert number not in known, "an arrival is never taken back"

    for n, arrival in packets:
        while recorder.due(arrival):
            deadline = recorder.next_deadline()
            assert deadline is not None
            read(deadline)
        recorder.add((first + n) & 0xFFFF, arrival)
    read(10.0)
    assert known == {(first + n) & 0xFFFF: pytest.approx(arrival, abs=TICK) for n, arrival in packets}
    assert recorder.ignored == 0


def block(*, last_sr: int = 0, delay: int = 0, fraction: int = 0, jitter: int = 0) -> ReportBlock:
    return ReportBlock(1, fraction, 12, 70_000, jitter, last_sr, delay)


def test_nothing_is_known_before_a_report() -> None:
    estimate = ReceiverEstimate()
    assert (estimate.bitrate, estimate.bitrate_at, estimate.round_trip, estimate.reported_at) == (None,) * 4
    assert (estimate.fraction_lost, estimate.packets_lost, estimate.jitter_seconds) == (0.0, 0, 0.0)


def test_a_report_is_kept_in_plain_units() -> None:
    estimate = ReceiverEstimate()
    estimate.on_report(block(fraction=64, jitter=900), 5.0, 90_000)
    assert (estimate.fraction_lost, estimate.packets_lost, estimate.jitter_seconds) == (0.25, 12, 0.01)
    assert (estimate.highest_sequence, estimate.reported_at, estimate.round_trip) == (70_000, 5.0, None)


def test_the_round_trip_is_measured_by_the_report_answered() -> None:
    estimate = ReceiverEstimate()
    estimate.note_sender_report(111, 10.0)
    estimate.note_sender_report(222, 11.0)
    estimate.on_report(block(last_sr=111, delay=65536), 11.08, 90_000)
    assert estimate.round_trip == pytest.approx(0.08)
    estimate.on_report(block(last_sr=222, delay=0), 11.05, 90_000)
    assert estimate.round_trip == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("last_sr", "delay", "now"),
    [
        (999, 0, 10.1),  # never sent
        (0, 0, 10.1),  # none received
        (111, 65536, 10.1),  # it says that it waited longer than it took
        (111, 0, 30.0),  # absurdly long ago
    ],
)
def test_a_report_that_makes_no_sense_measures_nothing(last_sr: int, delay: int, now: float) -> None:
    estimate = ReceiverEstimate()
    estimate.note_sender_report(111, 10.0)
    estimate.on_report(block(last_sr=last_sr, delay=delay), now, 90_000)
    assert estimate.round_trip is None


def test_rounding_below_zero_is_zero() -> None:
    estimate = ReceiverEstimate()
    estimate.note_sender_report(111, 10.0)
    estimate.on_report(block(last_sr=111, delay=20), 10.0, 90_000)
    assert estimate.round_trip == 0.0


def test_only_the_last_sender_reports_are_kept() -> None:
    estimate = ReceiverEstimate()
    for number in range(1, MAX_SENT_REPORTS + 2):
        estimate.note_sender_report(number, 10.0)
    estimate.on_report(block(last_sr=1), 10.1, 90_000)
    assert estimate.round_trip is None
    estimate.on_report(block(last_sr=2), 10.1, 90_000)
    assert estimate.round_trip == pytest.approx(0.1)


def test_remb_is_kept() -> None:
    estimate = ReceiverEstimate()
    estimate.on_remb(300_000, 3.0)
    estimate.on_remb(250_000, 4.0)
    assert (estimate.bitrate, estimate.bitrate_at) == (250_000, 4.0)


def test_adding_tells_whether_the_deadline_changed() -> None:
    recorder = TransportFeedbackRecorder()
    assert recorder.add(10, 1.0)
    assert not recorder.add(11, 1.01), "it joins the feedback that is due"
    assert not recorder.add(10, 1.02), "a duplicate"
    assert [number for number, _ in told(recorder.build(1.05, 1, 2))] == [10, 11]
    assert recorder.add(12, 1.06)
    recorder.build(1.1, 1, 2)
    assert not recorder.add(11, 1.11), "a duplicate of what was told"
    assert recorder.next_deadline() is None
    assert recorder.add(13, 1.12)
    assert recorder.next_deadline() == pytest.approx(1.12 + FEEDBACK_INTERVAL_SECONDS)
    recorder.build(1.2 + BACK_WINDOW_SECONDS + 1.0, 1, 2)
    assert not recorder.add(12, 3.0), "too late to be told"
    assert recorder.ignored == 1


@pytest.mark.parametrize("first", EDGES)
def test_a_late_packet_repeats_its_neighbours_once(first: int) -> None:
    recorder = TransportFeedbackRecorder()

    def add(step: int, arrival: float) -> bool:
        return recorder.add((first + step) & 0xFFFF, arrival)

    def build(now: float) -> list[int]:
        return [(number - first) & 0xFFFF for number, _ in told(recorder.build(now, 1, 2))]

    for step in (0, 1, 3, 4):
        add(step, 1.0 + step * 0.001)
    assert build(1.1) == [0, 1, 2, 3, 4]
    assert add(2, 1.15), "late news is news"
    add(5, 1.16)
    assert build(1.25) == [2, 3, 4, 5]
    add(6, 1.26)
    assert build(1.36) == [6], "what was told twice is not told again"


def feedback_on(*arrivals: int | None) -> TransportFeedback:
    return TransportFeedback(1, 2, 0, 0, 0, arrivals)


def test_transport_loss_is_the_share_of_what_feedback_covers() -> None:
    estimate = ReceiverEstimate()
    assert estimate.transport_fraction_lost is None
    estimate.on_transport_feedback(feedback_on())
    assert estimate.transport_fraction_lost is None
    estimate.on_transport_feedback(feedback_on(0, 1, 2, 3))
    assert estimate.transport_fraction_lost == 0.0
    # A delta of 0 is an arrival like any other.
    estimate.on_transport_feedback(feedback_on(None, 0, None, -5))
    assert estimate.transport_fraction_lost == 0.25


def test_transport_loss_forgets() -> None:
    estimate = ReceiverEstimate()
    for _ in range(FEEDBACK_WINDOW_PACKETS // 64):
        estimate.on_transport_feedback(feedback_on(*([None] * 64)))
    assert estimate.transport_fraction_lost == 1.0
    shares: list[float] = []
    for _ in range(3 * FEEDBACK_WINDOW_PACKETS // 64):
        estimate.on_transport_feedback(feedback_on(*range(64)))
        assert estimate.transport_fraction_lost is not None
        shares.append(estimate.transport_fraction_lost)
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.2


def test_forgetting_keeps_the_share() -> None:
    estimate = ReceiverEstimate()
    for _ in range(10 * FEEDBACK_WINDOW_PACKETS // 64):
        estimate.on_transport_feedback(feedback_on(*range(48), *([None] * 16)))
        assert estimate.transport_fraction_lost == pytest.approx(0.25, abs=0.01)
