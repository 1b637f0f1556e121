"""The connection after its upgrade: what comes early, in bursts, in pieces, over TLS, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from typing import TYPE_CHECKING, cast

import aiohttp
import pytest
from aiohttp.web import RequestHandler

from signaling.app import GUARD
from signaling.sockets.frames import MAX_FRAGMENTS, MAX_FRAMES_PER_STEP, FrameReader, Message, close_frame
from signaling.sockets.websocket import (
    CLOSE_TIMEOUT_SECONDS,
    MAX_EARLY_MESSAGES,
    MAX_MESSAGES_PER_TURN,
    SignalingSocket,
)
from tests.helpers.server import ProtocolClient, RunningServer, running_server, until
from tests.helpers.tokens import SECRET, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT_SECONDS = 5.0


def upgrade(path: str, **headers: str) -> bytes:
    lines = {
        "Host": "x",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"GET /ws/connect/{path} HTTP/1.1\r\n{head}\r\n".encode()


def masked(first: int, payload: bytes) -> bytes:
    """Return a client's frame, masked with zeros."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", first, 0x80 | size)
    else:
        header = struct.pack("!BBH", first, 0xFE, size) if size <= 0xFFFF else struct.pack("!BBQ", first, 0xFF, size)
    return header + bytes(4) + payload


def request(number: int) -> bytes:
    return masked(0x81, json.dumps({"event": "leave", "id": number}).encode())


