"""The signalling connection against servers that behave badly: real WebSockets, scripted answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from signaling.client import ConnectError, DisconnectedError, RequestTimeoutError, ServerError
from signaling.client import connection as module
from signaling.client.connection import Connection
from signaling.client.dial import Address, Resume
from signaling.client.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Script = Callable[[web.WebSocketResponse], Awaitable[None]]

TOKEN = "se/cret?"  # noqa: S105  has to survive quoting, and never to be shown
WELCOME = {"event": "welcome", "data": {"client_id": "me", "ice_servers": []}}


@contextlib.asynccontextmanager
async def connected(script: Script) -> AsyncIterator[Connection]:
    """Connect to a server that sends `welcome` and then does as `script` says."""
    async with serving(script) as address, aiohttp.ClientSession() as http:
        connection = await Connection.open(http, address)
        try:
            yield connection
        finally:
            await connection.close()


@contextlib.asynccontextmanager
async def serving(script: Script | None, *, welcome: Any = WELCOME, status: int = 0) -> AsyncIterator[Address]:
    """Run a server for one script."""

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in str(request.url)
        if status:
            return web.Response(status=status)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if welcome is not None:
            await socket.send_str(welcome if isinstance(welcome, str) else json.dumps(welcome))
        if script is not None:
            await script(socket)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/ws/connect/WEB/me", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield Address(f"ws://127.0.0.1:{port}", "WEB", "me", TOKEN)
    finally:
        await runner.cleanup()


async def answer_everything(socket: web.WebSocketResponse) -> None:
    """Echo each request's data as its reply, in the opposite order two by two."""
    held: list[dict[str, Any]] = []
    async for message in socket:
        held.append(json.loads(message.data))
        if len(held) == 2:
            for request in reversed(held):
                await socket.send_json({"event": "reply", "data": request["data"], "id": request["id"]})
            held.clear()


async def test_replies_find_their_requests_in_any_order() -> None:
    async with connected(answer_everything) as connection:
        first, second = await asyncio.gather(
            connection.request("ask", {"number": 1}, "reply"), connection.request("ask", {"number": 2}, "reply")
        )
        assert (first.integer("number"), second.integer("number")) == (1, 2)


async def test_a_server_that_repeats_no_ids_is_understood_by_event() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_json({"event": "start_listening", "data": {"feed": 7}})
        await socket.send_json({"event": "room_created", "data": {"room_id": 5}})
        await socket.receive()

    async with connected(script) as connection:
        assert (await connection.request("create_room", {}, "room_created")).integer("room_id") == 5
        assert (await connection.next_event()).name == "start_listening"


async def test_an_error_fails_its_request_and_no_other() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        request = json.loads((await socket.receive()).data)
        await socket.send_json({"event": "error", "data": {"code": "bad_data", "message": "room_id: no"}, "id": 99})
        await socket.send_json(
            {"event": "error", "data": {"code": "bad_state", "message": "not now"}, "id": request["id"]}
        )
        await socket.receive()

    async with connected(script) as connection:
        with pytest.raises(ServerError, match="not now") as caught:
            await connection.request("ask", {}, "reply")
        assert caught.value.code == "bad_state"
        assert (await connection.next_event()).error().code == "bad_data"


async def test_a_lost_connection_fails_what_waits_and_what_comes_after() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.close(code=4429)

    async with connected(script) as connection:
        with pytest.raises(DisconnectedError, match="4429"):
            await connection.request("ask", {}, "reply")
        with pytest.raises(DisconnectedError):
            await connection.next_event()
        with pytest.raises(DisconnectedError):
            await connection.next_event()
        with pytest.raises(DisconnectedError):
            await connection.notify("ask", {})


async def test_a_silent_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_SECONDS", 0.05)

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.receive()

    async with connected(script) as connection:
        with pytest.raises(RequestTimeoutError, match="did not answer ask"):
            await connection.request("ask", {}, "reply")


