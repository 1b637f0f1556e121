"""What changes while media flows: tracks, pauses, selections, rooms; stock aiortc peers, real sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack

from tests.helpers.server import RunningServer, running_server, until
from tests.helpers.stock import Peer, assert_engine_empty, receive_each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


async def watched_feed(web: Peer, device: Peer) -> tuple[int, int, RTCPeerConnection]:
    """Return room, feed and the device's connection, whose sound and picture the WEB was told of."""
    room = await web.open_room()
    await web.invite(room)
    connection = await device.accept_invitation()
    heard = await web.expect("start_listening", 10)
    return room, heard["feed"], connection


async def answer_again(web: Peer, connection: RTCPeerConnection, feed: int) -> None:
    offer = await web.expect("offer_to_subscriber")
    assert offer["feed"] == feed
    await connection.setRemoteDescription(RTCSessionDescription(sdp=offer["sdp"], type="offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    await web.send("start_receiving", {"sdp": connection.localDescription.sdp, "feed": feed})


async def packets_of(connection: RTCPeerConnection) -> dict[str, int]:
    """Return how many RTP packets have come, by kind."""
    report: dict[str, Any] = await connection.getStats()
    return {entry.kind: entry.packetsReceived for entry in report.values() if entry.type == "inbound-rtp"}


async def test_a_track_added_and_removed_reaches_the_viewers(server: RunningServer) -> None:
    async with Peer(server.ws_url("WEB", 1)) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
        room, feed, connection = await watched_feed(web, device)
        tracks = await web.subscribe(room, feed)
        await receive_each(tracks)
        added = connection.addTransceiver(VideoStreamTrack(), direction="sendonly")
        await device.negotiate(connection)
        changed = await web.expect("tracks_changed")
        assert (changed["feed"], changed["room_id"], changed["device"]) == (feed, room, "cam")
        assert sorted(track["kind"] for track in changed["tracks"]) == ["audio", "video", "video"]
        await answer_again(web, web.connections[-1], feed)
        await until(lambda: len(tracks) == 3)
        assert await receive_each(tracks) == ["audio", "video", "video"]
        added.direction = "inactive"
        await device.negotiate(connection)
        assert len((await web.expect("tracks_changed"))["tracks"]) == 2
        await answer_again(web, web.connections[-1], feed)
        assert await receive_each(tracks[:2]) == ["audio", "video"]
        assert list(server.service.rooms.state.feeds) == [feed]
    await server.wait_empty()
    await assert_engine_empty(server)


async def test_a_viewer_may_choose_tracks_and_no_unknown_ones(server: RunningServer) -> None:
    async with Peer(server.ws_url("WEB", 1)) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
        room = await web.open_room()
        await web.invite(room)
        await device.accept_invitation()
        heard = await web.expect("start_listening", 10)
        feed, chosen = heard["feed"], next(track["id"] for track in heard["tracks"] if track["kind"] == "audio")
        tracks = await web.subscribe(room, feed, tracks=[chosen])
        assert await receive_each(tracks) == ["audio"]
        await web.send("stop_receiving", {"feed": feed}, id=1)
        assert await web.expect_message("stopped_receiving") == {
            "event": "stopped_receiving",
            "data": {"feed": feed},
            "id": 1,
        }
        await web.send("join_as_subscriber", {"room_id": room, "feed": feed, "tracks": ["no such"]})
        await web.expect_error("bad_data")
        assert await receive_each(await web.subscribe(room, feed)) == ["audio", "video"]
    await server.wait_empty()
    await assert_engine_empty(server)


async def test_a_pause_stops_one_kind_and_a_resume_brings_it_back(server: RunningServer) -> None:
    async with Peer(server.ws_url("WEB", 1)) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
        room, feed, _ = await watched_feed(web, device)
        await receive_each(await web.subscribe(room, feed))
        sink = web.connections[-1]
        await web.send("pause_receiving", {"feed": feed, "kinds": ["video"]}, id="p")
        changed = await web.expect_message("receiving_changed")
        assert (changed["data"], changed["id"]) == ({"feed": feed, "paused": ["video"]}, "p")
        before = await packets_of(sink)
        await until_more(sink, "audio", before["audio"] + 25)
        assert (await packets_of(sink))["video"] <= before["video"] + 5, "what was under way when it was asked"
        await web.send("pause_receiving", {"feed": feed})
        assert (await web.expect("receiving_changed"))["paused"] == ["audio", "video"]
        await web.send("resume_receiving", {"feed": feed})
        assert (await web.expect("receiving_changed"))["paused"] == []
        before = await packets_of(sink)
        for kind in ("audio", "video"):
            await until_more(sink, kind, before[kind] + 10)
    await server.wait_empty()


async def until_more(connection: RTCPeerConnection, kind: str, count: int) -> None:
    async with asyncio.timeout(10):
        while (await packets_of(connection)).get(kind, 0) < count:  # noqa: ASYNC110  statistics have no event
            await asyncio.sleep(0.02)


async def test_a_device_hears_which_tracks_are_wanted(server: RunningServer) -> None:
    async with Peer(server.ws_url("WEB", 1)) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
        room, feed, connection = await watched_feed(web, device)
        ids = {sender.track.kind: sender.track.id for sender in connection.getSenders()}
        await receive_each(await web.subscribe(room, feed))
        wanted = await device.expect("tracks_wanted")
        assert wanted["feed"] == feed
        assert set(wanted["tracks"]) == set(ids.values())
        await web.send("pause_receiving", {"feed": feed, "kinds": ["video"]})
        assert await device.expect("tracks_wanted", 15) == {"feed": feed, "tracks": [ids["audio"]]}
        await web.send("resume_receiving", {"feed": feed})
        assert set((await device.expect("tracks_wanted"))["tracks"]) == set(ids.values())
    await server.wait_empty()


async def test_two_webs_see_each_other() -> None:
    async with running_server() as server:
        async with Peer(server.ws_url("WEB", 1)) as one, Peer(server.ws_url("WEB", 2)) as two:
            room = await one.open_room()
            await two.join(room)
            await one.publish()
            await two.publish()
            first, second = (await two.expect("start_listening", 10)), (await one.expect("start_listening", 10))
            assert (first["device"], second["device"]) == ("1", "2")
            assert await receive_each(await two.subscribe(room, first["feed"])) == ["audio", "video"]
            assert await receive_each(await one.subscribe(room, second["feed"])) == ["audio", "video"]
            await one.send("unpublish")
            assert (await two.expect("stop_listening"))["reason"] == "unpublished"
            await two.send("leave")
            await two.expect("left")
            assert (await one.expect("stop_listening"))["reason"] == "left"
        await server.wait_empty()
        await assert_engine_empty(server)


async def test_a_device_invited_by_two_rooms_at_once_has_one_uplink(server: RunningServer) -> None:
    async with (
        Peer(server.ws_url("WEB", 1)) as one,
        Peer(server.ws_url("WEB", 2)) as two,
        Peer(server.ws_url("DEVICE", "cam")) as device,
    ):
        rooms = [await one.open_room(), await two.open_room()]
        assert (await one.invite(rooms[0]))["invited"] == ["cam"]
        assert (await two.invite(rooms[1]))["invited"] == ["cam"]
        await device.accept_invitation()
        feeds = {(await web.expect("start_listening", 10))["feed"] for web in (one, two)}
        assert len(feeds) == 1
        (feed,) = feeds
        for web, room in zip((one, two), rooms, strict=True):
            await receive_each(await web.subscribe(room, feed))
        # The document's device answers the second invitation too, with a connection of its own: still one feed.
        second = await device.accept_invitation()
        await until(lambda: second.connectionState == "connected", 10)
        assert list(server.service.rooms.state.feeds) == [feed]
    await server.wait_empty()


async def test_a_reload_within_the_grace_does_not_restart_the_camera() -> None:
    async with running_server(stop_grace=30) as server, Peer(server.ws_url("DEVICE", "cam")) as device:
        async with Peer(server.ws_url("WEB", 1)) as web:
            _, feed, _ = await watched_feed(web, device)
        await until(lambda: len(server.service.sessions) == 1)
        async with Peer(server.ws_url("WEB", 2)) as again:
            room = await again.open_room()
            assert (await again.invite(room))["attached"] == ["cam"]
            assert (await again.expect("start_listening"))["feed"] == feed
            await receive_each(await again.subscribe(room, feed))
            assert "stop_streaming" not in await device.settle()


async def test_a_camera_stops_when_nobody_comes_back() -> None:
    async with running_server(stop_grace=0.2) as server, Peer(server.ws_url("DEVICE", "cam")) as device:
        async with Peer(server.ws_url("WEB", 1)) as web:
            room, _, _ = await watched_feed(web, device)
            await web.send("leave")
            await web.expect("left")
            assert await device.expect("stop_streaming") == {"room_id": room, "reason": "no_viewers"}
            await assert_engine_empty(server)


async def test_standing_invitations_and_those_that_come_to_nothing() -> None:
    async with running_server(invitation_timeout=0.3) as server, Peer(server.ws_url("WEB", 1)) as web:
        room = await web.open_room()
        await web.send("invite_devices", {"room_id": room, "standing": True})
        assert (await web.expect("devices_invited"))["invited"] == []
        async with Peer(server.ws_url("DEVICE", "cam")) as device:
            assert await device.expect("start_streaming") == {"room_id": room, "inviter": "1"}
            assert await web.expect("devices_unavailable") == {"room_id": room, "devices": ["cam"]}
            await web.send("list_devices", id=4)
            listed = await web.expect_message("devices")
            assert listed == {
                "event": "devices",
                "data": {"devices": [{"device": "cam", "state": "available"}]},
                "id": 4,
            }
            await device.join(room)
            await device.publish()
            feed = (await web.expect("start_listening", 10))["feed"]
            await web.send("list_devices")
            (entry,) = (await web.expect("devices"))["devices"]
            assert (entry["state"], entry["feed"], len(entry["tracks"])) == ("streaming", feed, 2)
        assert (await web.expect("device_offline"))["device"] == "cam"
    await server.wait_empty()
