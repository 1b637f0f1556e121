"""ReceiveStats against RFC 3550's formulas, under seeded loss, reordering and repetition."""

from __future__ import annotations

import random

import pytest
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RtpPacket

from sfu.forwarding.receive_stats import MAX_DROPOUT_PACKETS, ReceiveStats
from sfu.rtp.rtcp import ReportBlock, middle_32, to_ntp

EDGES = (65536, 65536 + 0x7FFE, 65536 + 0xFFFE, 65536 + 0xFFFF)
TIMESTAMP_EDGES = (0, 0x7FFFFFFF, 0xFFFFFFFF - 1000)


@pytest.mark.parametrize("first", EDGES)
def test_a_perfect_stream(first: int) -> None:
    stats = ReceiveStats(90_000)
    for n in range(100):
        stats.add(first + n, n * 3000, n / 30)
    assert (stats.received, stats.expected, stats.lost, stats.duplicates) == (100, 100, 0, 0)
    assert stats.jitter_seconds < 1e-9
    assert stats.report_block(7, 4.0) == ReportBlock(7, 0, 0, (first - 65536) + 99, 0, 0, 0)


def test_before_the_first_packet() -> None:
    stats = ReceiveStats(48_000)
    assert (stats.received, stats.expected, stats.lost) == (0, 0, 0)
    assert stats.report_block(7, 1.0) == ReportBlock(7, 0, 0, 0, 0, 0, 0)


def test_a_clock_stands_still_nowhere() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ReceiveStats(0)


@pytest.mark.parametrize("first", EDGES)
def test_the_fraction_is_of_each_interval(first: int) -> None:
    stats = ReceiveStats(90_000)
    for n in range(101):
        if n % 4 != 1:
            stats.add(first + n, n, n / 100)
    block = stats.report_block(1, 1.0)
    assert block.packets_lost == 25
    assert block.fraction_lost == 25 * 256 // 101
    for n in range(101, 201):
        stats.add(first + n, n, n / 100)
    block = stats.report_block(1, 2.0)
    assert (block.packets_lost, block.fraction_lost) == (25, 0)
    block = stats.report_block(1, 3.0)
    assert (block.packets_lost, block.fraction_lost) == (25, 0)


def test_losing_nearly_all_is_at_most_255() -> None:
    stats = ReceiveStats(90_000)
    stats.add(65536, 0, 0.0)
    stats.report_block(1, 1.0)
    stats.add(65536 + 2900, 0, 0.0)
    assert stats.report_block(1, 2.0).fraction_lost == 255


@pytest.mark.parametrize("first", EDGES)
def test_late_packets_and_duplicates(first: int) -> None:
    stats = ReceiveStats(90_000)
    for n in (0, 3, 1, 2, 2, 3, 4):
        stats.add(first + n, 0, 0.0)
    assert (stats.received, stats.lost, stats.duplicates) == (7, -2, 2)
    block = stats.report_block(1, 1.0)
    assert (block.packets_lost, block.fraction_lost) == (-2, 0)


def test_a_packet_before_the_first_belongs_to_the_stream() -> None:
    stats = ReceiveStats(90_000)
    for sequence in (65540, 65538, 65539):
        stats.add(sequence, 0, 0.0)
    assert (stats.expected, stats.lost, stats.duplicates) == (3, 0, 0)


def test_a_restart_is_no_loss() -> None:
    stats = ReceiveStats(90_000)
    stats.add(65536, 0, 0.0)
    stats.add(65536 + MAX_DROPOUT_PACKETS + 1, 0, 0.0)
    assert (stats.lost, stats.restarts) == (0, 1)
    stats.add(65536 + 2 * MAX_DROPOUT_PACKETS + 1, 0, 0.0)
    assert (stats.lost, stats.restarts) == (MAX_DROPOUT_PACKETS - 1, 1)


def test_the_cycles_are_counted_from_the_first_packet() -> None:
    stats = ReceiveStats(90_000)
    stats.add(65536 + 0xFFFF, 0, 0.0)
    stats.add(2 * 65536, 0, 0.0)
    assert stats.report_block(1, 1.0).highest_sequence == 0x10000


@pytest.mark.parametrize("first", TIMESTAMP_EDGES)
@pytest.mark.parametrize("seed", range(3))
def test_jitter_is_aiortcs(seed: int, first: int) -> None:
    source = random.Random(seed)
    ours, theirs = ReceiveStats(90_000), StreamStatistics(90_000)
    now = [0.0]
    patch = pytest.MonkeyPatch()
    patch.setattr("aiortc.rtcrtpreceiver.time.time", lambda: now[0])
    try:
        for n in range(500):
            timestamp = (first + n * 3000) & 0xFFFFFFFF
            now[0] = n / 30 + source.uniform(0, 0.02)
            ours.add(65536 + n, timestamp, now[0])
            theirs.add(RtpPacket(sequence_number=n, timestamp=timestamp))
    finally:
        patch.undo()
    # aiortc rounds to whole ticks at every step.
    assert ours.report_block(1, 20.0).jitter == pytest.approx(theirs.jitter, abs=40)
    assert 0.004 < ours.jitter_seconds < 0.01


def test_recovered_packets_and_jumps_are_no_jitter() -> None:
    stats = ReceiveStats(90_000)
    stats.add(65536, 0, 0.0)
    stats.add(65538, 6000, 2 / 30)
    stats.add(65537, 3000, 0.5, recovered=True)
    assert stats.lost == 0
    stats.add(65539, 9000, 3 / 30)
    assert stats.jitter_seconds < 1e-9
    stats.add(65540, 0x80000000, 4 / 30)
    assert stats.jitter_seconds < 1e-9
    stats.add(65541, 0x80000000 + 3000, 5 / 30 + 0.016)
    assert stats.jitter_seconds == pytest.approx(0.001)


def test_the_last_sender_report_is_echoed() -> None:
    stats = ReceiveStats(90_000)
    assert stats.sender_clock is None
    ntp_time = to_ntp(1_700_000_000.25)
    stats.sender_report(ntp_time, 1234, 5.0)
    block = stats.report_block(1, 5.5)
    assert (block.last_sr, block.delay_since_last_sr) == (middle_32(ntp_time), 0x8000)
    assert stats.sender_clock == (ntp_time, 1234, 5.0)
    assert stats.report_block(1, 4.0).delay_since_last_sr == 0
    assert stats.report_block(1, 1e9).delay_since_last_sr == 0xFFFFFFFF


@pytest.mark.parametrize("seed", range(5))
def test_counts_under_loss_reordering_and_repetition(seed: int) -> None:
    source = random.Random(seed)
    first = 65536 + 0xFF00
    sent = [first + n for n in range(5000)]
    kept = [n for n in sent if n in {sent[0], sent[-1]} or source.random() > 0.1]
    repeated = [n for n in kept[:-1] if source.random() < 0.05]
    order = sorted(kept + repeated, key=lambda n: n + source.uniform(0, 50))
    stats = ReceiveStats(90_000)
    reported = 0
    for position, sequence in enumerate(order):
        stats.add(sequence, 0, 0.0)
        if position % 500 == 499:
            reported += stats.report_block(1, 0.0).fraction_lost
    assert stats.expected == 5000
    assert stats.duplicates == len(repeated)
    assert stats.received == len(order)
    assert stats.lost == 5000 - len(order)
    # Some 5 % are missing when duplicates are counted in, whatever single interval the reordering moves them to.
    assert 0 < reported / (len(order) // 500) < 256 * 0.15
