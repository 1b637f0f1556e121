"""What a session's messages go through: sockets that die, clients that count or do not, limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from signaling.sockets.outbox import MAX_RETAINED_BYTES, MAX_RETAINED_MESSAGES, Outbox, OutboxLimits

STEPS = st.lists(
    st.sampled_from(["put", "put", "put", "write", "write", "arrive", "pong", "die", "die and count", "fail"]),
    max_size=200,
)


@given(STEPS)
def test_a_client_that_counts_gets_everything_once_and_in_order(steps: list[str]) -> None:
    outbox = Outbox(OutboxLimits())
    put = 0
    on_the_wire: list[str] = []
    arrived: list[str] = []
    for step in steps:
        if step == "put":
            assert outbox.put(str(put))
            put += 1
        elif step == "write" and (text := outbox.take()) is not None:
            on_the_wire.append(text)
        elif step == "fail" and (text := outbox.take()) is not None:
            outbox.put_back(text)  # the socket was closed already
        elif step == "arrive" and on_the_wire:
            arrived.append(on_the_wire.pop(0))
        elif step == "pong":
            outbox.acknowledge(len(arrived))
        elif step.startswith("die"):
            on_the_wire.clear()
            assert outbox.rewind(len(arrived)), "nothing was dropped: there are few messages"
        assert outbox.written == len(arrived) + len(on_the_wire)
    outbox.rewind(len(arrived))
    while (text := outbox.take()) is not None:
        arrived.append(text)
    assert arrived == [str(number) for number in range(put)]


@given(STEPS)
def test_a_client_that_does_not_count_gets_nothing_twice(steps: list[str]) -> None:
    outbox = Outbox(OutboxLimits(retain=False))
    put = 0
    written: list[str] = []
    for step in steps:
        if step == "put":
            assert outbox.put(str(put))
            put += 1
        elif step in {"write", "arrive"} and (text := outbox.take()) is not None:
            written.append(text)
        elif step == "fail" and (text := outbox.take()) is not None:
            outbox.put_back(text)
        elif step.startswith("die"):
            assert outbox.rewind(None)
    while (text := outbox.take()) is not None:
        written.append(text)
    assert written == [str(number) for number in range(put)]


def test_a_count_that_cannot_be_is_refused() -> None:
    outbox = Outbox(OutboxLimits())
    for text in "abc":
        outbox.put(text)
    outbox.take()
    assert not outbox.rewind(2), "it was not written"
    assert not outbox.rewind(-1)
    assert [outbox.take(), outbox.take()] == ["b", "c"]


def test_without_retention_only_what_was_not_written_comes_again() -> None:
    outbox = Outbox(OutboxLimits(retain=False))
    outbox.put("a")
    outbox.take()
    assert not outbox.rewind(0)
    assert outbox.rewind(1)


def test_what_is_retained_is_limited_by_count_and_bytes() -> None:
    outbox = Outbox(OutboxLimits())
    for _ in range(MAX_RETAINED_MESSAGES + 5):
        outbox.put("x")
        outbox.take()
    assert not outbox.rewind(4)
    assert outbox.rewind(5)
    assert len(outbox) == MAX_RETAINED_MESSAGES

    outbox = Outbox(OutboxLimits())
    for _ in range(3):
        outbox.put("x" * MAX_RETAINED_BYTES)
        outbox.take()
    assert not outbox.rewind(1)
    assert outbox.rewind(2), "the newest is kept whatever its size"


def test_what_the_client_has_is_dropped_a_pong_later() -> None:
    outbox = Outbox(OutboxLimits())
    for text in "abc":
        outbox.put(text)
        outbox.take()
    outbox.acknowledge(2)
    assert outbox.rewind(0), "its program may be behind its socket"
    for _ in "abc":
        outbox.take()
    outbox.acknowledge(3)
    assert not outbox.rewind(1)
    assert outbox.rewind(2)
    outbox.acknowledge(99)
    outbox.acknowledge(1)
    assert outbox.take() == "c"


def test_what_waits_is_limited_by_count_and_bytes() -> None:
    outbox = Outbox(OutboxLimits(messages=2, bytes=10))
    assert outbox.put("x" * 50), "alone it finds its place"
    assert not outbox.put("y")
    outbox.take()
    assert outbox.put("ääää")
    assert not outbox.put("bbb"), "eight bytes and three"
    assert outbox.put("bb")
    assert not outbox.put("")
    assert [outbox.take(), outbox.take(), outbox.take()] == ["ääää", "bb", None]


def test_a_rewound_outbox_takes_more() -> None:
    outbox = Outbox(OutboxLimits(messages=2))
    for text in "ab":
        outbox.put(text)
        outbox.take()
    outbox.rewind(0)
    assert not outbox.put("c")
    assert [outbox.take(), outbox.take()] == ["a", "b"]
    assert outbox.put("c")
