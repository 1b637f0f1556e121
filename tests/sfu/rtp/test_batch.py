"""Batches divide into runs that one segmented send can carry, and nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.batch import MAX_RUN_BYTES, MAX_SEGMENTS, ForwardedPacket, PacketBatch, divide


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        ([], []),
        ([100], [1]),
        ([100, 100, 100], [3]),
        ([100, 100, 40], [3]),
        ([100, 40, 100], [2, 1]),
        ([40, 100, 100], [1, 2]),
        ([100, 100, 40, 40], [3, 1]),
        ([10] * (MAX_SEGMENTS + 1), [MAX_SEGMENTS, 1]),
        ([1400] * 50, [42, 8]),
        ([35_000] * 2, [1, 1]),
    ],
)
def test_a_run_is_equal_sizes_and_then_at_most_one_smaller(sizes: list[int], runs: list[int]) -> None:
    assert [len(run) for run in divide([bytes(size) for size in sizes])] == runs


@given(st.lists(st.integers(1, 2000), max_size=200))
def test_runs_keep_every_packet_in_order_and_fit_one_send(sizes: list[int]) -> None:
    packets = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    runs = divide(packets)
    assert [packet for run in runs for packet in run] == packets
    for run in runs:
        assert len({len(packet) for packet in run[:-1]}) <= 1
        assert len(run[-1]) <= len(run[0])
        assert len(run) <= MAX_SEGMENTS
        assert sum(map(len, run)) <= MAX_RUN_BYTES


def test_a_batch_counts_payload_bytes() -> None:
    packets = [
        ForwardedPacket(bytes(size), size, 0, 96, 12, 0.0, marker=False, keyframe=False) for size in (112, 112, 62)
    ]
    batch = PacketBatch(packets)
    assert batch.octets == 250
    assert [len(run) for run in batch.runs] == [3]