@contextlib.asynccontextmanager
async def raw(server: RunningServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def texts(reader: asyncio.StreamReader, until: str) -> list[str]:
    """Return the events that come, up to one that holds `until`."""
    found: list[str] = []
    while not found or until not in found[-1]:
        first, size = await reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
        payload = await reader.readexactly(size)
        if first == 0x81:
            found.append(payload.decode())
    return found


async def test_the_answer_to_the_handshake_is_the_rfcs() -> None:
    async with running_server() as server, raw(server) as (reader, writer):
        writer.write(upgrade("WEB/1/x"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 101 ")
        assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455 section 1.3
        assert "Sec-WebSocket-Extensions" not in head


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upgrade": ""}, 426),
        ({"Connection": "close"}, 426),
        ({"Sec_WebSocket_Version": "12"}, 426),
        ({"Sec_WebSocket_Key": "short"}, 400),
    ],
)
async def test_what_is_no_handshake_is_answered_by_http(headers: dict[str, str], status: int) -> None:
    async with running_server() as server, raw(server) as (reader, writer):
        writer.write(upgrade("WEB/1/x", **headers))
        assert (await reader.readline()).split()[1] == str(status).encode()


async def test_what_comes_with_the_request_and_in_a_burst_is_answered_in_order() -> None:
    count = 100
    async with running_server() as server, raw(server) as (reader, writer):
        writer.write(upgrade("WEB/1/x") + b"".join(request(number) for number in range(count)))
        await reader.readuntil(b"\r\n\r\n")
        events = [json.loads(text) for text in await texts(reader, f'"id":{count - 1}')]
        assert [event["event"] for event in events] == ["welcome"] + ["error"] * count
        assert [event["id"] for event in events[1:]] == list(range(count))


async def test_what_comes_byte_by_byte_and_in_fragments_is_one_message() -> None:
    text = json.dumps({"event": "leave", "id": "whole"}).encode()
    async with running_server() as server, raw(server) as (reader, writer):
        writer.write(upgrade("WEB/1/x"))
        await reader.readuntil(b"\r\n\r\n")
        for byte in masked(0x01, text[:7]) + masked(0x89, b"?") + masked(0x00, text[7:9]) + masked(0x80, text[9:]):
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
        assert "whole" in (await texts(reader, "whole"))[-1]


async def test_what_follows_a_first_message_with_the_token_waits_for_its_turn() -> None:
    count = 3 * MAX_EARLY_MESSAGES
    auth = masked(0x81, json.dumps({"event": "auth", "data": {"token": token()}}).encode())
    async with running_server(auth_secret=SECRET) as server, raw(server) as (reader, writer):
        writer.write(upgrade("WEB/web") + auth + b"".join(request(number) for number in range(count)))
        await reader.readuntil(b"\r\n\r\n")
        events = [json.loads(text) for text in await texts(reader, f'"id":{count - 1}')]
        assert [event.get("id") for event in events] == [None, *range(count)]


async def test_who_is_not_let_in_yet_makes_the_server_keep_little() -> None:
    large = masked(0x81, json.dumps({"event": "leave", "id": "large", "data": {"x": "x" * 200_000}}).encode())
    async with running_server(id_in_use_timeout=30) as server:
        async with ProtocolClient(server.ws_url("WEB", "id"), answers_pings=False) as deaf, raw(server) as (_, writer):
            await deaf.expect("welcome")
            writer.write(upgrade("WEB/id/x") + large * 40)
            await until(lambda: len(server.app[GUARD]) == 1)
            (handler,) = (pending for pending in server.app[GUARD]._pending if isinstance(pending, RequestHandler))
            await until(lambda: isinstance(handler.transport and handler.transport.get_protocol(), SignalingSocket))
            assert handler.transport is not None
            waiting = cast("SignalingSocket", handler.transport.get_protocol())
            await until(lambda: not waiting._is_reading)
            early = [message for message in waiting._early or () if isinstance(message, Message)]
            assert waiting._reader.held + sum(len(message.payload) for message in early) < 3 * len(large)
            await deaf.ws.pong(b"probe")  # so that the one who waits is refused
    auth = masked(0x81, json.dumps({"event": "auth", "data": {"token": token()}}).encode())
    async with running_server(auth_secret=SECRET) as server, raw(server) as (reader, writer):
        writer.write(upgrade("WEB/web") + auth + large * 3 + request(7))
        await reader.readuntil(b"\r\n\r\n")
        events = [json.loads(text) for text in await texts(reader, '"id":7')]
        assert [event.get("id") for event in events] == [None, "large", "large", "large", 7]


async def test_a_client_that_never_ends_the_closing_handshake_is_cut_off() -> None:
    async with running_server() as server, raw(server) as (reader, writer):
        writer.write(upgrade("WEB/1/x") + masked(0xC1, b"x"))  # a reserved bit
        loop = asyncio.get_running_loop()
        began = loop.time()
        with contextlib.suppress(ConnectionError):
            assert close_frame(1002, "")[2:] in await reader.read()
        assert loop.time() - began < 4 * CLOSE_TIMEOUT_SECONDS
        await server.wait_empty()


async def test_a_clients_close_frame_is_answered_with_its_code() -> None:
    async with running_server() as server, raw(server) as (reader, writer):
        writer.write(upgrade("WEB/1/x") + masked(0x88, b"\x0f\xa1bye"))
        assert (await reader.read()).endswith(close_frame(4001, ""))
        await server.wait_empty()


async def test_aiohttp_keeps_nothing_of_a_client_that_was_let_in() -> None:
    async with running_server() as server, ProtocolClient(server.ws_url("WEB", 1)) as client:
        await client.expect("welcome")
        async with aiohttp.ClientSession() as http, http.get(f"{server.http_url}/healthz") as response:
            assert response.status == 200  # and a turn of the loop has passed
        manager = server.server._runner.server
        assert manager is not None
        assert len(manager.connections) <= 1, "that of the request for /healthz"


class _Turns:
    """Counts the frames that are read in each turn of the event loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = self.total = 0
        self._frames = 0
        self._counts = True
        read = FrameReader._next_frame

        def counted(reader: FrameReader) -> object:
            self._frames += 1
            self.total += 1
            return read(reader)

        monkeypatch.setattr(FrameReader, "_next_frame", counted)
        self._turn()

    def _turn(self) -> None:
        self.most, self._frames = max(self.most, self._frames), 0
        if self._counts:
            asyncio.get_running_loop().call_soon(self._turn)

    def stop(self) -> None:
        self._counts = False


async def test_a_hundred_thousand_empty_fragments_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    message = masked(0x01, b"") + masked(0x00, b"") * (MAX_FRAGMENTS - 2) + masked(0x80, b"")
    count = 100_000 // MAX_FRAGMENTS
    async with running_server() as server, raw(server) as (reader, writer):
        async with ProtocolClient(server.ws_url("WEB", "other")) as other:
            await other.expect("welcome")
            writer.write(upgrade("WEB/flood/x"))
            await reader.readuntil(b"\r\n\r\n")
            await texts(reader, "welcome")
            turns = _Turns(monkeypatch)
            try:
                writer.write(message * count)
                await texts(reader, "bad_json")  # the first of many: the others are on their way
                await other.send("ping", id="in between")
                assert (await other.expect_message("pong"))["id"] == "in between"
                assert turns.total < count * MAX_FRAGMENTS
                for _ in range(count - 1):
                    await texts(reader, "bad_json")
            finally:
                turns.stop()
            assert turns.total >= count * MAX_FRAGMENTS
            # One client's share, and what the other's few messages take.
            assert turns.most <= MAX_MESSAGES_PER_TURN * MAX_FRAMES_PER_STEP + 8
