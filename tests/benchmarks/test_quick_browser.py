"""Each benchmark with a browser works, in its tiny form. Speed is not looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.browser import find_chromium

from .click import click
from .freezes import freezes
from .ramp import ramp
from .restart import restart
from .tiles import tiles

if TYPE_CHECKING:
    from .scenarios import Context

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium; python -m tests.helpers.browser --install"),
]


async def test_ramp(context: Context) -> None:
    (row,) = await ramp(context)
    assert row["kbps_at_end"] > 0


async def test_freezes(context: Context) -> None:
    control, lossy = await freezes(context)
    assert control["lost"] == 0
    for row in (control, lossy):
        assert row["frames_decoded"] > 0
        assert 0 <= row["frozen_percent"] <= row["frozen_percent_worst"] <= 100


async def test_click(context: Context) -> None:
    streaming, waiting = await click(context)
    for row in (streaming, waiting):
        assert 0 < row["picture_p50_ms"] <= row["picture_max_ms"]
        assert row["to_connected_ms"] > 0


async def test_tiles(context: Context) -> None:
    for row in await tiles(context):
        assert row["pictures_per_second"] > 5
        assert 0 < row["script_percent"] < row["main_thread_percent"] < 100
        assert row["frames_per_second"] > 0


async def test_restart(context: Context) -> None:
    for row in await restart(context):
        assert 0 < row["start_p50_ms"] < row["gap_p50_ms"] <= row["gap_max_ms"]
