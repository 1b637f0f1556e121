"""Timers against a plain dict, and their memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from signaling.timers import MAX_STALE_ENTRIES, Timers

STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "cancel", "pop"]), st.integers(0, 5), st.floats(0, 100, allow_nan=False)),
    max_size=300,
)


@given(STEPS)
def test_timers_are_what_a_dict_says(steps: list[tuple[str, int, float]]) -> None:
    timers: Timers[int] = Timers()
    expected: dict[int, float] = {}
    for what, key, time in steps:
        if what == "set":
            timers.set(key, time)
            expected[key] = time
        elif what == "cancel":
            timers.cancel(key)
            expected.pop(key, None)
        else:
            popped = timers.pop(time)
            earliest = min(expected.values(), default=None)
            if earliest is None or earliest > time:
                assert popped is None
            else:
                assert popped is not None
                assert expected.pop(popped) == earliest
        assert timers.next() == min(expected.values(), default=None)
        assert len(timers) == len(expected)
        assert (key in timers) == (key in expected)


def test_a_timer_that_is_put_off_for_ever_takes_no_memory() -> None:
    timers: Timers[str] = Timers()
    for second in range(10_000):
        timers.set("a", second)
        timers.set("b", second + 1)
        timers.cancel("b")
    assert len(timers._heap) <= 2 * len(timers) + MAX_STALE_ENTRIES
    assert timers.next() == 9_999
