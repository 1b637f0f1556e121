"""One client's socket: its rate, its outbox, its heartbeat, its id; and that nobody else feels any of it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from signaling.effects import Client
from signaling.protocol import Role
from tests.helpers.server import ProtocolClient, RunningServer, running_server, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def text_frame(text: str) -> bytes:
    """Return a client's text frame (RFC 6455 section 5.2), masked with zeros."""
    payload = text.encode()
    length = len(payload)
    header = struct.pack("!BB", 0x81, 0x80 | length) if length < 126 else struct.pack("!BBH", 0x81, 0xFE, length)
    return header + bytes(4) + payload


@asynccontextmanager
async def deaf_client(server: RunningServer, client_id: str) -> AsyncIterator[asyncio.StreamWriter]:
    """Connect a WEB whose kernel takes little and whose program reads nothing after the upgrade."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)  # noqa: FBT003  the standard library's signature
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=1024)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws/connect/WEB/{client_id}/t HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in await reader.readline()
    try:
        yield writer
    finally:
        writer.transport.abort()


def session_is_there(server: RunningServer, role: Role, client_id: str) -> bool:
    return Client(role, client_id) in server.service.sessions


# --- rate ----------------------------------------------------------------------------------------------------------


async def test_over_the_rate_messages_are_dropped_and_told() -> None:
    async with running_server(rate_limit_per_second=1, rate_limit_burst=5) as server:
        async with ProtocolClient(server.ws_url("WEB", 1)) as web, ProtocolClient(server.ws_url("WEB", 2)) as other:
            for number in range(8):
                await web.send("create_room", id=number)
            rooms = [await web.expect_message("room_created") for _ in range(5)]
            assert [message["id"] for message in rooms] == [0, 1, 2, 3, 4]
            for _ in range(3):
                await web.expect_error("rate_limited")
            assert len(server.service.rooms.state.rooms) == 5
            (session,) = [found for client, found in server.service.sessions.items() if client.id == "1"]
            assert getattr(session, "dropped_messages", None) == 3
            await other.send("create_room")
            await other.expect("room_created")


async def test_sustained_abuse_closes_the_socket() -> None:
    async with running_server(rate_limit_per_second=1, rate_limit_burst=1) as server:
        async with ProtocolClient(server.ws_url("WEB", 1)) as web:
            for _ in range(400):
                await web.send_text("x")
            await web.expect_close(1008)
            told = [message for message in web.received if message["event"] == "error"]
            assert 200 <= len(told) <= 220
        await server.wait_empty()


# --- a client that does not read -----------------------------------------------------------------------------------


async def test_a_client_that_reads_nothing_is_closed_and_costs_nobody_else() -> None:
    flooding = running_server(rate_limit_per_second=1_000_000, rate_limit_burst=1_000_000, outbox_messages=50)
    async with flooding as server, ProtocolClient(server.ws_url("WEB", "good")) as good:
        await good.expect("welcome")
        async with deaf_client(server, "deaf") as writer:
            await until(lambda: session_is_there(server, Role.WEB, "deaf"))
            request = text_frame(json.dumps({"event": "x" * 60, "id": "y" * 100}))
            for _ in range(600):
                if not session_is_there(server, Role.WEB, "deaf"):
                    break
                writer.write(request * 100)
                await good.send("leave", id="still served")
                assert (await good.expect_message("error"))["id"] == "still served"
            await until(lambda: not session_is_there(server, Role.WEB, "deaf"))
        await good.send("create_room")
        await good.expect("room_created")


# --- heartbeat -----------------------------------------------------------------------------------------------------


async def test_a_client_that_answers_no_ping_is_gone() -> None:
    async with running_server(heartbeat_interval=0.05, heartbeat_timeout=0.2) as server:
        good = ProtocolClient(server.ws_url("WEB", "good"))
        silent = ProtocolClient(server.ws_url("WEB", "silent"), answers_pings=False)
        async with good, silent:
            await silent.expect("welcome")
            await silent.expect_close(4408, timeout=2)
            assert session_is_there(server, Role.WEB, "good")
            await good.send("create_room")
            await good.expect("room_created")
        await server.wait_empty()


async def test_a_ping_of_the_client_is_answered() -> None:
    async with running_server() as server:
        async with aiohttp.ClientSession() as http, http.ws_connect(server.ws_url("WEB", 1), autoping=False) as ws:
            await ws.receive_str()
            await ws.ping(b"are you there")
            message = await ws.receive(timeout=2)
            assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"are you there")


# --- client ids ----------------------------------------------------------------------------------------------------


async def test_an_id_in_use_is_refused_while_its_owner_answers() -> None:
    async with running_server() as server, ProtocolClient(server.ws_url("WEB", 7)) as first:
        await first.expect("welcome")
        newcomers = [ProtocolClient(server.ws_url("WEB", 7)) for _ in range(3)]
        for newcomer in newcomers:
            await newcomer.open()
        for newcomer in newcomers:
            await newcomer.expect_error("client_id_in_use")
            await newcomer.expect_close(4409)
            await newcomer.close()
        async with ProtocolClient(server.ws_url("DEVICE", 7)) as device:
            await device.expect("welcome")  # another role, another client
        await first.send("create_room")
        await first.expect("room_created")


async def test_an_id_whose_owner_does_not_answer_changes_hands() -> None:
    async with running_server(id_in_use_timeout=0.2) as server:
        first = ProtocolClient(server.ws_url("WEB", 7), answers_pings=False)
        async with first:
            await first.expect("welcome")
            await first.send("create_room")
            await first.expect("room_created")
            async with ProtocolClient(server.ws_url("WEB", 7)) as second:
                await second.expect("welcome")
                assert not server.service.rooms.state.rooms, "the first one's room is gone with it"
                await first.expect_close(4409)
                await second.send("create_room")
                await second.expect("room_created")
                assert len(server.service.sessions) == 1
        await server.wait_empty()


async def test_an_id_is_free_again_when_its_owner_closed() -> None:
    async with running_server() as server:
        for _ in range(3):
            async with ProtocolClient(server.ws_url("WEB", 7)) as client:
                await client.expect("welcome")
            await server.wait_empty()


# --- endings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["close", "abort", "leave"])
async def test_a_device_hears_that_nobody_watches(ending: str) -> None:
    async with running_server() as server, ProtocolClient(server.ws_url("DEVICE", "cam")) as device:
        async with ProtocolClient(server.ws_url("WEB", 1)) as web:
            await web.send("create_room")
            room = (await web.expect("room_created"))["room_id"]
            await web.send("join_as_publisher", {"room_id": room})
            await device.send("join_as_publisher", {"room_id": room})
            await device.expect("joined_as_publisher")
            if ending == "abort":
                web.abort()
            elif ending == "leave":
                await web.send("leave")
            else:
                await web.close()
            assert await device.expect("stop_streaming") == {"room_id": room, "reason": "no_viewers"}
        await device.close()
        await server.wait_empty()


async def test_a_stopping_server_tells_everybody() -> None:
    async with running_server() as server:
        async with ProtocolClient(server.ws_url("WEB", 1)) as web, ProtocolClient(server.ws_url("DEVICE", 2)) as device:
            await web.send("create_room")
            room = (await web.expect("room_created"))["room_id"]
            await web.send("join_as_publisher", {"room_id": room})
            await web.expect("joined_as_publisher")
            await device.send("join_as_publisher", {"room_id": room})
            await device.expect("joined_as_publisher")
            await server.server.stop()
            assert await device.expect("stop_streaming") == {"room_id": room, "reason": "shutdown"}
            await web.expect_close(1001)
            await device.expect_close(1001)


async def test_a_deaf_client_does_not_hold_up_the_stop() -> None:
    async with running_server(rate_limit_per_second=1_000_000, rate_limit_burst=1_000_000) as server:
        async with deaf_client(server, "deaf") as writer:
            await until(lambda: session_is_there(server, Role.WEB, "deaf"))
            writer.write(text_frame("x") * 900)
            await server.server.stop()  # `running_server` holds the stop to two seconds, this one is bounded likewise
            assert not server.service.sessions
