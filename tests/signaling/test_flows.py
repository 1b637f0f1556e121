"""Both flows of the protocol with stock aiortc peers: real sockets, real media."""

from __future__ import annotations

import pytest
from aiortc import VideoStreamTrack

from tests.helpers.server import running_server, until
from tests.helpers.stock import Peer, assert_engine_empty, receive_each


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
