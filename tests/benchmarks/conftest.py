"""What the tiny forms of the benchmarks share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.helpers.server import assert_no_stray_tasks

from .clip import SMALL, load_clip
from .network import loopback_network
from .scenarios import Context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WINDOW_SECONDS = 0.5


@pytest.fixture
async def context() -> AsyncIterator[Context]:
    before = asyncio.all_tasks()
    yield Context(loopback_network(), load_clip(SMALL), WINDOW_SECONDS, quick=True)
    await assert_no_stray_tasks(before)
