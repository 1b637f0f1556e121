"""A TCP proxy for a signalling socket: it can be cut, kept away and frozen. Media does not pass through it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

CHUNK_BYTES = 65_536


class CuttableProxy:
    """Listen on a free port of 127.0.0.1 and pass connections on to `port` there."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.accepted = 0
        """Connections that were passed on so far."""
        self.away = False
        """Whether new connections are cut at once."""
        self._flows = asyncio.Event()
        """Of the connections since the last `freeze`."""
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """What clients take for the server's address."""
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Reset every connection."""
        for pair in list(self._pairs):
            for writer in pair:
                writer.transport.abort()

    def freeze(self) -> None:
        """Pass nothing on any more of the connections that there are, without a word; new ones are not touched."""
        self._flows.clear()
        self._flows = asyncio.Event()
        self._flows.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # In a task of our own: asyncio logs the cancelling of those that it makes for coroutines.
        task = asyncio.create_task(self._serve(reader, writer), name="cuttable-proxy")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.away:
                await self._pass_on(reader, writer)
        finally:
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return
        self.accepted += 1
        pair = writer, there[1]
        self._pairs.add(pair)
        flows = self._flows
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, there[1], flows))
                pumps.create_task(self._pump(there[0], writer, flows))
        finally:
            self._pairs.discard(pair)
            there[1].transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK_BYTES):
                await flows.wait()
                writer.write(data)
                await writer.drain()
        if flows.is_set():
            writer.transport.abort()
