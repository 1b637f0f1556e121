"""Each benchmark works: its tiny form counts what it should. Speed is not looked at."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from . import report
from .churn import churn
from .clip import MAX_RTP_PAYLOAD_BYTES, SMALL, cut, load_clip
from .fairness import fairness
from .idle import idle
from .loss import loss
from .plot import plot
from .scenarios import cost, delay, many, memory, scale, viewers_per_core
from .scrape import scrape
from .storm import storm

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from .scenarios import Context, Row

EDGE_PACKETS = 30
"""Packets of one viewer that may be under way at a window's two ends on a busy machine."""

pytestmark = pytest.mark.timeout(120)


def check_counts(rows: list[Row]) -> None:
    for row in rows:
        assert row["valid"], row
        assert row["sent"] > 0
        assert abs(row["received"] - row["expected"]) <= EDGE_PACKETS * row["viewers"], row


async def test_cost(context: Context) -> None:
    rows = await cost(context)
    assert [row["server"] for row in rows] == ["aiosfu", "stock"]
    check_counts(rows[:1])
    assert rows[1]["received"] > 0  # it encodes anew: other packets than were sent


@pytest.mark.parametrize("scenario", [scale, viewers_per_core])
async def test_growing_load(context: Context, scenario: Callable[[Context], Awaitable[list[Row]]]) -> None:
    rows = await scenario(context)
    assert [row["viewers"] for row in rows][:1] == [1]
    check_counts(rows)
    assert all(0 < row["delay_p50_ms"] <= row["delay_p99_ms"] for row in rows)


async def test_delay(context: Context) -> None:
    rows = await delay(context)
    check_counts(rows)
    assert all(0 < row["delay_p50_ms"] <= row["delay_p99_ms"] for row in rows)


async def test_many(context: Context) -> None:
    rows = await many(context)
    check_counts(rows)
    assert rows[0]["sources"] == rows[0]["viewers"] == 2


async def test_storm(context: Context) -> None:
    rows = await storm(context)
    assert [row["viewers"] for row in rows] == [3, 3, 1]
    assert all(0 < row["first_frame_p50_ms"] <= row["first_frame_max_ms"] for row in rows)


async def test_fairness(context: Context) -> None:
    rows = await fairness(context)
    assert [row["case"].split()[0] for row in rows] == [
        *("baseline,", "vanished", "RTCP", "RTCP", "read", "device", "device", "baseline,")
    ]
    assert all(0 < row["delay_p50_ms"] <= row["delay_p99_ms"] for row in rows)
    assert all(row["valid"] and row["lost"] == 0 and row["viewers"] == 3 for row in rows)
    assert [row["flood_per_second"] > 0 for row in rows] == [False, False, True, True, False, True, True, False]
    assert rows[4]["misbehaving_overflows"] > 0
    assert ["p99_to_control" in row for row in rows] == [False, False, False, True, False, False, True, False]


async def test_scrape(context: Context) -> None:
    rows = await scrape(context)
    check_counts(rows)
    assert [row["asked"] > 0 for row in rows] == [False, True, True, True]


async def test_memory(context: Context) -> None:
    (row,) = await memory(context)
    assert row["rss_MB"] > 10
    assert row["rss_kB_per_viewer"] < 10_000


async def test_idle(context: Context) -> None:
    (row,) = await idle(context)
    assert row["closed"] == 0
    assert row["pings_per_second"] >= 0
    assert 0 < row["list_devices_p50_ms"] <= row["list_devices_p99_ms"]
    assert 0 < row["invite_all_seconds"] < 30


async def test_churn(context: Context) -> None:
    (row,) = await churn(context)
    assert row["rooms"] > 0
    assert 0 < row["room_p50_ms"] <= row["room_p99_ms"]


async def test_loss(context: Context) -> None:
    control, *lossy = await loss(context)
    assert control["frames_complete_percent"] == 100
    assert control["lost_up"] == control["lost_down"] == 0
    for row in lossy:
        assert row["lost_up"] + row["lost_down"] > 0
        assert row["frames_sent"] > 0
    assert sum(row["sink_nacked"] for row in lossy) > 0


def test_report(tmp_path: Path) -> None:
    row = {"server": "aiosfu", "viewers": 1, "sources": 1, "us_per_packet": 5.0}
    report.write(tmp_path, {"cost": [row]}, {"cost": ["a note"]})
    table = report.write(tmp_path, {"many": [row]}, {}).read_text()
    assert "| aiosfu | 1 | 1 | 5 |" in table
    assert "- a note" in table
    assert list(json.loads((tmp_path / "results.json").read_text())) == ["cost", "many"]
    picture = plot(tmp_path)
    assert picture is None or picture.stat().st_size > 1000


def test_clip_is_what_it_says() -> None:
    clip = load_clip(SMALL)
    assert Counter(frame.keyframe for frame in clip.video) == {True: 4, False: 56}
    assert clip.video[clip.next_keyframe(46)].keyframe
    assert clip.next_keyframe(46) == 0


@pytest.mark.parametrize("size", [1, MAX_RTP_PAYLOAD_BYTES, MAX_RTP_PAYLOAD_BYTES + 1, 20_000])
def test_frames_are_cut_into_equal_parts(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    parts = cut(data)
    lengths = [len(part) for part in parts]
    assert b"".join(parts) == data
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= MAX_RTP_PAYLOAD_BYTES
