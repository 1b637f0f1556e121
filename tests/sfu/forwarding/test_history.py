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
