"""Devices, viewers and programs for the end-to-end tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Self

from signaling.client import Device, DeviceStatus, open_source, read_frame_counter

if TYPE_CHECKING:
    from collections.abc import Callable

    from av.audio.frame import AudioFrame
    from av.video.frame import VideoFrame

    from signaling.client import Feed, Media

SOURCE = "testsrc=640x360@30"
"""Small: the tests share a machine with encoder, server and decoder."""

# All traffic is to stay on 127.0.0.1, whatever other addresses the machine has.
PROGRAM = (
    "import aioice.ice, sys; aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ['127.0.0.1']; {before}; "
    "from signaling.cli import main; sys.exit(main())"
)


class Statuses:
    """What a device has reported, and a way to wait for more."""

    def __init__(self) -> None:
        self.seen: list[DeviceStatus] = []
        self._news = asyncio.Event()

    def take(self, status: DeviceStatus) -> None:
        self.seen.append(status)
        self._news.set()

    async def until(
        self,
        condition: Callable[[DeviceStatus], bool],
        *,
        timeout: float = 15.0,  # noqa: ASYNC109  a test's own deadline
        after: int = 0,
    ) -> DeviceStatus:
        """Return the first status from number `after` on that fulfils `condition`."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for status in self.seen[after:]:
                        if condition(status):
                            return status
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"never so; statuses: {self.seen}") from None

    async def until_state(self, state: str, *, timeout: float = 15.0, after: int = 0) -> DeviceStatus:  # noqa: ASYNC109  as above
        return await self.until(lambda status: status.state == state, timeout=timeout, after=after)


def a_device(server: str, statuses: Statuses | None = None, **options: Any) -> Device:
    """Return a device called `cam-1` that sends the test picture, unless told otherwise."""
    source = options.pop("source", SOURCE)
    codec = options.get("codec")
    settings: dict[str, Any] = {"id": "cam-1", "media": lambda: open_source(source, codec=codec)} | options
    return Device(server, on_status=statuses.take if statuses is not None else None, **settings)


class CountingMedia:
    """A factory of test media that knows how many are open."""

    def __init__(self) -> None:
        self.opened: list[Media] = []

    def __call__(self) -> Media:
        media = open_source(SOURCE)
        self.opened.append(media)
        return media

    @property
    def running(self) -> int:
        return sum(any(track.readyState == "live" for track in media.tracks) for media in self.opened)


async def pictures(feed: Feed, count: int, *, timeout: float = 10.0) -> list[VideoFrame]:  # noqa: ASYNC109  as above
    """Return the next `count` pictures."""
    assert feed.video is not None
    async with asyncio.timeout(timeout):
        return [await feed.video.recv() for _ in range(count)]


async def sounds(feed: Feed, count: int, *, timeout: float = 10.0) -> list[AudioFrame]:  # noqa: ASYNC109  as above
    """Return the next `count` sound frames of 20 ms."""
    assert feed.audio is not None
    async with asyncio.timeout(timeout):
        return [await feed.audio.recv() for _ in range(count)]


def counters(frames: list[VideoFrame]) -> list[int]:
    """Return the frames' counters; each must have one."""
    values = [read_frame_counter(frame) for frame in frames]
    assert None not in values, values
    return [value for value in values if value is not None]


class Program:
    """The `aiosfu` command as a real process."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None, before: str = "pass") -> None:
        """`before` is Python to run first: to shorten a wait."""
        self._code = PROGRAM.format(before=before)
        self._arguments = arguments
        self._env = {key: value for key, value in os.environ.items() if not key.startswith("AIOSFU_")} | (env or {})
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", self._code, *self._arguments),
            env=self._env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()

    async def line(self, containing: str, *, timeout: float = 20.0) -> str:  # noqa: ASYNC109  as above
        """Return the first line of output with `containing` in it."""
        assert self.process.stdout is not None
        seen = []
        async with asyncio.timeout(timeout):
            while line := await self.process.stdout.readline():
                seen.append(line.decode())
                if containing in seen[-1]:
                    return seen[-1]
        raise AssertionError(f"ended without {containing!r}: {seen}")

    async def end(self, *, timeout: float = 30.0) -> tuple[int, str, str]:  # noqa: ASYNC109  as above
        """Return exit status, output and errors when the program has ended by itself."""
        async with asyncio.timeout(timeout):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str, float]:
        """Signal the program; return as `end` does, and the seconds it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.process.send_signal(number)
        return (*await self.end(), loop.time() - began)
