"""The signalling session over several sockets, against scripted servers: real WebSockets, exact messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from signaling.client import DisconnectedError, ReplacedError, ServerError
from signaling.client import backoff as backoff_module
from signaling.client import connection as module
from signaling.client.connection import INTERRUPTED, Connection
from signaling.client.dial import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a secret/with=signs"  # noqa: S105  has to survive quoting

Script = Callable[["Visit"], Awaitable[None]]


class Visit:
    """One socket of the client, as the server sees it."""

    def __init__(self, socket: web.WebSocketResponse, query: dict[str, str], transport: asyncio.BaseTransport) -> None:
        self.socket = socket
        self.query = query
        self._transport = transport

    async def tell(self, event: str, data: Any = None, id: Any = None) -> None:  # noqa: A002  the protocol's word
        await self.socket.send_json({"event": event, "data": data or {}} | ({"id": id} if id is not None else {}))

    async def welcome(self, resume: str | None = SECRET) -> None:
        await self.tell("welcome", {"client_id": "me", "protocol": 1, "resume": resume})

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads((await self.socket.receive()).data)
        return message

    def cut(self) -> None:
        """End the socket as a pulled cable does, as far as that can be noticed."""
        assert isinstance(self._transport, asyncio.Transport)
        self._transport.abort()


@contextlib.asynccontextmanager
async def serving(*scripts: Script, autoping: bool = True) -> AsyncIterator[Address]:
    """Run a server that follows one script for each socket in turn, and fails the test when one fails."""
    waiting = list(scripts)
    errors: list[BaseException] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=autoping)
        await socket.prepare(request)
        assert request.transport is not None
        try:
            await waiting.pop(0)(Visit(socket, dict(request.query), request.transport))
        except Exception as error:  # noqa: BLE001  told at the end
            errors.append(error)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/ws/connect/DEVICE/me", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Address(f"ws://127.0.0.1:{runner.addresses[0][1]}", "DEVICE", "me")
    finally:
        await runner.cleanup()
    assert not errors, errors
    assert not waiting, "the client came less often than expected"


@contextlib.asynccontextmanager
async def connected(*scripts: Script, autoping: bool = True) -> AsyncIterator[Connection]:
    async with serving(*scripts, autoping=autoping) as address, aiohttp.ClientSession() as http:
        connection = await Connection.open(http, address)
        try:
            yield connection
        finally:
            await connection.close()


async def drain(connection: Connection) -> None:
    """Read until the connection ends, which it says by an exception."""
    while True:
        await connection.next_event()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff_module.Backoff.__init__, "__kwdefaults__", QUICK)


QUICK = {"initial": 0.02, "maximum": 0.1, "random": lambda: 0.0}


async def test_a_session_is_taken_over_and_nothing_is_lost_or_doubled() -> None:
    async def first(visit: Visit) -> None:
        assert visit.query == {}
        await visit.welcome()
        await visit.tell("news", {"number": 1})
        asked = await visit.hear()
        assert (asked["event"], asked["id"]) == ("ask", "1")
        await visit.tell("answer", {"number": 10}, id="1")
        assert (await visit.hear())["data"] == {"number": 2}  # had, but its answer is lost with the socket
        visit.cut()

    async def second(visit: Visit) -> None:
        assert visit.query == {"resume": SECRET, "received": "2"}
        await visit.welcome()
        await visit.tell("resumed", {"rooms": [], "subscriptions": [], "received": 2})
        await visit.tell("answer", {"number": 20}, id="2")
        await visit.tell("news", {"number": 2})
        asked = await visit.hear()
        assert (asked["data"], asked["id"]) == ({"number": 3}, "3")
        await visit.tell("answer", {"number": 30}, id="3")
        await visit.socket.receive()

    async with connected(first, second) as connection:
        assert (await connection.request("ask", {"number": 1}, "answer")).integer("number") == 10
        assert (await connection.request("ask", {"number": 2}, "answer")).integer("number") == 20
        assert (await connection.request("ask", {"number": 3}, "answer")).integer("number") == 30
        events = [await connection.next_event() for _ in range(4)]
        assert [event.name for event in events] == ["news", INTERRUPTED, "resumed", "news"]
        assert [event.integer("number") for event in events if event.name == "news"] == [1, 2]


async def test_what_the_old_socket_swallowed_is_sent_again() -> None:
    async def first(visit: Visit) -> None:
        await visit.welcome()
        assert (await visit.hear())["id"] == "1"
        visit.cut()

    async def second(visit: Visit) -> None:
        await visit.welcome()
        await visit.tell("resumed", {"received": 0})
        first, then = await visit.hear(), await visit.hear()
        assert (first["id"], then["id"]) == ("1", "2")
        await visit.tell("answer", {}, id="2")
        await visit.tell("answer", {}, id="1")
        await visit.socket.receive()

    async with connected(first, second) as connection:
        await connection.notify("ask", {})
        # The first socket is gone by now or goes while this waits: either way it arrives, after the other.
        await connection.request("ask", {}, "answer")


async def test_requests_wait_while_there_is_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_SECONDS", 0.2)
    go_on = asyncio.Event()

    async def first(visit: Visit) -> None:
        await visit.welcome()
        await visit.hear()
        visit.cut()

    async def away(visit: Visit) -> None:
        await visit.tell("error", {"code": "server_full", "message": "later"})
        await go_on.wait()

    async def last(visit: Visit) -> None:
        await visit.welcome()
        await visit.tell("resumed", {"received": 1})
        await visit.tell("answer", {}, id="1")
        await visit.tell("answer", {}, id=(await visit.hear())["id"])
        await visit.socket.receive()

    async with connected(first, away, last) as connection:
        asked = asyncio.create_task(connection.request("ask", {}, "answer"))
        assert (await connection.next_event()).name == INTERRUPTED
        later = asyncio.create_task(connection.request("ask", {}, "answer"))
        done, _ = await asyncio.wait([asked, later], timeout=0.5)
        assert not done, "they wait for longer than a server may take"
        go_on.set()
        await asyncio.gather(asked, later)


@pytest.mark.parametrize("first_event", [None, "start_streaming"])
async def test_a_forgotten_session_is_begun_anew_on_the_same_socket(first_event: str | None) -> None:
    async def first(visit: Visit) -> None:
        await visit.welcome()
        visit.cut()

    async def second(visit: Visit) -> None:
        await visit.welcome("another secret")
        if first_event is not None:
            await visit.tell(first_event, {"room_id": 5})
        asked = await visit.hear()
        assert (asked["event"], asked["id"]) == ("ask", "1")
        await visit.tell("answer", {}, id="1")
        visit.cut()

    async def third(visit: Visit) -> None:
        assert visit.query == {"resume": "another secret", "received": "2" if first_event else "1"}
        await visit.welcome("another secret")
        await visit.tell("resumed", {"received": 1})
        await visit.socket.receive()

    async with serving(first, second, third) as address, aiohttp.ClientSession() as http:
        connection = await Connection.open(http, address)
        with pytest.raises(DisconnectedError, match="forgotten"):
            await drain(connection)
        with pytest.raises(DisconnectedError, match="forgotten"):
            await connection.request("ask", {}, "answer")
        successor = connection.take_successor()
        assert successor is not None
        assert connection.take_successor() is None
        await connection.close()
        begun = await Connection.open(http, address, successor)
        await begun.request("ask", {}, "answer")
        if first_event is not None:
            assert (await begun.next_event()).name == first_event
        assert (await begun.next_event()).name == INTERRUPTED
        assert (await begun.next_event()).name == "resumed"
        await begun.close()


async def test_a_successor_that_nobody_takes_is_closed() -> None:
    closed = asyncio.Event()

    async def first(visit: Visit) -> None:
        await visit.welcome()
        visit.cut()

    async def second(visit: Visit) -> None:
        await visit.welcome()
        assert (await visit.socket.receive()).type is aiohttp.WSMsgType.CLOSE
        closed.set()

    async with connected(first, second) as connection:
        with pytest.raises(DisconnectedError):
            await drain(connection)
    assert closed.is_set()


async def test_nobody_fights_over_an_id() -> None:
    async def first(visit: Visit) -> None:
        await visit.welcome()
        await visit.socket.close(code=4409)

    async with connected(first) as connection:
        with pytest.raises(ReplacedError, match="another client has connected as 'me'"):
            await connection.next_event()


async def test_a_refusal_for_good_ends_the_session() -> None:
    async def first(visit: Visit) -> None:
        await visit.welcome()
        visit.cut()

    async def second(visit: Visit) -> None:
        await visit.tell("error", {"code": "unauthorized", "message": "the token has expired"})

    async with connected(first, second) as connection:
        with pytest.raises(DisconnectedError, match="the token has expired"):
            await drain(connection)


async def test_a_server_without_sessions_is_not_asked_to_resume() -> None:
    async def only(visit: Visit) -> None:
        await visit.welcome(resume=None)
        visit.cut()

    async with connected(only) as connection:
        with pytest.raises(DisconnectedError, match="broke"):
            await connection.next_event()


async def test_a_server_that_is_gone_for_good_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESUME_SECONDS", 0.1)

    async def only(visit: Visit) -> None:
        await visit.welcome()
        visit.cut()

    async with serving(only) as address, aiohttp.ClientSession() as http:
        connection = await Connection.open(http, address)
        waiting = asyncio.create_task(connection.request("ask", {}, "answer"))
        assert (await connection.next_event()).name == INTERRUPTED
        monkeypatch.setattr(Address, "url", lambda *_: "ws://127.0.0.1:1/")
        with pytest.raises(DisconnectedError):
            await waiting
        with pytest.raises(DisconnectedError, match="Connection refused"):
            await drain(connection)
        await connection.close()


async def test_closing_while_the_socket_is_away_ends_at_once() -> None:
    async def first(visit: Visit) -> None:
        await visit.welcome()
        visit.cut()

    loop = asyncio.get_running_loop()
    async with serving(first) as address, aiohttp.ClientSession() as http:
        connection = await Connection.open(http, address)
        assert (await connection.next_event()).name == INTERRUPTED
        began = loop.time()
        await connection.close()
        assert loop.time() - began < 1.0
        with pytest.raises(DisconnectedError):
            await connection.request("ask", {}, "answer")


async def test_pings_are_answered_and_a_silent_server_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.client.dial.HEARTBEAT_SECONDS", 0.2)
    answered = asyncio.Event()

    async def first(visit: Visit) -> None:
        await visit.welcome()
        await visit.socket.ping(b"7")
        async for message in visit.socket:  # nothing is answered: a process that hangs
            if message.type is aiohttp.WSMsgType.PONG:
                assert message.data == b"7"
                answered.set()

    async def second(visit: Visit) -> None:
        await visit.welcome()
        await visit.tell("resumed", {})
        async for message in visit.socket:
            if message.type is aiohttp.WSMsgType.PING:
                await visit.socket.pong(message.data)

    async with connected(first, second, autoping=False) as connection:
        await answered.wait()
        async with asyncio.timeout(5):
            assert (await connection.next_event()).name == INTERRUPTED
            assert (await connection.next_event()).name == "resumed"


async def test_an_error_about_the_first_event_is_still_an_error() -> None:
    async def only(visit: Visit) -> None:
        await visit.tell("error", {"code": "unauthorized", "message": "no"})

    async with serving(only) as address, aiohttp.ClientSession() as http:
        with pytest.raises(ServerError):
            await Connection.open(http, address)
