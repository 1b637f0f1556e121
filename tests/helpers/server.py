"""A real server in this process on free ports of 127.0.0.1, and a client that speaks the bare protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from signaling.app import Server
from signaling.config.model import ServerConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from sfu import Engine
    from signaling.auth import Authenticator
    from signaling.service import Service

STOP_SECONDS = 2.0
"""The server promises to stop within this time."""
STRAY_SECONDS = 2.0
"""For what clients are still closing when the server has stopped."""


class RunningServer:
    """A server that listens."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def app(self) -> web.Application:
        return self.server.app

    @property
    def service(self) -> Service:
        return self.server.service

    @property
    def engine(self) -> Engine:
        return self.server.service.engine

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def http_url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def server_url(self) -> str:
        """What `--server` takes."""
        return f"ws://127.0.0.1:{self.port}"

    def ws_url(self, role: str, client_id: str | int, token: str | None = "t") -> str:  # noqa: S107  any is accepted
        tail = "" if token is None else f"/{token}"
        return f"{self.server_url}/ws/connect/{role}/{client_id}{tail}"

    async def wait_empty(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109  a test's own deadline
        """Return when no client, room, feed or subscription is left; fail after `timeout` seconds."""
        await until(lambda: self.service.rooms.state.is_empty() and not self.service.sessions, timeout, self._left)

    def _left(self) -> str:
        return f"left over: {self.service.rooms.state}"


async def until(condition: Any, timeout: float = 5.0, explain: Any = None) -> None:  # noqa: ASYNC109  as above
    """Return when `condition()` holds: for state that has no event to wait for."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(explain() if explain else "the condition never held")
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_server(
    *, authenticator: Authenticator | None = None, check_tasks: bool = True, **settings: Any
) -> AsyncIterator[RunningServer]:
    """Run a server for the block; at its end nothing of it, and no task begun in the block, may be left.

    Keyword arguments are fields of `ServerConfig`. A client that closes is gone at once unless the test sets
    `resume_grace`, and its devices stop at once unless it sets `stop_grace`. Clients and browsers begun in the block
    must be closed in it, or `check_tasks` be False.
    """
    before = asyncio.all_tasks()
    config = {"host": "127.0.0.1", "port": 0, "media_host": ("127.0.0.1",), "media_port": 0}
    config |= {"resume_grace": 0, "stop_grace": 0} | settings
    server = Server(ServerConfig.model_validate(config), authenticator)
    await server.start()
    try:
        yield RunningServer(server)
    finally:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await server.stop()
        took = loop.time() - began
    assert took < STOP_SECONDS, f"the server took {took:.1f} s to stop"
    assert not server.service.sessions
    assert server.service.rooms.state.is_empty()
    assert not server.service.engine.census.faults()
    server.service.rooms.check()
    if check_tasks:
        await assert_no_stray_tasks(before)


async def assert_no_stray_tasks(before: set[asyncio.Task[Any]]) -> None:
    """Fail when a task that was not there `before` does not end by itself."""
    stray = asyncio.all_tasks() - before - {asyncio.current_task()}
    if stray:
        await asyncio.wait(stray, timeout=STRAY_SECONDS)
    left = [task for task in stray if not task.done()]
    assert not left, f"stray tasks: {left}"


class ProtocolClient:
    """A WebSocket that sends and expects events. `received` has every message not yet expected, in order."""

    def __init__(self, url: str, *, answers_pings: bool = True) -> None:
        self.url = url
        self._answers_pings = answers_pings
        self.received: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.resume: str | None = None
        """The secret of the last `welcome`."""
        self.count = 0
        """Messages of the session, over all its sockets."""
        self._news = asyncio.Condition()
        self._http: aiohttp.ClientSession | None = None
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        self._http = aiohttp.ClientSession()
        try:
            self._ws = await self._http.ws_connect(self.url, max_msg_size=0, autoping=self._answers_pings)
        except BaseException:
            await self._http.close()
            raise
        self._reader = asyncio.create_task(self._read(), name="protocol-client")

    async def close(self) -> None:
        """Close in good order."""
        if self._ws is not None:
            await self._ws.close()
        if self._reader is not None:
            await self._reader
        if self._http is not None:
            await self._http.close()

    async def reconnect(self, *, counted: bool = True) -> dict[str, Any]:
        """Leave the socket, however it is, and resume on a new one; return the `data` of `resumed`.

        With `counted` the server is told how many messages have come.
        """
        old_http, old_ws, old_reader = self._http, self.ws, self._reader
        assert old_reader is not None
        old_reader.cancel()
        await asyncio.gather(old_reader, return_exceptions=True)
        self.close_code = None
        url = self.url
        self.url = f"{url}?resume={self.resume}" + (f"&received={self.count}" if counted else "")
        try:
            await self.open()
        finally:
            self.url = url
        await old_ws.close()
        assert old_http is not None
        await old_http.close()
        await self.expect("welcome")
        return await self.expect("resumed")

    def stop_reading(self) -> None:
        """Let what the server sends wait in the kernel: it is written, and will not arrive."""
        connection = self.ws._conn
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()

    def abort(self) -> None:
        """Cut the connection as kill -9 would; `close` is still to be called."""
        assert self._ws is not None
        connection = self._ws._conn
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()

    @property
    def ws(self) -> aiohttp.ClientWebSocketResponse:
        assert self._ws is not None
        return self._ws

    async def send(self, event: str, data: Any = None, id: Any = None) -> None:  # noqa: A002  the protocol's word
        message: dict[str, Any] = {"event": event, "data": {} if data is None else data}
        if id is not None:
            message["id"] = id
        await self.ws.send_str(json.dumps(message))

    async def send_text(self, text: str) -> None:
        await self.ws.send_str(text)

    async def expect_message(self, event: str, timeout: float = 5.0) -> dict[str, Any]:  # noqa: ASYNC109  as above
        """Return the first message of `event`, with its `id`; leave others for later calls."""
        try:
            async with asyncio.timeout(timeout), self._news:
                while True:
                    for index, message in enumerate(self.received):
                        if message["event"] == event:
                            return self.received.pop(index)
                    if self._reader is None or self._reader.done() or self.close_code is not None:
                        raise AssertionError(f"closed ({self.close_code}) before {event}; got {self.received}")
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {event} within {timeout} s; got {self.received}") from None

    async def expect(self, event: str, timeout: float = 5.0) -> dict[str, Any]:  # noqa: ASYNC109  as above
        """Return the `data` of the first message of `event`."""
        data: dict[str, Any] = (await self.expect_message(event, timeout))["data"]
        return data

    async def expect_error(self, code: str, timeout: float = 5.0) -> dict[str, Any]:  # noqa: ASYNC109  as above
        """Return the `data` of the next error, which must be of `code`."""
        data = await self.expect("error", timeout)
        assert data["code"] == code, data
        return data

    async def expect_close(self, code: int, timeout: float = 5.0) -> None:  # noqa: ASYNC109  as above
        """Return when the server has closed the socket with `code`."""
        assert self._reader is not None
        done, _ = await asyncio.wait({self._reader}, timeout=timeout)
        assert done, f"the socket is still open after {timeout} s"
        assert self.close_code == code, self.close_code

    async def settle(self) -> list[str]:
        """Return the names of all events waiting, after the server has handled all that was sent to it."""
        await self.send_text('{"event":"ice","data":{"candidate":0},"id":"settle"}')
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: any(message.get("id") == "settle" for message in self.received))
        self.received = [message for message in self.received if message.get("id") != "settle"]
        return [message["event"] for message in self.received]

    def _take(self, message: dict[str, Any]) -> None:
        self.received.append(message)
        if message["event"] == "welcome":
            self.resume = message["data"]["resume"]
        elif message["event"] != "resumed":
            self.count += 1

    async def _read(self) -> None:
        async for message in self.ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                async with self._news:
                    self._take(json.loads(message.data))
                    self._news.notify_all()
        async with self._news:
            self.close_code = self.ws.close_code
            self._news.notify_all()
