"""Both flows of the protocol with stock aiortc peers: real sockets, real media."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import aioice.ice
import pytest
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)

from tests.helpers.server import ProtocolClient, RunningServer, running_server, until


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])  # noqa: ARG005


class Peer(ProtocolClient):
    """A protocol client with aiortc connections; all are closed with it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.connections: list[RTCPeerConnection] = []

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.expect("welcome")
        return self

    async def close(self) -> None:
        for connection in self.connections:
            await connection.close()
        await super().close()

    def connection(self) -> RTCPeerConnection:
        made = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connections.append(made)
        return made

    async def join(self, room: int) -> None:
        await self.send("join_as_publisher", {"room_id": room, "inviter": "x"})
        assert await self.expect("joined_as_publisher") == {"room_id": room}

    async def open_room(self) -> int:
        await self.send("create_room")
        room: int = (await self.expect("room_created"))["room_id"]
        await self.join(room)
        return room

    async def invite(self, room: int) -> dict[str, Any]:
        await self.send("invite_devices", {"room_id": room})
        return await self.expect("devices_invited")

    async def publish(self) -> RTCPeerConnection:
        connection = self.connection()
        connection.addTrack(AudioStreamTrack())
        connection.addTrack(VideoStreamTrack())
        await connection.setLocalDescription(await connection.createOffer())
        await self.send("offer_from_device", {"sdp": connection.localDescription.sdp})
        await connection.setRemoteDescription(RTCSessionDescription(**await self.expect("answer_to_client")))
        return connection

    async def accept_invitation(self) -> RTCPeerConnection:
        """Do as the document's device does."""
        invitation = await self.expect("start_streaming")
        await self.send("join_as_publisher", invitation)
        await self.expect("joined_as_publisher")
        return await self.publish()

    async def subscribe(self, room: int, feed: int, *, name_feed: bool = True) -> list[MediaStreamTrack]:
        """Do as the document's viewer does; return the tracks, whose media has not been waited for."""
        await self.send("join_as_subscriber", {"room_id": room, "feed": feed})
        offer = await self.expect("offer_to_subscriber")
        assert (offer["type"], offer["feed"]) == ("offer", feed)
        connection = self.connection()
        tracks: list[MediaStreamTrack] = []
        connection.on("track", tracks.append)
        await connection.setRemoteDescription(RTCSessionDescription(sdp=offer["sdp"], type="offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        await self.send("ice", {"candidate": None, "typ": "sub"})
        answer = {"sdp": connection.localDescription.sdp}
        await self.send("start_receiving", answer | {"feed": feed} if name_feed else answer)
        return tracks


async def receive_each(tracks: list[MediaStreamTrack]) -> list[str]:
    """Return the kinds of tracks of which a frame has come: of all of them."""
    async with asyncio.timeout(15):
        await asyncio.gather(*(track.recv() for track in tracks))
    return sorted(track.kind for track in tracks)


async def assert_engine_empty(server: RunningServer) -> None:
    """Fail unless the engine has nothing left either; its tables are private, and a leak there costs most."""
    engine: Any = server.engine
    await until(lambda: not engine._feeds and not engine._subscriptions)


@pytest.mark.parametrize("name_feed", [True, False])
async def test_the_documents_flow_carries_sound_and_picture(name_feed: bool) -> None:  # noqa: FBT001  a parameter
    async with running_server() as server:
        async with Peer(server.ws_url("WEB", 1)) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
            room = await web.open_room()
            assert (await web.invite(room))["invited"] == ["cam"]
            await device.accept_invitation()
            heard = await web.expect("start_listening", 10)
            assert heard["room_id"] == room
            assert heard["device"] == "cam"
            assert sorted((track["kind"], track["codec"]) for track in heard["tracks"]) == [
                ("audio", "opus"),
                ("video", "VP8"),
            ]
            tracks = await web.subscribe(room, heard["feed"], name_feed=name_feed)
            assert await receive_each(tracks) == ["audio", "video"]
        await server.wait_empty()
        await assert_engine_empty(server)


async def test_a_second_viewer_shares_the_one_uplink_and_outlives_the_first() -> None:
    async with running_server() as server:
        async with Peer(server.ws_url("DEVICE", "cam")) as device, Peer(server.ws_url("WEB", 2)) as second:
            async with Peer(server.ws_url("WEB", 1)) as first:
                room = await first.open_room()
                await first.invite(room)
                await device.accept_invitation()
                feed = (await first.expect("start_listening", 10))["feed"]
                await receive_each(await first.subscribe(room, feed))

                other = await second.open_room()
                assert await second.invite(other) == {
                    "room_id": other,
                    "invited": [],
                    "attached": ["cam"],
                    "unavailable": [],
                }
                assert (await second.expect("start_listening"))["feed"] == feed
                tracks = await second.subscribe(other, feed)
                await receive_each(tracks)
            await until(lambda: len(server.service.sessions) == 2)
            await receive_each(tracks)
            assert "stop_streaming" not in await device.settle()
            await second.send("leave")
            await second.expect("left")
            assert (await device.expect("stop_streaming"))["reason"] == "no_viewers"
            await assert_engine_empty(server)
        await server.wait_empty()


async def test_unpublish_and_a_second_publication() -> None:
    async with running_server() as server:
        async with Peer(server.ws_url("WEB", 1)) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
            room = await web.open_room()
            await web.invite(room)
            first = await device.accept_invitation()
            feed = (await web.expect("start_listening", 10))["feed"]
            await receive_each(await web.subscribe(room, feed))
            await device.send("unpublish")
            assert await device.expect("unpublished") == {"feed": feed}
            stopped = await web.expect("stop_listening")
            assert stopped == {"room_id": room, "feed": feed, "device": "cam", "reason": "unpublished"}
            await first.close()
            await device.publish()
            again = (await web.expect("start_listening", 10))["feed"]
            assert again != feed
            assert await receive_each(await web.subscribe(room, again)) == ["audio", "video"]
        await server.wait_empty()


async def test_a_web_may_publish_to_another() -> None:
    async with running_server() as server:
        async with Peer(server.ws_url("WEB", 1)) as first, Peer(server.ws_url("WEB", 2)) as second:
            room = await first.open_room()
            await second.join(room)
            await first.publish()
            feed = (await second.expect("start_listening", 10))["feed"]
            assert await receive_each(await second.subscribe(room, feed)) == ["audio", "video"]
            assert "start_listening" not in await first.settle()
        await server.wait_empty()


async def test_a_device_whose_socket_is_cut_is_gone_at_once() -> None:
    async with running_server() as server, Peer(server.ws_url("WEB", 1)) as web:
        async with Peer(server.ws_url("DEVICE", "cam")) as device:
            room = await web.open_room()
            await web.invite(room)
            await device.accept_invitation()
            feed = (await web.expect("start_listening", 10))["feed"]
            await receive_each(await web.subscribe(room, feed))
            device.abort()
            assert (await web.expect("stop_listening"))["reason"] == "disconnected"
            await assert_engine_empty(server)


async def test_a_device_that_dies_in_the_handshake_leaves_nothing() -> None:
    async with running_server(connect_timeout=0.3) as server, Peer(server.ws_url("WEB", 1)) as web:
        async with Peer(server.ws_url("DEVICE", "cam")) as device:
            room = await web.open_room()
            await web.invite(room)
            await device.expect("start_streaming")
            await device.join(room)
            connection = device.connection()
            connection.addTrack(VideoStreamTrack())
            await connection.setLocalDescription(await connection.createOffer())
            await device.send("offer_from_device", {"sdp": connection.localDescription.sdp})
            await device.expect("answer_to_client")
            lost = await device.expect("connection_lost")  # it never connects: the answer is not used
            assert lost["typ"] == "pub"
            assert not server.service.rooms.state.feeds
            await assert_engine_empty(server)
            await device.publish()
            await web.expect("start_listening", 10)
        await web.send("leave")
        await web.expect("left")
        await assert_engine_empty(server)


async def test_a_viewer_that_never_answers_loses_its_offer_and_nobody_else_anything() -> None:
    async with running_server(answer_timeout=0.3) as server:
        async with (
            Peer(server.ws_url("WEB", "good")) as good,
            Peer(server.ws_url("WEB", "mute")) as mute,
            Peer(server.ws_url("DEVICE", "cam")) as device,
        ):
            room = await good.open_room()
            await mute.join(room)
            await good.invite(room)
            await device.accept_invitation()
            feed = (await good.expect("start_listening", 10))["feed"]
            tracks = await good.subscribe(room, feed)
            await receive_each(tracks)
            await mute.send("join_as_subscriber", {"room_id": room, "feed": feed})
            await mute.expect("offer_to_subscriber")
            assert await mute.expect("connection_lost") == {"typ": "sub", "feed": feed}
            await mute.send("start_receiving", {"sdp": "v=0"})
            await mute.expect_error("bad_state")
            await receive_each(await mute.subscribe(room, feed))  # it may try again
            await receive_each(tracks)
        await server.wait_empty()
        await assert_engine_empty(server)


async def test_the_server_stops_in_the_midst_of_it_all() -> None:
    async with running_server() as server:
        async with Peer(server.ws_url("WEB", 1)) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
            room = await web.open_room()
            await web.invite(room)
            await device.accept_invitation()
            feed = (await web.expect("start_listening", 10))["feed"]
            await receive_each(await web.subscribe(room, feed))
            await server.server.stop()
            assert (await web.expect("stop_listening"))["reason"] == "shutdown"
            assert (await device.expect("stop_streaming"))["reason"] == "shutdown"
            await assert_engine_empty(server)
