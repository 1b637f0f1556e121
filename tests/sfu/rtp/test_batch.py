"""Batches divide into runs that one segmented send can carry, and nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.batch import (
    MAX_PADDING_BYTES,
    MAX_RUN_BYTES,
    MAX_SEGMENTS,
    ForwardedPacket,
    PacketBatch,
    divide,
    level,
)
from sfu.rtp.packet import build_packet, pad, parse_header


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


def test_a_batch_counts_payload_bytes_without_the_padding_that_levels_it() -> None:
    packets = [
        ForwardedPacket(bytes(size), size, 0, 96, 12, size - 12, 0.0, marker=False, keyframe=False)
        for size in (112, 111, 62)
    ]
    level(packets)
    batch = PacketBatch(packets)
    assert batch.octets == 249
    assert [[len(data) for data in run] for run in batch.runs] == [[112, 112, 62]]


def packets_of(sizes: list[int], *, padded: bool = False) -> list[ForwardedPacket]:
    packets = []
    for number, size in enumerate(sizes):
        data = build_packet(
            payload_type=96,
            sequence_number=number,
            timestamp=0,
            ssrc=1,
            marker=False,
            extensions=b"",
            payload=bytes([number % 250 + 1]) * (size - 12),
        )
        packets.append(ForwardedPacket(data, number, 0, 96, 12, size - 12, 0.0, marker=False, keyframe=False))
    if padded:
        level(packets)
    return packets


def payload(data: bytes) -> bytes:
    header = parse_header(data)
    return data[header.payload_offset : header.payload_end(len(data))]


@pytest.mark.parametrize(
    ("sizes", "levelled"),
    [
        ([1000], [1000]),
        ([1000, 1001, 1000, 1001], [1001] * 4),
        ([1000, 1001, 300], [1001, 1001, 300]),
        ([300, 1000, 1001], [300, 1001, 1001]),
        ([1000, 1000 + MAX_PADDING_BYTES, 1000], [1000 + MAX_PADDING_BYTES] * 3),
        ([1000, 1001 + MAX_PADDING_BYTES], [1000, 1001 + MAX_PADDING_BYTES]),
    ],
)
def test_neighbours_of_nearly_one_length_become_of_one_length(sizes: list[int], levelled: list[int]) -> None:
    packets = packets_of(sizes)
    level(packets)
    assert [len(packet.data) for packet in packets] == levelled


@given(st.lists(st.integers(13, 200), max_size=60))
def test_padding_leaves_every_payload_as_it_is_even_twice(sizes: list[int]) -> None:
    packets = packets_of(sizes)
    before = [payload(packet.data) for packet in packets]
    level(packets)
    again = [*packets, *packets_of([210, 215])]
    level(again)
    assert [payload(packet.data) for packet in packets] == before
    assert all(parse_header(packet.data).sequence_number == packet.sequence for packet in packets)


def test_padding_that_its_count_cannot_tell_is_not_added() -> None:
    data = packets_of([100])[0].data
    full = pad(data, 255)
    assert pad(full, 1) == full
    assert payload(pad(pad(data, 200), 55)) == payload(data)
