"""The service's one timer, on the loop that `aiosfu serve` has: its handles are not asyncio's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from signaling import effects, inputs
from signaling.app import Server
from signaling.config.model import ServerConfig

uvloop = pytest.importorskip("uvloop", reason="not to be had on this platform")


def test_a_deadline_that_has_passed_is_kept_and_fails_no_news() -> None:
    async def scenario() -> None:
        service: Any = Server(ServerConfig(port=0, media_host=("127.0.0.1",), media_port=0)).service
        loop = asyncio.get_running_loop()
        due: float | None = loop.time() - 1.0
        ticked = asyncio.Event()

        def deadline() -> float | None:
            return due

        def handle(event: object, _now: float) -> list[effects.Effect]:
            nonlocal due
            if isinstance(event, inputs.Tick):
                due = None
                ticked.set()
            return []

        service.rooms.deadline, service.rooms.handle = deadline, handle
        service._set_timer()
        armed = service._timer
        service._set_timer()  # for each piece of news before the loop comes round
        assert service._timer is armed
        async with asyncio.timeout(5):
            await ticked.wait()
        assert service._timer is None

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
