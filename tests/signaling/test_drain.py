"""The end of a server that is told to end: who is told, what goes on, for how long; and how its clients come back."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

from signaling import effects, inputs, protocol
from signaling.effects import Send
from signaling.protocol import ErrorCode
from tests.helpers.house import ALICE, BOB, CAM, CAM2, House, only_failure
from tests.helpers.server import ProtocolClient, running_server
from tests.helpers.stock import Peer, receive_each

from .test_serve import FREE_PORTS, aiosfu

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

LONG_SECONDS = 30.0
"""A limit that no test waits for."""


def draining(client: effects.Client, seconds: float) -> Send:
    return Send(client, protocol.ServerDraining(seconds=seconds))


def test_everybody_is_told_also_who_comes_later_with_the_time_that_is_left() -> None:
    house = House()
    house.watching()
    assert house(inputs.ServerDraining(5)) == [draining(ALICE, 5), draining(CAM, 5)]
    house.now += 2
    assert house(inputs.ClientConnected(CAM2)) == [draining(CAM2, 3)]
    house.now += 60
    assert house(inputs.ClientConnected(BOB)) == [draining(BOB, 0)]


def test_no_room_opens_any_more_and_those_there_are_go_on() -> None:
    house = House()
    room, feed, _ = house.watching()
    house.connect(BOB)
    house(inputs.ServerDraining(5))
    failure = only_failure(house(inputs.RoomRequested(BOB, "q")))
    assert (failure.client, failure.code, failure.request_id) == (BOB, ErrorCode.BAD_STATE, "q")
    assert "about to end" in failure.message
    house(inputs.JoinRequested(BOB, room))
    house.subscribe(BOB, room, feed)


async def watch(web: Peer, device: Peer) -> list[Any]:
    """Return the tracks that a WEB receives of a device."""
    room = await web.open_room()
    await web.invite(room)
    await device.accept_invitation()
    tracks = await web.subscribe(room, (await web.expect("start_listening", 10))["feed"])
    await receive_each(tracks)
    return tracks


async def test_draining_ends_with_the_last_stream_and_takes_clients_back_meanwhile() -> None:
    async with running_server(resume_grace=5) as server, Peer(server.ws_url("DEVICE", "cam")) as device:
        assert not server.service.draining
        async with Peer(server.ws_url("WEB", 1)) as web, Peer(server.ws_url("WEB", 2)) as other:
            tracks = await watch(web, device)
            drain = asyncio.create_task(server.service.drain(LONG_SECONDS))
            for client in (web, other, device):
                assert await client.expect("server_draining") == {"seconds": LONG_SECONDS}
            assert server.service.draining
            await other.send("create_room")
            await other.expect_error("bad_state")
            web.abort()
            assert (await web.reconnect())["subscriptions"]
            assert await receive_each(tracks) == ["audio", "video"]
            assert not drain.done()
            await web.send("leave")
            await web.expect("left")
            async with asyncio.timeout(1):
                await drain


async def test_draining_ends_at_once_when_nobody_watches() -> None:
    async with running_server() as server, Peer(server.ws_url("DEVICE", "cam")) as device:
        async with asyncio.timeout(1):
            await server.service.drain(LONG_SECONDS)
        assert await device.expect("server_draining") == {"seconds": 0}


def watched_process(drain_timeout: float) -> AbstractAsyncContextManager[Any]:
    return aiosfu("serve", *FREE_PORTS, "--drain-timeout", str(drain_timeout))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_ends_at_once(number: signal.Signals) -> None:
    async with watched_process(LONG_SECONDS) as server:
        ws = (await server.ready()).replace("http", "ws", 1) + "/ws/connect"
        async with Peer(f"{ws}/WEB/1/t") as web, Peer(f"{ws}/DEVICE/cam/t") as device:
            tracks = await watch(web, device)
            server.process.send_signal(number)
            assert await web.expect("server_draining") == {"seconds": LONG_SECONDS}
            assert await receive_each(tracks) == ["audio", "video"]
            async with ProtocolClient(f"{ws}/WEB/late/t") as late:
                assert (await late.expect("server_draining"))["seconds"] > LONG_SECONDS - 5
                began = asyncio.get_running_loop().time()
                server.process.send_signal(number)
                await late.expect_close(1001)
            assert (await web.expect("stop_listening"))["reason"] == "shutdown"
            out, err, status = await server.rest()
            assert (err, status) == ("", 0)
            assert "ends in 30 s" in out
            assert asyncio.get_running_loop().time() - began < 2


async def test_a_watched_server_ends_when_its_time_is_up() -> None:
    async with watched_process(0.5) as server:
        ws = (await server.ready()).replace("http", "ws", 1) + "/ws/connect"
        async with Peer(f"{ws}/WEB/1/t") as web, Peer(f"{ws}/DEVICE/cam/t") as device:
            await watch(web, device)
            began = asyncio.get_running_loop().time()
            server.process.terminate()
            assert await device.expect("server_draining") == {"seconds": 0.5}
            await web.expect_close(1001)
            assert 0.5 <= asyncio.get_running_loop().time() - began < 2.5
            assert (await server.rest())[2] == 0
