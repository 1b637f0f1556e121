"""The soak works, in its smallest form, and would say what is not flat."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from . import report
from .record import EXACT, Growth, Record, Sample, growth_between
from .run import Plan, soak

if TYPE_CHECKING:
    from pathlib import Path

PLAN = Plan(minutes=0.15, joins=90, warm_joins=25, rests=1, restart_seconds=2.5)


@pytest.mark.timeout(120)
async def test_nothing_is_left_of_viewers_who_came_and_went(tmp_path: Path) -> None:
    record = await soak(PLAN)
    assert record.findings() == []
    assert record.joins == PLAN.joins
    # Chance picks among the ways: each is there many times over.
    assert min(count for name, count in record.done.items() if name != "viewer whose device restarted") > 0, record.done
    assert len(record.done) >= 8, record.done
    assert max(sample["subscriptions"] for sample in record.samples) > 0
    report.write(tmp_path, PLAN, record)
    page = (tmp_path / "soak.md").read_text()
    assert "**flat**" in page
    assert f"| {PLAN.joins + PLAN.warm_joins} |" in page


def rest(joins: int, **changed: float) -> Sample:
    return {"seconds": 0.0, "joins": joins, "rss": 1e8, "traced": 1e6, **dict.fromkeys(EXACT, 3.0)} | changed


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({}, []),
        ({"descriptors": 4.0}, ["descriptors: 4 at rest after 1000 joins, 3 at the first rest"]),
        ({"tasks": 2.0}, ["tasks: 2 at rest"]),
        ({"traced": 1e6 + 120_000}, []),
        ({"traced": 1e6 + 180_000}, ["memory grew by 180000 bytes over 1000 joins", "leak.py:7 90000 bytes"]),
        ({"rss": 1.2e8}, ["the process grew from 100.0 MB to 120.0 MB"]),
    ],
)
def test_what_is_not_flat_is_said(last: dict[str, float], said: list[str]) -> None:
    record = Record(rests=[rest(0), rest(500), rest(1000, **last)], growth=[Growth("leak.py:7", 90_000, 1000)])
    findings = record.findings()
    assert len(findings) == min(1, len(said))
    assert all(text in findings[0] for text in said)


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
