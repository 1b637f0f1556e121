"""A session outlives its socket: real sockets that close, are cut or go deaf, and media that runs through it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from signaling.effects import Client
from signaling.protocol import Role
from tests.helpers import peers
from tests.helpers.server import ProtocolClient, RunningServer, running_server, until
from tests.helpers.stock import Peer, assert_engine_empty, receive_each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GRACE_SECONDS = 30.0


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running_server(resume_grace=GRACE_SECONDS) as running:
        yield running


async def opened_room(web: ProtocolClient) -> int:
    await web.send("create_room")
    room: int = (await web.expect("room_created"))["room_id"]
    await web.send("join_as_publisher", {"room_id": room})
    await web.expect("joined_as_publisher")
    return room


async def welcomed(client: ProtocolClient) -> None:
    await client.expect("welcome")


def is_absent(server: RunningServer, client: Client) -> bool:
    return client not in server.service.sessions and server.service.registry.record(client) is not None


async def until_absent(server: RunningServer, role: str, name: str) -> None:
    await until(lambda: is_absent(server, Client(Role(role), name)))


# --- the session -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["close", "abort"])
@pytest.mark.parametrize("counted", [True, False])
async def test_what_was_missed_comes_once_and_in_order(server: RunningServer, ending: str, counted: bool) -> None:  # noqa: FBT001  a parameter
    async with ProtocolClient(server.ws_url("WEB", "w")) as web:
        await welcomed(web)
        room = await opened_room(web)
        secret = web.resume
        if ending == "abort":
            web.abort()
        else:
            await web.ws.close()
        await until_absent(server, "WEB", "w")
        for name in "abc":
            async with ProtocolClient(server.ws_url("DEVICE", name)) as device:
                await welcomed(device)
        resumed = await web.reconnect(counted=counted)
        assert resumed == {
            "rooms": [{"room_id": room, "feeds": []}],
            "subscriptions": [],
            "missed": 3,
            "received": 2,
        }
        assert web.resume == secret
        heard = [(await web.expect("device_online"))["device"] for _ in range(3)]
        assert heard == ["a", "b", "c"]
        await web.send("invite_devices", {"room_id": room}, id="goes on")
        assert (await web.expect_message("devices_invited"))["id"] == "goes on"
        assert web.received == []


async def test_a_reply_in_flight_when_the_socket_dies_is_not_lost(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "w")) as web:
        await welcomed(web)
        web.stop_reading()
        for number in range(5):
            await web.send("create_room", id=number)
        await until(lambda: len(server.service.rooms.state.rooms) == 5)
        resumed = await web.reconnect()  # the server still takes the first socket for alive
        assert (resumed["received"], resumed["missed"]) == (5, 5)
        replies = [await web.expect_message("room_created") for _ in range(5)]
        assert [reply["id"] for reply in replies] == list(range(5))
        assert len(server.service.sessions) == 1


async def test_what_a_client_has_is_not_kept_for_long() -> None:
    async with running_server(heartbeat_interval=0.05, resume_grace=GRACE_SECONDS) as server:
        async with ProtocolClient(server.ws_url("WEB", "w")) as web:
            await welcomed(web)
            room = await opened_room(web)
            record = server.service.registry.record(Client(Role.WEB, "w"))
            assert record is not None
            await until(lambda: not record.outbox._retained)
            web.abort()
            await until_absent(server, "WEB", "w")
            assert (await web.reconnect())["rooms"] == [{"room_id": room, "feeds": []}]


async def test_a_token_shown_in_a_frame_counts_as_no_message(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "w", None)) as web:
        await web.send("auth", {"token": "t"})
        await welcomed(web)
        await opened_room(web)
        web.abort()
        await until_absent(server, "WEB", "w")
        assert (await web.reconnect())["received"] == 2


async def test_a_socket_that_is_taken_over_is_closed_and_heard_no_more(server: RunningServer) -> None:
    first = ProtocolClient(server.ws_url("WEB", "w"))
    async with first:
        await welcomed(first)
        room = await opened_room(first)
        async with ProtocolClient(f"{first.url}?resume={first.resume}&received={first.count}") as second:
            await welcomed(second)
            assert (await second.expect("resumed"))["rooms"] == [{"room_id": room, "feeds": []}]
            await first.expect_close(4409)
            await second.send("list_devices")
            await second.expect("devices")
            assert first.received == []


async def test_a_half_open_socket_is_found_out_and_its_client_may_come_back() -> None:
    async with running_server(heartbeat_interval=0.05, heartbeat_timeout=0.2, resume_grace=GRACE_SECONDS) as server:
        async with ProtocolClient(server.ws_url("WEB", "w"), answers_pings=False) as web:
            await welcomed(web)
            room = await opened_room(web)
            await web.expect_close(4408, timeout=2)
            await until_absent(server, "WEB", "w")
            web._answers_pings = True
            assert (await web.reconnect())["rooms"] == [{"room_id": room, "feeds": []}]


async def test_a_message_too_big_costs_the_socket_and_not_the_session(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "w")) as web:
        await welcomed(web)
        room = await opened_room(web)
        await web.send_text("x" * 300_000)
        await web.expect_error("message_too_big")
        await web.expect_close(1009)
        assert (await web.reconnect())["rooms"] == [{"room_id": room, "feeds": []}]
        await web.send("list_devices")
        await web.expect("devices")


@pytest.mark.parametrize(
    "query",
    ["resume=wrong", "resume=%F0%9F%98%80", "resume=", "resume=a&received=x", "received=3", "resume=x&received=-1"],
)
async def test_a_resume_that_does_not_fit_begins_anew(server: RunningServer, query: str) -> None:
    async with ProtocolClient(server.ws_url("WEB", "w")) as web:
        await welcomed(web)
        await opened_room(web)
        web.abort()
        await until_absent(server, "WEB", "w")
        async with ProtocolClient(f"{web.url}?{query}") as fresh:
            welcome = await fresh.expect("welcome")
            assert welcome["resume"] not in {None, web.resume}
            assert not server.service.rooms.state.rooms
            await opened_room(fresh)
            assert fresh.received == [], "there is no `resumed`"


async def test_a_resume_that_does_not_fit_takes_no_id_from_the_living(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "w")) as web:
        await welcomed(web)
        async with ProtocolClient(f"{web.url}?resume=guessed") as thief:
            await thief.expect_error("client_id_in_use")
            await thief.expect_close(4409)
        await opened_room(web)


async def test_another_clients_secret_is_of_no_use(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", 1)) as one, ProtocolClient(server.ws_url("WEB", 2)) as two:
        await welcomed(one)
        await welcomed(two)
        assert one.resume != two.resume
        room = await opened_room(two)
        two.abort()
        await until_absent(server, "WEB", "2")
        async with ProtocolClient(f"{server.ws_url('WEB', 2)}?resume={one.resume}") as thief:
            await welcomed(thief)
            assert room not in server.service.rooms.state.rooms
            await opened_room(thief)
            assert thief.received == []


async def test_after_the_grace_period_it_was_a_leave() -> None:
    async with running_server(resume_grace=0.1) as server:
        async with ProtocolClient(server.ws_url("WEB", "w")) as web, ProtocolClient(server.ws_url("WEB", 2)) as other:
            await welcomed(web)
            room = await opened_room(web)
            async with ProtocolClient(server.ws_url("DEVICE", "cam")) as device:
                await device.send("join_as_publisher", {"room_id": room})
                await device.expect("joined_as_publisher")
            assert (await other.expect("device_online"))["device"] == "cam"
            assert (await other.expect("device_offline"))["device"] == "cam"
            assert server.service.registry.record(Client(Role.DEVICE, "cam")) is None
            async with ProtocolClient(f"{device.url}?resume={device.resume}&received={device.count}") as late:
                assert (await late.expect("welcome"))["resume"] != device.resume
                await late.send("leave")
                await late.expect_error("not_in_room")
                assert late.received == []
        await server.wait_empty()


async def test_too_much_to_miss_ends_the_session() -> None:
    async with running_server(resume_grace=GRACE_SECONDS, outbox_messages=10) as server:
        async with ProtocolClient(server.ws_url("WEB", "w")) as web:
            await welcomed(web)
            await opened_room(web)
            web.abort()
            await until_absent(server, "WEB", "w")
            async with ProtocolClient(server.ws_url("WEB", "other")) as other:
                for name in range(6):
                    async with ProtocolClient(server.ws_url("DEVICE", name)) as device:
                        await welcomed(device)
                    await other.expect("device_online")
                    record = server.service.registry.record(Client(Role.DEVICE, str(name)))
                    if record is not None:
                        server.service.registry.end(record, "disconnected")
                    await other.expect("device_offline")
            assert server.service.registry.record(Client(Role.WEB, "w")) is None
            assert not server.service.rooms.state.rooms
            async with ProtocolClient(f"{web.url}?resume={web.resume}&received={web.count}") as late:
                await welcomed(late)
                await opened_room(late)
                assert late.received == []


async def test_a_count_that_is_not_kept_any_more_begins_anew(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "w")) as web:
        await welcomed(web)
        for _ in range(150):
            await web.send("list_devices")
        for _ in range(150):
            await web.expect("devices")
        await opened_room(web)
        web.abort()
        await until_absent(server, "WEB", "w")
        async with ProtocolClient(f"{web.url}?resume={web.resume}&received=3") as late:
            await welcomed(late)
            assert not server.service.rooms.state.rooms
            await opened_room(late)
            assert late.received == []


async def test_the_absent_are_no_more_than_the_present_may_be() -> None:
    async with running_server(resume_grace=GRACE_SECONDS, max_sessions=3) as server:
        for name in range(8):
            async with ProtocolClient(server.ws_url("WEB", name)) as web:
                await welcomed(web)
            await until(lambda: not server.service.sessions)
        kept = [name for name in range(8) if is_absent(server, Client(Role.WEB, str(name)))]
        assert kept == [5, 6, 7]
        assert len(server.service.rooms.state.participants) == 3


async def test_the_secret_is_in_no_log(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        async with ProtocolClient(server.ws_url("WEB", "w")) as web:
            await welcomed(web)
            web.abort()
            await until_absent(server, "WEB", "w")
            await web.reconnect()
            async with ProtocolClient(f"{web.url}?resume=a-guess") as thief:
                await thief.expect_error("client_id_in_use")
    assert web.resume
    assert web.resume not in caplog.text
    assert "a-guess" not in caplog.text


async def test_a_server_that_stops_has_no_one_left() -> None:
    async with running_server(resume_grace=GRACE_SECONDS, stop_grace=5) as server:
        async with (
            ProtocolClient(server.ws_url("WEB", "w")) as web,
            ProtocolClient(server.ws_url("DEVICE", 1)) as cam,
        ):
            room = await opened_room(web)
            await cam.send("join_as_publisher", {"room_id": room})
            await cam.expect("joined_as_publisher")
            web.abort()
            await until_absent(server, "WEB", "w")
            await server.server.stop()
            assert await cam.expect("stop_streaming") == {"room_id": room, "reason": "shutdown"}
            assert server.service.registry.record(Client(Role.WEB, "w")) is None


# --- media -------------------------------------------------------------------------------------------------------


async def test_no_frame_is_lost_while_both_sockets_are_away(server: RunningServer) -> None:
    async with Peer(server.ws_url("WEB", "w")) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
        room = await web.open_room()
        await web.invite(room)
        invitation = await device.expect("start_streaming")
        await device.join(invitation["room_id"])
        source = peers.Peer(await device.publish_tracks(peers.CountingTrack()))
        source.watch()
        feed = (await web.expect("start_listening", 10))["feed"]
        (track,) = await web.subscribe(room, feed)
        sink = peers.Peer(web.connections[-1])
        sink.watch()
        await receive_each([track])

        web.abort()
        device.abort()
        await until_absent(server, "WEB", "w")
        await until_absent(server, "DEVICE", "cam")
        async with asyncio.timeout(10):
            for _ in range(20):
                await track.recv()
        assert await device.reconnect() == {
            "rooms": [{"room_id": room, "feeds": []}],
            "publication": feed,
            "subscriptions": [],
            "missed": 0,
            "received": 2,
        }
        resumed = await web.reconnect()
        assert resumed["rooms"] == [{"room_id": room, "feeds": [feed]}]
        assert resumed["subscriptions"] == [feed]
        async with asyncio.timeout(10):
            for _ in range(10):
                await track.recv()

        received = [packet for packet in sink.received if packet.payload]
        numbers = [packet.sequence_number for packet in received]
        assert numbers == [(numbers[0] + index) % 65536 for index in range(len(numbers))]
        sent = [bytes(packet.payload) for packet in source.sent if packet.payload]
        got = [bytes(packet.payload) for packet in received]
        begin = sent.index(got[0])
        assert got == sent[begin : begin + len(got)]
        assert len({packet.timestamp for packet in received}) >= 30
        # The session is whole: what the device does is told, and what the viewer asks is done.
        await device.send("unpublish")
        assert await device.expect("unpublished") == {"feed": feed}
        assert (await web.expect("stop_listening"))["reason"] == "unpublished"
        await assert_engine_empty(server)
    server.service.registry.end_all()
    await server.wait_empty()


async def test_a_viewer_hears_after_its_absence_that_the_camera_went(server: RunningServer) -> None:
    async with Peer(server.ws_url("WEB", "w")) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
        room = await web.open_room()
        await web.invite(room)
        await device.accept_invitation()
        feed = (await web.expect("start_listening", 10))["feed"]
        await receive_each(await web.subscribe(room, feed))
        web.abort()
        await until_absent(server, "WEB", "w")
        await device.send("leave")
        await device.expect("left")
        resumed = await web.reconnect()
        assert resumed["rooms"] == [{"room_id": room, "feeds": []}]
        assert resumed["subscriptions"] == []
        assert resumed["missed"] == 1
        assert await web.expect("stop_listening") == {
            "room_id": room,
            "feed": feed,
            "device": "cam",
            "reason": "left",
        }


async def test_a_device_whose_network_changed_offers_again_and_keeps_its_feed(server: RunningServer) -> None:
    async with Peer(server.ws_url("WEB", "w")) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
        room = await web.open_room()
        await web.invite(room)
        first = await device.accept_invitation()
        feed = (await web.expect("start_listening", 10))["feed"]
        tracks = await web.subscribe(room, feed)
        await receive_each(tracks)
        device.abort()
        await until_absent(server, "DEVICE", "cam")
        assert (await device.reconnect())["publication"] == feed
        second = await device.publish()
        await until(lambda: second.connectionState == "connected", 10)
        await first.close()
        for _ in range(3):
            await receive_each(tracks)
        assert {"stop_listening", "offer_to_subscriber", "connection_lost"}.isdisjoint(await web.settle())
        assert list(server.service.rooms.state.feeds) == [feed]
    server.service.registry.end_all()
    await server.wait_empty()


async def test_an_engines_answer_that_comes_meanwhile_is_delivered(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, may_answer = server.engine.publish, asyncio.Event()

    async def slow(feed: int, sdp: str) -> Any:
        await may_answer.wait()
        return await publish(feed, sdp)

    monkeypatch.setattr(server.engine, "publish", slow)
    async with Peer(server.ws_url("WEB", "w")) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
        room = await web.open_room()
        await device.join(room)
        publishing = asyncio.create_task(device.publish())
        await until(lambda: bool(server.service.rooms.state.feeds))
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        device.abort()
        await until_absent(server, "DEVICE", "cam")
        may_answer.set()
        await until(lambda: len(server.service.registry.record(Client(Role.DEVICE, "cam")).outbox) == 1)  # type: ignore[union-attr]
        assert (await device.reconnect())["missed"] == 1
        assert (await device.expect("answer_to_client"))["type"] == "answer"