async def test_a_flood_of_events_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_EVENTS", 10)

    async def script(socket: web.WebSocketResponse) -> None:
        for _ in range(20):
            await socket.send_json({"event": "news"})
        await socket.receive()

    async with connected(script) as connection:
        await asyncio.wait([connection._runner])
        assert {(await connection.next_event()).name for _ in range(10)} == {"news"}
        with pytest.raises(DisconnectedError, match="more than 10 events"):
            await connection.next_event()


@pytest.mark.parametrize("text", ["{", "[]", '{"data": {}}', "[" * 100_000])
async def test_what_is_no_message_ends_the_connection(text: str) -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_str(text)
        await socket.receive()

    async with connected(script) as connection:
        with pytest.raises(DisconnectedError, match="the server sent"):
            await connection.next_event()


REFUSALS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"welcome": {"event": "error", "data": {"code": "unauthorized", "message": "no"}}}, ServerError, "unauthorized"),
    ({"welcome": {"event": "hello"}}, ConnectError, "began with 'hello'"),
    ({"welcome": "<html>"}, ConnectError, "not JSON"),
    ({"welcome": None}, ConnectError, "closed the connection at once"),
    ({"status": 404}, ConnectError, "HTTP status 404"),
    ({"status": 200}, ConnectError, "HTTP status 200"),
]


@pytest.mark.parametrize(("server", "error", "says"), REFUSALS)
async def test_refusals_are_clear_and_hold_no_token(server: dict[str, Any], error: type[Exception], says: str) -> None:
    async with serving(None, **server) as address, aiohttp.ClientSession() as http:
        with pytest.raises(error, match=says) as caught:
            await Connection.open(http, address)
    assert "cret" not in f"{caught.value}{caught.value!r}{address!r}"
    assert caught.value.__cause__ is None


async def test_no_server_is_a_clear_error() -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(ConnectError, match=r"cannot connect to 127\.0\.0\.1:1: Connection refused"):
            await Connection.open(http, Address("ws://127.0.0.1:1", "WEB", "me", TOKEN))


@pytest.mark.parametrize(
    ("server", "url"),
    [("ws://h:1", "ws://h:1/ws/connect/WEB/me"), ("https://h/sfu/", "wss://h/sfu/ws/connect/WEB/me")],
)
def test_addresses(server: str, url: str) -> None:
    tokens = iter(["first", "second"])
    for token in (TOKEN, lambda: TOKEN):
        address = Address(server, "WEB", "me", token)
        assert (address.url(), address.headers()) == (url, {"Authorization": f"Bearer {TOKEN}"})
        in_url = Address(server, "WEB", "me", token, token_in_url=True)
        assert (in_url.url(), in_url.headers()) == (f"{url}/se%2Fcret%3F", {})
        assert "cret" not in repr(address) + repr(in_url)
    renewed = Address(server, "WEB", "me", lambda: next(tokens))
    assert [renewed.headers()["Authorization"] for _ in range(2)] == ["Bearer first", "Bearer second"]
    assert (Address(server, "WEB", "me").url(), Address(server, "WEB", "me").headers()) == (url, {})
    assert address.url(Resume("a/b", 7)) == f"{url}?resume=a%2Fb&received=7"


@pytest.mark.parametrize(("server", "client_id"), [("h:1", "me"), ("ftp://h", "me"), ("ws://h", ""), ("ws://h", "a/b")])
def test_impossible_addresses(server: str, client_id: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Address(server, "WEB", client_id)


@pytest.mark.parametrize(
    ("server", "expected"),
    [("ws://127.0.0.1:8002", True), ("ws://localhost", True), ("ws://[::1]:1", True), ("ws://10.0.0.1", False)],
)
def test_loopback_is_recognised(server: str, expected: bool) -> None:  # noqa: FBT001  a table's column
    assert is_loopback(server) is expected
