"""Who connects how often and for how long, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from signaling.app import GUARD
from tests.helpers.server import ProtocolClient, RunningServer, running_server, until
from tests.helpers.tokens import SECRET, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signaling.sockets.listener import ConnectionGuard

UPGRADE = (
    b"GET /ws/connect/WEB/slow HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def guard_of(server: RunningServer) -> ConnectionGuard:
    return server.app[GUARD]


@contextlib.asynccontextmanager
async def tcp(
    server: RunningServer, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server closes."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            return await reader.read()
    return b""


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
    ],
    ids=["nothing", "half a line", "half a header", "kept alive", "half a body"],
)
async def test_a_connection_that_brings_no_client_is_closed(begun: bytes) -> None:
    async with running_server(request_timeout=0.3) as server, tcp(server) as (reader, writer):
        writer.write(begun)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await rest(reader)
        assert 0.2 < loop.time() - began < 2
        assert guard_of(server).timed_out == 1
        await until(lambda: len(guard_of(server)) == 0)


async def test_dripping_bytes_buys_no_time() -> None:
    async with running_server(request_timeout=0.4) as server, tcp(server) as (reader, writer):
        loop = asyncio.get_running_loop()
        began = loop.time()
        closing = asyncio.create_task(rest(reader))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Drip: ")
        while not closing.done() and loop.time() - began < 3:
            writer.write(b"x")
            await asyncio.wait({closing}, timeout=0.02)
        await closing
        assert loop.time() - began < 2


async def test_a_request_renews_the_time_and_a_client_needs_none() -> None:
    async with running_server(request_timeout=0.6) as server:
        async with ProtocolClient(server.ws_url("WEB", "web")) as client, aiohttp.ClientSession() as http:
            await client.expect("welcome")
            loop = asyncio.get_running_loop()
            began = loop.time()
            while loop.time() - began < 1.5:  # requests at an interval are the thing that is tested
                async with http.get(f"{server.http_url}/healthz") as response:
                    assert response.status == 200
                await asyncio.sleep(0.2)
            assert guard_of(server).timed_out == 0
            assert len(guard_of(server)) == 1, "the kept connection; the client's is not pending"
            assert await client.settle() == []


async def test_a_socket_that_was_refused_and_does_not_read_is_closed() -> None:
    async with running_server(auth_secret=SECRET, auth_timeout=60, request_timeout=0.4) as server:
        async with tcp(server) as (reader, writer):
            writer.write(UPGRADE)
            await rest(reader)
        assert guard_of(server).timed_out == 1


async def test_when_there_is_no_room_the_greediest_address_loses_its_oldest() -> None:
    async with running_server(max_pending_connections=4) as server, contextlib.AsyncExitStack() as stack:
        modest, _ = await stack.enter_async_context(tcp(server, "127.0.0.2"))
        greedy = []
        for count in range(3):
            greedy.append(await stack.enter_async_context(tcp(server, "127.0.0.3")))
            await until(lambda expected=count + 2: len(guard_of(server)) == expected)
        async with ProtocolClient(server.ws_url("WEB", "web")) as client:
            await client.expect("welcome")
            assert await rest(greedy[0][0]) == b""
            assert guard_of(server).evicted == 1
            assert not modest.at_eof()
            assert len(guard_of(server)) == 3
            async with asyncio.timeout(5):  # the others still work
                for _, writer in greedy[1:]:
                    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                for reader, _ in greedy[1:]:
                    assert (await reader.readline()).split()[1] == b"200"


async def test_a_flood_of_connections_keeps_nobody_out() -> None:
    async with running_server(max_pending_connections=20) as server, contextlib.AsyncExitStack() as stack:
        for _ in range(60):
            await stack.enter_async_context(tcp(server, "127.0.0.4"))
        for number in range(5):
            async with ProtocolClient(server.ws_url("WEB", number)) as client:
                await client.expect("welcome")
        assert len(guard_of(server)) <= 20


async def test_sockets_of_one_address_are_bounded_and_told() -> None:
    async with running_server(max_sockets_per_address=2) as server, contextlib.AsyncExitStack() as stack:
        for number in range(2):
            client = await stack.enter_async_context(ProtocolClient(server.ws_url("WEB", number)))
            await client.expect("welcome")
        async with ProtocolClient(server.ws_url("WEB", "third")) as third:
            assert "2 sockets from this address" in (await third.expect_error("server_full"))["message"]
            await third.expect_close(4429)
        async with tcp(server, "127.0.0.9") as (reader, writer):
            writer.write(UPGRADE)
            async with asyncio.timeout(5):
                assert b"101" in await reader.readline()
                assert b"welcome" in await reader.readuntil(b"welcome")
        await client.close()
        await until(lambda: len(server.service.sessions) < 3)
        await until(lambda: ("WEB", "1") not in {(key.role.value, key.id) for key in server.service.sessions})
        async with ProtocolClient(server.ws_url("WEB", "third")) as third:
            await until(lambda: third.received)
            assert third.received[0]["event"] == "welcome"


async def test_handshakes_in_flight_are_bounded_and_told() -> None:
    async with running_server(auth_secret=SECRET, max_handshakes=1) as server:
        async with ProtocolClient(server.ws_url("WEB", "web", None)) as slow:
            await until(lambda: len(guard_of(server)) == 1)
            async with ProtocolClient(server.ws_url("WEB", "next", token("next"))) as refused:
                assert "1 clients connecting" in (await refused.expect_error("server_full"))["message"]
                await refused.expect_close(4429)
            await slow.send("auth", {"token": token()})
            await slow.expect("welcome")
            async with ProtocolClient(server.ws_url("WEB", "next", token("next"))) as welcome:
                await welcome.expect("welcome")


async def test_a_socket_that_waits_for_anothers_id_takes_no_place() -> None:
    async with running_server(max_sessions=2, id_in_use_timeout=30) as server:
        async with (
            ProtocolClient(server.ws_url("WEB", "deaf"), answers_pings=False) as deaf,
            ProtocolClient(server.ws_url("WEB", "deaf")) as knocking,
        ):
            await deaf.expect("welcome")
            sessions: Any = server.service.sessions
            await until(lambda: any(session._probe for session in sessions.values()))
            async with ProtocolClient(server.ws_url("WEB", "other")) as other:
                await other.expect("welcome")
                async with ProtocolClient(server.ws_url("WEB", "late")) as late:
                    await late.expect_error("server_full")
                await deaf.ws.pong(b"probe")
                await knocking.expect_error("client_id_in_use")


async def test_who_comes_back_is_one_of_those_who_may_be_there() -> None:
    async with running_server(max_sessions=1, resume_grace=30) as server:
        async with ProtocolClient(server.ws_url("WEB", "first")) as first:
            await first.expect("welcome")
            secret = first.resume
            await first.ws.close()
            await until(lambda: not server.service.sessions)
            async with ProtocolClient(server.ws_url("WEB", "second")) as second:
                await second.expect("welcome")
                async with ProtocolClient(server.ws_url("WEB", "first") + f"?resume={secret}") as early:
                    await early.expect_error("server_full")
                await second.ws.close(code=4000)
                await until(lambda: not server.service.sessions)
            assert await first.reconnect()
