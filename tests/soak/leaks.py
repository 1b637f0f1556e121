"""Leaks to order, for a test of the soak: of memory at each join, of a socket and of a task now and then."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sfu import Engine

EVERY_JOINS: Final = 16
"""A socket and a task are left behind so seldom, and first at the first join."""


class Leaks:
    """What a server with leaks has forgotten to let go."""

    def __init__(self, bytes_a_join: int) -> None:
        self._bytes = bytes_a_join
        self._kept: list[object] = []
        self._joins = 0

    def spring(self, engine: Engine) -> None:
        """Leak at each subscription from now on."""
        subscribe = engine.subscribe

        async def leaking(*arguments: Any, **options: Any) -> str:
            self._leak()
            return await subscribe(*arguments, **options)

        # By its name, as a method is not to be assigned to.
        setattr(engine, subscribe.__name__, leaking)

    def _leak(self) -> None:
        self._kept.append(bytes(self._bytes))
        if self._joins % EVERY_JOINS == 0:
            self._kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            self._kept.append(asyncio.create_task(_wait_in_vain()))
        self._joins += 1


async def _wait_in_vain() -> None:
    await asyncio.Event().wait()
