"""PacketHistory across wraps, with late and repeated packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.forwarding.history import PacketHistory

EDGES = (65536, 65536 + 0x7FFF, 65536 + 0xFFF8, 65536 + 0xFFFF, 10 * 65536 - 3)


@pytest.mark.parametrize(("asked", "capacity"), [(1, 1), (2, 2), (3, 4), (1000, 1024), (1024, 1024), (65536, 65536)])
def test_capacity_is_a_power_of_two(asked: int, capacity: int) -> None:
    assert PacketHistory[bytes](asked, 1.0).capacity == capacity


@pytest.mark.parametrize("max_packets", [0, -1, 65537])
def test_other_capacities_are_refused(max_packets: int) -> None:
    with pytest.raises(ValueError, match="it must be 1 to 65536"):
        PacketHistory[bytes](max_packets, 1.0)


@pytest.mark.parametrize("first", EDGES)
def test_the_last_packets_are_found_by_their_16_bits(first: int) -> None:
    history = PacketHistory[int](16, 1.0)
    assert len(history) == 0
    for sequence in range(first, first + 40):
        history.add(sequence, sequence, 0.0)
    assert len(history) == 16
    for sequence in range(first, first + 40):
        assert history.get(sequence & 0xFFFF, 0.0) == (sequence if sequence >= first + 24 else None)
    assert history.get((first + 40) & 0xFFFF, 0.0) is None


def test_an_empty_history_has_no_number_65535() -> None:
    assert PacketHistory[int](16, 1.0).get(65535, 0.0) is None


@pytest.mark.parametrize("first", EDGES)
def test_late_packets_are_kept_unless_older_than_the_ring(first: int) -> None:
    history = PacketHistory[str](8, 1.0)
    history.add(first + 10, "newest", 0.0)
    history.add(first + 3, "late", 0.0)
    history.add(first + 2, "too late", 0.0)  # shares its slot with the newest
    assert history.get((first + 10) & 0xFFFF, 0.0) == "newest"
    assert history.get((first + 3) & 0xFFFF, 0.0) == "late"
    assert history.get((first + 2) & 0xFFFF, 0.0) is None
    assert (len(history), history.dropped) == (2, 1)


def test_packets_age() -> None:
    history = PacketHistory[str](8, 1.0)
    history.add(65536, "old", 10.0)
    history.add(65537, "new", 10.5)
    assert history.get(0, 11.0) == "old"
    assert history.get(0, 11.01) is None
    assert history.get(1, 11.5) == "new"


def test_a_jump_hides_what_it_left_behind() -> None:
    history = PacketHistory[str](8, 100.0)
    history.add(65536, "before", 0.0)
    history.add(65536 + 65536 + 1, "after", 0.0)
    assert history.get(0, 0.0) is None
    assert history.get(1, 0.0) == "after"


def test_the_same_number_again_takes_its_place() -> None:
    history = PacketHistory[str](8, 1.0)
    history.add(65536, "first", 0.0)
    history.add(65536, "again", 0.5)
    assert history.get(0, 1.2) == "again"
    assert len(history) == 1


@given(st.lists(st.integers(65536, 65536 + 300), max_size=200), st.sampled_from([1, 8, 64]))
def test_it_is_the_newest_of_a_plain_dictionary(sequences: list[int], capacity: int) -> None:
    history = PacketHistory[int](capacity, 1.0)
    highest = 0
    model: dict[int, int] = {}
    for position, sequence in enumerate(sequences):
        highest = max(highest, sequence)
        if highest - sequence < capacity:
            model[sequence] = position
        history.add(sequence, position, 0.0)
    for sequence in range(65536, 65536 + 301):
        expected = model.get(sequence) if highest - sequence < capacity else None
        assert history.get(sequence & 0xFFFF, 0.0) == expected


@pytest.mark.parametrize("first", EDGES)
def test_a_run_goes_from_a_number_to_the_newest(first: int) -> None:
    history = PacketHistory[int](16, 1.0)
    for sequence in (first, first + 2, first + 1, first + 3):
        history.add(sequence, sequence, 0.0)
    assert history.run_from(first, 0.0) == [first, first + 1, first + 2, first + 3]
    assert history.run_from(first + 3, 0.0) == [first + 3]
    assert history.run_from(first + 4, 0.0) is None, "it has not come yet"
    assert history.run_from(first - 1, 0.0) is None, "it never came"


def test_a_run_has_no_holes_until_they_are_filled() -> None:
    history = PacketHistory[int](16, 1.0)
    for sequence in (65536, 65538):
        history.add(sequence, sequence, 0.0)
    assert history.run_from(65536, 0.0) is None
    assert history.run_from(65538, 0.0) == [65538], "what is missing before it is no matter"
    history.add(65537, 65537, 0.1)
    assert history.run_from(65536, 0.1) == [65536, 65537, 65538]


def test_a_run_ends_with_its_oldest_packet() -> None:
    history = PacketHistory[int](16, 1.0)
    history.add(65536, 65536, 10.0)
    history.add(65537, 65537, 10.5)
    assert history.run_from(65536, 11.0) == [65536, 65537]
    assert history.run_from(65536, 11.01) is None
    assert history.run_from(65537, 11.01) == [65537]


@pytest.mark.parametrize("first", EDGES)
def test_a_run_is_no_longer_than_the_ring(first: int) -> None:
    history = PacketHistory[int](8, 1.0)
    assert history.run_from(first, 0.0) is None
    for sequence in range(first, first + 9):
        history.add(sequence, sequence, 0.0)
    assert history.run_from(first, 0.0) is None
    assert history.run_from(first + 1, 0.0) == list(range(first + 1, first + 9))
    # After a jump, slots of the ring still hold packets of before, under other numbers.
    history.add(first + 16, first + 16, 0.0)
    assert history.run_from(first + 9, 0.0) is None
