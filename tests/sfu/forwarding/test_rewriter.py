"""StreamRewriter: one numbering out of many sources, across every wrap edge."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.forwarding.rewriter import StreamRewriter
from sfu.rtp.sequence import timestamp_delta

SEQUENCES = (65536, 65536 + 0x7FFF, 65536 + 0xFFFE, 65536 + 0xFFFF)
TIMESTAMPS = (0, 0x7FFFFFFE, 0xFFFFFFFE, 0xFFFFFFFF)


@pytest.mark.parametrize(("outgoing", "source"), [*itertools.product(SEQUENCES, SEQUENCES)])
@pytest.mark.parametrize("timestamp", TIMESTAMPS)
def test_offsets_are_constant(outgoing: int, source: int, timestamp: int) -> None:
    rewriter = StreamRewriter(sequence=outgoing, timestamp=timestamp)
    assert rewriter.highest_sequence is None
    for n in (0, 1, 5, 3, 100, -2):
        mapped = rewriter.map(source + n, (0xFFFFFFFF + 3000 * n) & 0xFFFFFFFF)
        assert mapped == (outgoing + n, (timestamp + 3000 * n) & 0xFFFFFFFF)
    assert rewriter.highest_sequence == outgoing + 100
    assert rewriter.sequence_offset == outgoing - source
    assert rewriter.timestamp_offset == (timestamp - 0xFFFFFFFF) & 0xFFFFFFFF


@pytest.mark.parametrize(("outgoing", "source"), [*itertools.product(SEQUENCES, SEQUENCES)])
@pytest.mark.parametrize("timestamp", TIMESTAMPS)
def test_a_switch_goes_on_after_the_highest(outgoing: int, source: int, timestamp: int) -> None:
    rewriter = StreamRewriter(sequence=outgoing, timestamp=timestamp)
    rewriter.switch(70_000, 12_345, 10.0, 90_000)
    assert rewriter.lowest_source_sequence is None
    assert rewriter.map(70_000, 12_345) == (outgoing, timestamp)
    rewriter.map(70_009, 12_345 + 9000)
    rewriter.map(70_005, 12_345 + 5000)
    rewriter.switch(source, 99, 10.5, 90_000)
    assert rewriter.lowest_source_sequence == source
    assert rewriter.map(source, 99) == (outgoing + 10, (timestamp + 45_000) & 0xFFFFFFFF)
    assert rewriter.map(source + 2, 99 + 3000) == (outgoing + 12, (timestamp + 48_000) & 0xFFFFFFFF)
    assert rewriter.map(source + 1, 99 + 3000) == (outgoing + 11, (timestamp + 48_000) & 0xFFFFFFFF)


@pytest.mark.parametrize("timestamp", TIMESTAMPS)
@pytest.mark.parametrize("elapsed", [0.0, 0.01, -5.0])
def test_a_timestamp_always_advances(timestamp: int, elapsed: float) -> None:
    rewriter = StreamRewriter(sequence=65536, timestamp=timestamp)
    rewriter.switch(70_000, 0, 10.0, 90_000)
    rewriter.map(70_000, 0)
    rewriter.map(70_001, 9000)  # the source runs ahead of the clock
    rewriter.switch(80_000, 0, 10.0 + elapsed, 90_000)
    assert rewriter.map(80_000, 0) == (65538, (timestamp + 9001) & 0xFFFFFFFF)


def test_a_source_begun_without_its_time_advances_by_one() -> None:
    rewriter = StreamRewriter(sequence=65536, timestamp=0)
    rewriter.map(70_000, 500)
    rewriter.switch(80_000, 0, 10.0, 90_000)
    assert rewriter.map(80_000, 0) == (65537, 1)


def test_told_times_count_from_the_last_packet() -> None:
    rewriter = StreamRewriter(sequence=65536, timestamp=0)
    rewriter.map(70_000, 500, 3.0)
    rewriter.map(70_010, 500 + 90_000, 10.0)  # its clock and ours differ: seven seconds, one second
    rewriter.map(70_005, 500 + 45_000, 10.2)
    rewriter.switch(80_000, 0, 10.5, 90_000)
    assert rewriter.map(80_000, 0) == (65547, 90_000 + 45_000)


def test_switching_before_anything_went_out_starts_again() -> None:
    rewriter = StreamRewriter(sequence=65536, timestamp=5)
    rewriter.switch(70_000, 0, 1.0, 90_000)
    rewriter.switch(80_000, 7, 2.0, 90_000)
    assert rewriter.map(80_000, 7) == (65536, 5)


@pytest.mark.parametrize("outgoing", SEQUENCES)
def test_a_viewers_number_leads_back_to_the_source(outgoing: int) -> None:
    rewriter = StreamRewriter(sequence=outgoing, timestamp=0)
    assert rewriter.source_sequence(outgoing & 0xFFFF) is None
    rewriter.switch(70_000, 0, 1.0, 90_000)
    for n in range(10):
        rewriter.map(70_000 + n, n)
    assert [rewriter.source_sequence((outgoing + n) & 0xFFFF) for n in range(10)] == [70_000 + n for n in range(10)]
    rewriter.switch(90_000, 0, 2.0, 90_000)
    rewriter.map(90_000, 0)
    rewriter.map(90_001, 0)
    assert rewriter.source_sequence((outgoing + 9) & 0xFFFF) is None
    assert rewriter.source_sequence((outgoing + 10) & 0xFFFF) == 90_000
    assert rewriter.source_sequence((outgoing + 11) & 0xFFFF) == 90_001


@given(st.lists(st.tuples(st.integers(65536, 200_000), st.integers(0, 0xFFFFFFFF), st.integers(1, 20)), max_size=15))
def test_no_outgoing_number_is_used_twice(sources: list[tuple[int, int, int]]) -> None:
    rewriter = StreamRewriter(sequence=65536 + 0xFFFA, timestamp=0xFFFFFF00)
    sent: list[tuple[int, int]] = []
    now = 0.0
    for first, timestamp, count in sources:
        now += 0.1
        rewriter.switch(first, timestamp, now, 90_000)
        sent += [rewriter.map(first + n, (timestamp + 10 * n) & 0xFFFFFFFF) for n in range(count)]
    assert [sequence for sequence, _ in sent] == [65536 + 0xFFFA + n for n in range(len(sent))]
    assert all(timestamp_delta(b[1], a[1]) > 0 for a, b in itertools.pairwise(sent))
