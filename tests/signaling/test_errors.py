"""Every error code that this server can produce, through a real socket; the offender stays, others notice nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from signaling.auth import Grant, UnauthorizedError
from tests.helpers.server import ProtocolClient, RunningServer, running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sfu import Publication
    from signaling.protocol import Role

SDP_HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
TRANSPORT = (
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\na=fingerprint:sha-256 "
    + ":".join(["AB"] * 32)
    + "\r\n"
)


def media(mid: int, kind: str = "video", codec: str = "VP8/90000") -> str:
    return (
        f"m={kind} 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=sendonly\r\na=rtcp-mux\r\n"
        f"{TRANSPORT}a=rtpmap:96 {codec}\r\na=msid:stream track{mid}\r\na=ssrc:{1000 + mid} cname:x\r\n"
    )


def offer(*sections: str) -> str:
    bundle = " ".join(str(mid) for mid in range(len(sections)))
    return f"{SDP_HEAD}a=group:BUNDLE {bundle}\r\n" + "".join(sections)


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


@pytest.fixture
async def web(server: RunningServer) -> AsyncIterator[ProtocolClient]:
    async with ProtocolClient(server.ws_url("WEB", "web")) as client:
        await client.expect("welcome")
        yield client


@pytest.fixture
async def device(server: RunningServer) -> AsyncIterator[ProtocolClient]:
    async with ProtocolClient(server.ws_url("DEVICE", "cam")) as client:
        await client.expect("welcome")
        yield client


async def joined_room(*members: ProtocolClient) -> int:
    await members[0].send("create_room")
    room: int = (await members[0].expect("room_created"))["room_id"]
    for member in members:
        await member.send("join_as_publisher", {"room_id": room})
        assert await member.expect("joined_as_publisher") == {"room_id": room}
    return room


# --- refused at connect --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code", "close"),
    [
        ("web/1/t", "bad_role", 4400),
        ("ADMIN/1/t", "bad_role", 4400),
        ("%ff%fe/1/t", "bad_role", 4400),
        ("", "bad_role", 4400),
        ("WEB", "bad_client_id", 4400),
        ("WEB/", "bad_client_id", 4400),
        ("WEB//t", "bad_client_id", 4400),
        ("WEB/a%20b/t", "bad_client_id", 4400),
        ("WEB/a%2Fb/t", "bad_client_id", 4400),
        ("WEB/%C3%A9/t", "bad_client_id", 4400),
        ("WEB/%00/t", "bad_client_id", 4400),
        ("WEB/a%0A/t", "bad_client_id", 4400),
        ("WEB/%zz/t", "bad_client_id", 4400),
        ("WEB/" + "x" * 65 + "/t", "bad_client_id", 4400),
    ],
)
async def test_a_bad_path_is_refused_after_the_upgrade(server: RunningServer, path: str, code: str, close: int) -> None:
    async with ProtocolClient(f"{server.server_url}/ws/connect/{path}") as client:
        await client.expect_error(code)
        await client.expect_close(close)


@pytest.mark.parametrize(
    "path", ["WEB/1/t", "DEVICE/a.b_c~d-E9/t", "WEB/1", "WEB/1/", "WEB/1/a/b%2Fc", "WEB/1/%zz", "WEB/1/t?x=y"]
)
async def test_good_paths_are_welcomed(server: RunningServer, path: str) -> None:
    async with ProtocolClient(f"{server.server_url}/ws/connect/{path}") as client:
        welcome = await client.expect("welcome")
        assert welcome["role"] == path.split("/", maxsplit=1)[0]
        assert welcome["client_id"] == path.split("/")[1]
        assert welcome["resume"] is None  # these servers keep no session of an absent client
        assert welcome["protocol"] == 1


async def test_a_plain_request_is_told_what_the_address_is_for(server: RunningServer) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.http_url}/ws/connect/WEB/1/secret-token") as response,
    ):
        assert response.status == 426
        assert "secret" not in await response.text()


class OneToken:
    """Accepts one token."""

    def authenticate(self, role: Role, client_id: str, token: str | None, now: float) -> Grant:
        assert now > 1e9
        if token != "open sesame/1":  # noqa: S105  a test's
            raise UnauthorizedError("not accepted")
        return Grant(role, client_id)


async def test_a_token_that_is_not_accepted_is_unauthorized() -> None:
    async with running_server(authenticator=OneToken(), auth_timeout=0.2) as server:
        for token in ("wrong-token", None):
            async with ProtocolClient(server.ws_url("WEB", 1, token)) as client:
                error = await client.expect_error("unauthorized")
                assert "wrong-token" not in error["message"]
                await client.expect_close(4401)
        async with ProtocolClient(server.ws_url("WEB", 1, "open%20sesame%2F1")) as client:
            await client.expect("welcome")


async def test_a_full_server_refuses_and_recovers() -> None:
    async with running_server(max_sessions=1) as server:
        async with ProtocolClient(server.ws_url("WEB", 1)) as first:
            await first.expect("welcome")
            async with ProtocolClient(server.ws_url("WEB", 2)) as second:
                await second.expect_error("server_full")
                await second.expect_close(4429)
        await server.wait_empty()
        async with ProtocolClient(server.ws_url("WEB", 2)) as second:
            await second.expect("welcome")


# --- messages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"event": 5}', '{"data": {}}', "[" * 50_000])
async def test_bad_json(web: ProtocolClient, text: str) -> None:
    await web.send_text(text)
    await web.expect_error("bad_json")
    await joined_room(web)


async def test_a_binary_frame_is_bad_json(web: ProtocolClient) -> None:
    await web.ws.send_bytes(b'{"event":"create_room"}')
    await web.expect_error("bad_json")
    await joined_room(web)


async def test_text_that_is_not_utf8_is_told_before_the_close(web: ProtocolClient) -> None:
    await web.ws._writer.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
    await web.expect_error("bad_json")
    await web.expect_close(1007)


@pytest.mark.parametrize(
    ("event", "data", "code"),
    [
        ("dance", {}, "unknown_event"),
        ("start_listening", {}, "unknown_event"),
        ("join_as_publisher", {}, "bad_data"),
        ("join_as_publisher", {"room_id": "166"}, "bad_data"),
        ("ice", {"candidate": 5}, "bad_data"),
        ("join_as_publisher", {"room_id": 1}, "room_not_found"),
        ("invite_devices", {"room_id": 1}, "room_not_found"),
        ("join_as_subscriber", {"room_id": 1, "feed": 1}, "room_not_found"),
        ("leave", {"room_id": 1}, "room_not_found"),
        ("leave", {}, "not_in_room"),
        ("unpublish", {}, "not_in_room"),
        ("offer_from_device", {"sdp": "v=0"}, "not_in_room"),
        ("start_receiving", {"sdp": "v=0"}, "bad_state"),
        ("start_receiving", {"sdp": "v=0", "feed": 1}, "feed_not_found"),
    ],
)
async def test_refused_requests_name_their_event_and_id(web: ProtocolClient, event: str, data: Any, code: str) -> None:
    await web.send(event, data, id="q-1")
    message = await web.expect_message("error")
    assert message["id"] == "q-1"
    assert (message["data"]["code"], message["data"]["event"], message["data"]["id"]) == (code, event, "q-1")
    assert message["data"]["message"]


async def test_a_member_of_no_room_may_not_use_it(web: ProtocolClient, server: RunningServer) -> None:
    room = await joined_room(web)
    async with ProtocolClient(server.ws_url("WEB", "stranger")) as stranger:
        for event in ("invite_devices", "join_as_subscriber", "leave"):
            await stranger.send(event, {"room_id": room, "feed": 1})
            await stranger.expect_error("not_in_room")
    await web.send("join_as_subscriber", {"room_id": room, "feed": 1})
    await web.expect_error("feed_not_found")


@pytest.mark.parametrize("name", ["", "front door", "x" * 65, "caf\u00e9", "../cam", "cam\n"])
async def test_a_device_that_cannot_be_is_not_found_and_one_that_is_away_is_unavailable(
    server: RunningServer, name: str
) -> None:
    async with ProtocolClient(server.ws_url("WEB", "web")) as web:
        room = await joined_room(web)
        await web.send("invite_devices", {"room_id": room, "devices": ["away", name], "standing": True}, id="q")
        error = await web.expect_error("device_not_found")
        assert error["message"].startswith("devices[1]: ")
        assert (error["event"], error["id"]) == ("invite_devices", "q")
        assert not server.service.rooms.state.standing
        await web.send("invite_devices", {"room_id": room, "devices": ["away"]})
        assert (await web.expect("devices_invited"))["unavailable"] == ["away"]


async def test_every_direct_reply_repeats_the_id(web: ProtocolClient, device: ProtocolClient) -> None:
    await web.send("create_room", id=1)
    message = await web.expect_message("room_created")
    assert message["id"] == 1
    room = message["data"]["room_id"]
    await web.send("join_as_publisher", {"room_id": room}, id="two")
    assert (await web.expect_message("joined_as_publisher"))["id"] == "two"
    await web.send("invite_devices", {"room_id": room, "devices": ["cam", "none"]}, id=3.5)
    invited = await web.expect_message("devices_invited")
    assert invited["id"] == 3.5
    assert invited["data"] == {"room_id": room, "invited": ["cam"], "attached": [], "unavailable": ["none"]}
    start = await device.expect_message("start_streaming")
    assert start == {"event": "start_streaming", "data": {"room_id": room, "inviter": "web"}}
    await device.send("join_as_publisher", start["data"], id=0)
    assert (await device.expect_message("joined_as_publisher"))["id"] == 0
    await device.send("offer_from_device", {"sdp": offer(media(0))}, id=4)
    assert (await device.expect_message("answer_to_client"))["id"] == 4
    await device.send("unpublish", {}, id=5)
    assert (await device.expect_message("unpublished"))["id"] == 5
    await web.send("leave", {}, id=6)
    assert await web.expect_message("left") == {"event": "left", "data": {"room_id": room}, "id": 6}


@pytest.mark.parametrize("size", [256 * 1024 + 1, 5_000_000])
async def test_a_message_too_big_is_told_before_the_close(web: ProtocolClient, size: int) -> None:
    await web.send_text('{"event":"offer_from_device","data":{"sdp":"' + "x" * size + '"}}')
    await web.expect_error("message_too_big")
    await web.expect_close(1009)


async def test_the_biggest_message_that_is_allowed_is_read(web: ProtocolClient) -> None:
    frame = '{"event":"create_room","data":{"x":"%s"}}'
    await web.send_text(frame % ("x" * (256 * 1024 - len(frame) + 2)))
    await web.expect("room_created")


# --- SDP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sdp", "code"),
    [
        ("x", "bad_sdp"),
        ("v=0", "bad_sdp"),
        ("\x00\x01\x02" * 100, "bad_sdp"),
        ("v=0\r\n" * 20_000, "bad_sdp"),
        (SDP_HEAD, "bad_sdp"),
        (offer(), "bad_sdp"),
        (offer(media(0, "application")), "bad_sdp"),
        (offer(*(media(mid) for mid in range(200))), "bad_sdp"),
        (offer(media(0)).replace("a=fingerprint", "a=nothing"), "bad_sdp"),
        (offer(media(0)).replace("a=ice-pwd", "a=nothing"), "bad_sdp"),
        ("v=0\r\n" + "a" * 250_000, "bad_sdp"),
        (offer(media(0, codec="THEORA/90000")), "no_common_codec"),
    ],
)
async def test_an_offer_that_cannot_be_answered(
    web: ProtocolClient, device: ProtocolClient, sdp: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    await joined_room(web, device)
    await device.send("offer_from_device", {"sdp": sdp}, id=1)
    error = await device.expect_error(code)
    assert error["event"] == "offer_from_device"
    assert len(error["message"]) > 10
    await device.send("offer_from_device", {"sdp": offer(media(0))})
    assert (await device.expect("answer_to_client"))["type"] == "answer"
    assert not [record for record in caplog.records if record.exc_info]


async def test_already_publishing_and_its_end(
    web: ProtocolClient, device: ProtocolClient, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, may_answer = server.engine.publish, asyncio.Event()

    async def slow(feed: int, sdp: str) -> Publication:
        await may_answer.wait()
        return await publish(feed, sdp)

    monkeypatch.setattr(server.engine, "publish", slow)
    await joined_room(web, device)
    await device.send("offer_from_device", {"sdp": offer(media(0))})
    await device.send("offer_from_device", {"sdp": offer(media(0))})
    await device.expect_error("already_publishing")
    may_answer.set()
    await device.expect("answer_to_client")
    await device.send("unpublish")
    await device.expect("unpublished")
    await device.send("unpublish")
    await device.expect_error("bad_state")


async def test_subscription_errors(web: ProtocolClient, device: ProtocolClient, server: RunningServer) -> None:
    room = await joined_room(web, device)
    await device.send("offer_from_device", {"sdp": offer(media(0))})
    await device.expect("answer_to_client")
    (feed,) = server.service.rooms.state.feeds
    request = {"room_id": room, "feed": feed}
    await web.send("join_as_subscriber", request | {"tracks": ["no such track"]})
    await web.expect_error("bad_data")
    await web.send("join_as_subscriber", request)
    assert (await web.expect("offer_to_subscriber"))["feed"] == feed
    await web.send("join_as_subscriber", request)
    await web.expect_error("already_subscribed")
    await web.send("start_receiving", {"sdp": "nonsense"}, id=1)
    await web.expect_error("bad_sdp")
    await web.send("start_receiving", {"sdp": "nonsense", "feed": feed}, id=1)
    await web.expect_error("bad_sdp")  # the offer is still open
    await web.send("start_receiving", {"sdp": "nonsense", "feed": feed + 1}, id=1)
    await web.expect_error("feed_not_found")


# --- limits --------------------------------------------------------------------------------------------------------


async def refused_by(client: ProtocolClient, event: str, data: Any = None) -> str:
    """Return the message of the refusal, which must be for a limit."""
    await client.send(event, data)
    message: str = (await client.expect_error("bad_state"))["message"]
    assert "the most it may" in message
    return message


async def test_limits_of_rooms_and_members() -> None:
    async with running_server(max_rooms=2, max_rooms_per_client=1, max_members_per_room=2) as server:
        async with (
            ProtocolClient(server.ws_url("WEB", 1)) as one,
            ProtocolClient(server.ws_url("WEB", 2)) as two,
            ProtocolClient(server.ws_url("WEB", 3)) as three,
        ):
            room = await joined_room(one)
            assert "1 rooms" in await refused_by(one, "create_room")
            await two.send("create_room")
            await two.expect("room_created")
            assert "2 rooms" in await refused_by(three, "create_room")
            await two.send("join_as_publisher", {"room_id": room})
            await two.expect("joined_as_publisher")
            assert "2 members" in await refused_by(three, "join_as_publisher", {"room_id": room})
            await two.send("leave")
            await two.expect("left")
            await three.send("join_as_publisher", {"room_id": room})
            await three.expect("joined_as_publisher")


async def test_limits_of_feeds_tracks_and_subscriptions() -> None:
    async with running_server(max_feeds=2, max_tracks=2, max_subscriptions_per_client=1) as server:
        async with (
            ProtocolClient(server.ws_url("WEB", "web")) as web,
            ProtocolClient(server.ws_url("DEVICE", 1)) as one,
            ProtocolClient(server.ws_url("DEVICE", 2)) as two,
        ):
            room = await joined_room(web, one, two)
            await one.send("offer_from_device", {"sdp": offer(*(media(mid) for mid in range(3)))})
            assert "2" in (await one.expect_error("bad_sdp"))["message"]
            for device in (one, two):
                await device.send("offer_from_device", {"sdp": offer(media(0), media(1))})
                await device.expect("answer_to_client")
            assert "2 feeds" in await refused_by(web, "offer_from_device", {"sdp": offer(media(0))})
            first, second = server.service.rooms.state.feeds
            await web.send("join_as_subscriber", {"room_id": room, "feed": first})
            await web.expect("offer_to_subscriber")
            assert "1 subscriptions" in await refused_by(web, "join_as_subscriber", {"room_id": room, "feed": second})


async def test_the_size_and_the_sections_of_an_sdp_are_settings() -> None:
    async with running_server(max_sdp_bytes=2048, max_sdp_sections=3, max_tracks=3) as server:
        async with (
            ProtocolClient(server.ws_url("WEB", "web")) as web,
            ProtocolClient(server.ws_url("DEVICE", "cam")) as cam,
        ):
            await joined_room(web, cam)
            long = offer(media(0)) + "a=x:" + "\u00e9" * 1000 + "\r\n"
            for bad, words in (
                (long, f"has {len(long.encode())} bytes, at most 2048"),
                (offer(*(f"m=audio 0 X {mid}\r\n" for mid in range(4))), "has 4 m-lines, at most 3"),
            ):
                await cam.send("offer_from_device", {"sdp": bad})
                assert words in (await cam.expect_error("bad_sdp"))["message"]
            await cam.send("offer_from_device", {"sdp": offer(media(0))})
            await cam.expect("answer_to_client")


async def test_the_size_of_a_message_is_a_setting() -> None:
    async with running_server(max_message_bytes=2048) as server, ProtocolClient(server.ws_url("WEB", 1)) as web:
        await web.send("create_room", {"x": "x" * 1900})
        await web.expect("room_created")
        await web.send("create_room", {"x": "x" * 2048})
        assert "2048" in (await web.expect_error("message_too_big"))["message"]
        await web.expect_close(1009)


# --- our own bugs --------------------------------------------------------------------------------------------------


async def test_a_bug_is_told_by_reference_and_logged_once(
    web: ProtocolClient, server: RunningServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_event: object) -> None:
        raise ZeroDivisionError("a secret detail")

    with monkeypatch.context() as patch:
        patch.setattr(server.service.rooms, "handle", broken)
        await web.send("create_room", id=8)
        message = await web.expect_message("error")
    assert (message["id"], message["data"]["code"]) == (8, "internal")
    assert "secret" not in message["data"]["message"]
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    reference = message["data"]["message"].split()[-1]
    assert f"reference={reference}" in record.getMessage()
    assert record.exc_info is not None
    await joined_room(web)


async def test_an_engines_bug_is_told_to_its_client_alone(
    web: ProtocolClient, device: ProtocolClient, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_feed: int, _sdp: str) -> None:
        raise ZeroDivisionError

    await joined_room(web, device)
    with monkeypatch.context() as patch:
        patch.setattr(server.engine, "publish", broken)
        await device.send("offer_from_device", {"sdp": offer(media(0))}, id=2)
        error = await device.expect_error("internal")
        assert (error["event"], error["id"]) == ("offer_from_device", 2)
    assert await web.settle() == ["device_online"]
    await device.send("offer_from_device", {"sdp": offer(media(0))})
    await device.expect("answer_to_client")
