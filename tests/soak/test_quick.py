"""The soak finds what leaks and says where; that nothing does is what the five minutes in `make test` are for."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from . import report
from .leaks import EVERY_JOINS
from .record import EXACT, Growth, Record, Sample, growth_between
from .run import Plan, soak

LEAKS = Path(__file__).with_name("leaks.py")
PLAN = Plan(minutes=0.03, joins=32, warm_joins=0, rests=1, restart_seconds=60.0, knocks=20)
"""Too short for restarts of devices, which the five minutes of `make test` have."""
LEAKED_BYTES = 8_000
"""At each join: in an hour a hundredth of it would be found."""


@pytest.mark.timeout(60)
async def test_each_leak_is_found_and_named(tmp_path: Path) -> None:
    record = await soak(PLAN, str(LEAKED_BYTES))
    findings = record.findings()
    left_behind = PLAN.joins // EVERY_JOINS
    descriptors, tasks, memory = findings
    assert (
        f"; more than then: {left_behind} x socket at 0.0.0.0:0 from tests/soak/leaks.py:{line('SOCK_DGRAM')}"
        in descriptors
    )
    assert (
        f"; more than then: {left_behind} x _wait_in_vain at tests/soak/leaks.py:{line('await asyncio.Event')}" in tasks
    )
    assert f": tests/soak/leaks.py:{line('bytes(self._bytes)')} " in memory
    assert record.growth[0].blocks >= PLAN.joins

    # All that is not leaked is at rest.
    assert record.joins == PLAN.joins
    assert max(sample["subscriptions"] for sample in record.samples) > 0
    report.write(tmp_path, PLAN, record)
    page = (tmp_path / "soak.md").read_text()
    assert "**not flat**" in page
    assert f"| {PLAN.joins + PLAN.warm_joins} |" in page


def line(text: str) -> int:
    """Return the number of the line of `leaks.py` that has `text`."""
    (number,) = (n for n, code in enumerate(LEAKS.read_text().splitlines(), 1) if text in code)
    return number


def rest(joins: int, **changed: float) -> Sample:
    return {"seconds": 0.0, "joins": joins, "rss": 1e8, "traced": 1e6, **dict.fromkeys(EXACT, 3.0)} | changed


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({}, []),
        ({"descriptors": 4.0}, ["descriptors: 4 at rest after 1000 joins, 3 at the first rest"]),
        ({"tasks": 2.0}, ["tasks: 2 at rest"]),
        ({"traced": 1e6 + 90_000}, []),
        ({"traced": 1e6 + 100_000}, ["memory grew by 100000 bytes over 1000 joins", "leak.py:7 90000 bytes"]),
        ({"rss": 1.2e8}, ["the process grew from 100.0 MB to 120.0 MB"]),
    ],
)
def test_what_is_not_flat_is_said(last: dict[str, float], said: list[str]) -> None:
    record = Record(rests=[rest(0), rest(500), rest(1000, **last)], growth=[Growth("leak.py:7", 90_000, 1000)])
    findings = record.findings()
    assert len(findings) == min(1, len(said))
    assert all(text in findings[0] for text in said)


def test_what_the_beginning_left_behind_hides_no_growth() -> None:
    record = Record(rests=[rest(0, traced=2e6), rest(500), rest(1000, traced=1e6 + 100_000)])
    (finding,) = record.findings()
    assert "memory grew by 100000 bytes" in finding


def test_growth_is_named_by_its_line(tmp_path: Path) -> None:
    first, last = tmp_path / "first", tmp_path / "last"
    tracemalloc.start()
    try:
        tracemalloc.take_snapshot().dump(str(first))
        kept = [bytes(1000) for _ in range(100)]
        tracemalloc.take_snapshot().dump(str(last))
    finally:
        tracemalloc.stop()
    grown = growth_between(first, last)[0]
    line = test_growth_is_named_by_its_line.__code__.co_firstlineno + 5
    assert grown.where == f"tests/soak/test_quick.py:{line}"
    assert grown.bytes > len(kept) * 1000
