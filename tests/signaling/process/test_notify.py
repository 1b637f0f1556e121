"""What systemd hears of a server, over a real socket of its protocol."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from signaling.process.notify import Notifier
from tests.signaling.test_serve import FREE_PORTS, aiosfu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd's socket is a Unix socket")


class Manager:
    """The other end of `NOTIFY_SOCKET`."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003  its only argument
        self._socket.bind(self.path)

    async def hear(self) -> list[str]:
        """Return the lines of the next datagram."""
        async with asyncio.timeout(20):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode().split("\n")

    def has_news(self) -> bool:
        """Return whether a datagram has come; take it."""
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


async def test_a_served_process_tells_ready_alive_and_stopping(manager: Manager) -> None:
    # No WATCHDOG_PID: it would have to be the process's own, which nobody knows before it runs.
    async with aiosfu("serve", *FREE_PORTS, NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="200000") as server:
        url = await server.ready()
        ready, status = await manager.hear()
        assert ready == "READY=1"
        assert url in status
        for _ in range(3):  # at once, and on and on
            assert await manager.hear() == ["WATCHDOG=1"]
        server.process.send_signal(signal.SIGTERM)
        lines = ["WATCHDOG=1"]
        while lines == ["WATCHDOG=1"]:
            lines = await manager.hear()
        assert lines[0] == "STOPPING=1"
        assert await server.rest() == ("", "", 0)


async def test_a_loop_that_hangs_is_silent(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())})
    notifier.ready("x")
    assert await manager.hear() == ["READY=1", "STATUS=x"]
    assert await manager.hear() == ["WATCHDOG=1"]
    assert await manager.hear() == ["WATCHDOG=1"]
    while manager.has_news():
        pass  # what came before this turn of the loop
    hung = asyncio.get_running_loop().time() + 0.1
    while asyncio.get_running_loop().time() < hung:
        assert not manager.has_news()
    assert await manager.hear() == ["WATCHDOG=1"]
    notifier.close()
    notifier.close()


@pytest.mark.parametrize(
    "watchdog",
    [{}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}],
)
async def test_no_signs_of_life_where_none_are_wanted(manager: Manager, watchdog: dict[str, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.path} | watchdog)
    notifier.ready("x")
    assert (await manager.hear())[0] == "READY=1"
    notifier.stopping(12.5)
    assert await manager.hear() == ["STOPPING=1", "STATUS=stopping", "EXTEND_TIMEOUT_USEC=12500000"]
    assert not manager.has_news()
    notifier.close()


@pytest.mark.skipif(not os.path.exists("/proc/net/unix"), reason="abstract names are Linux's")  # noqa: PTH110  one word
async def test_an_abstract_name() -> None:
    name = f"aiosfu-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name})
        notifier.ready("x")
        notifier.close()
        assert listener.recv(100).startswith(b"READY=1")


async def test_a_manager_that_is_gone_is_logged_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    with caplog.at_level(logging.WARNING):
        notifier.ready("x")
        notifier.stopping()
    notifier.close()
    assert [record.getMessage().split()[0] for record in caplog.records] == ["service_manager_unreachable"]


async def test_nothing_is_opened_without_a_manager() -> None:
    notifier = Notifier({})
    notifier.ready("x")
    notifier.stopping()
    assert notifier._socket is None
    notifier.close()
