"""Tokens over real sockets: who may do what, on every event, and what each is shown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from signaling.protocol import EVENTS, Role
from tests.helpers.server import ProtocolClient, RunningServer, running_server
from tests.helpers.stock import Peer
from tests.helpers.tokens import OTHER_SECRET, SECRET, token
from tests.signaling.test_errors import joined_room, media, offer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running_server(auth_secret=SECRET, auth_timeout=1.0) as running:
        yield running


# --- every event, by a token that may and one that may not --------------------------------------------------------


LIMITED: list[tuple[str, dict[str, Any], str, dict[str, Any], str]] = [
    ("WEB", {"rooms": [1]}, "create_room", {}, "rooms:"),
    ("WEB", {"rooms": [1]}, "join_as_publisher", {"room_id": 0}, "rooms: the token does not grant room"),
    ("DEVICE", {"rooms": [1]}, "join_as_publisher", {"room_id": 0}, "rooms: the token does not grant room"),
    ("WEB", {"rooms": [1]}, "invite_devices", {"room_id": 0}, "rooms:"),
    ("WEB", {"devices": ["x"]}, "invite_devices", {"room_id": 0, "devices": ["cam"]}, "devices:"),
    ("WEB", {"devices": ["x"]}, "invite_devices", {"room_id": 0, "devices": ["cam"], "standing": True}, "devices:"),
    ("WEB", {"rooms": [1]}, "join_as_subscriber", {"room_id": 0, "feed": 0}, "rooms:"),
    ("WEB", {"devices": ["x"]}, "join_as_subscriber", {"room_id": 0, "feed": 0}, "devices:"),
    ("WEB", {"subscribe": False}, "join_as_subscriber", {"room_id": 0, "feed": 0}, "subscribe:"),
    ("WEB", {"subscribe": False}, "start_receiving", {"sdp": "v=0"}, "subscribe:"),
    ("WEB", {"subscribe": False}, "pause_receiving", {"feed": 0}, "subscribe:"),
    ("WEB", {"subscribe": False}, "resume_receiving", {"feed": 0}, "subscribe:"),
    ("WEB", {"publish": False}, "offer_from_device", {"sdp": offer(media(0))}, "publish:"),
    ("DEVICE", {"publish": False}, "offer_from_device", {"sdp": offer(media(0))}, "publish:"),
]
"""Role, what its token grants less, an event, and what the refusal names."""
FREE = {"leave": "not_in_room", "unpublish": "not_in_room", "stop_receiving": "feed_not_found", "ice": None}
"""What takes no grant, as it ends something or does nothing, and how it fails where there is nothing."""
TOLD = {"list_devices": "devices", "ping": "pong", "auth": None}
"""What takes none either, and its reply: the list holds what is granted."""


@pytest.mark.parametrize("role", list(Role))
def test_every_event_is_tried(role: Role) -> None:
    limited = {event for named, _, event, _, _ in LIMITED if named == role.value}
    assert limited | FREE.keys() | TOLD.keys() >= EVENTS[role].keys()
    assert not limited & (FREE.keys() | TOLD.keys())


@pytest.mark.parametrize(("role", "limits", "event", "data", "named"), LIMITED)
async def test_two_tokens_one_that_may_and_one_that_may_not(
    server: RunningServer, role: str, limits: dict[str, Any], event: str, data: dict[str, Any], named: str
) -> None:
    async with (
        ProtocolClient(server.ws_url("WEB", "host", token("host"))) as host,
        ProtocolClient(server.ws_url("DEVICE", "cam", token("cam", "DEVICE"))) as cam,
        ProtocolClient(server.ws_url(role, "may", token("may", role))) as may,
        ProtocolClient(server.ws_url(role, "not", token("not", role, **limits))) as may_not,
    ):
        for client in (host, cam, may, may_not):
            await client.expect("welcome")
        members = [client for client in (host, cam, may) if event != "join_as_publisher" or client is not may]
        room = await joined_room(*members)
        await cam.send("offer_from_device", {"sdp": offer(media(0))})
        await cam.expect("answer_to_client")
        (feed,) = server.service.rooms.state.feeds
        ids = {"room_id": room, "feed": feed}
        filled = {key: ids.get(key, value) for key, value in data.items()}
        await may_not.send(event, filled, id="q")
        refusal = await may_not.expect_message("error")
        assert (refusal["id"], refusal["data"]["code"], refusal["data"]["event"]) == ("q", "forbidden", event)
        assert named in refusal["data"]["message"]
        assert await may_not.settle() == []
        await may.send(event, filled, id="q")
        async with asyncio.timeout(5), may._news:
            await may._news.wait_for(lambda: any(message.get("id") == "q" for message in may.received))
        (reply,) = (message for message in may.received if message.get("id") == "q")
        granted = {None, "bad_state"}  # what is granted may still come at a wrong moment
        assert reply["data"].get("code") in granted, reply


@pytest.mark.parametrize("role", list(Role))
async def test_what_ends_or_only_asks_takes_no_grant(server: RunningServer, role: Role) -> None:
    tight = token("tight", role.value, rooms=[], devices=[], publish=False, subscribe=False)
    async with ProtocolClient(server.ws_url(role.value, "tight", tight)) as client:
        await client.expect("welcome")
        for event in EVENTS[role].keys() & (FREE.keys() | TOLD.keys()):
            await client.send(event, {"feed": 1, "token": "x"})
            if (code := FREE.get(event)) is not None:
                await client.expect_error(code)
            elif (reply := TOLD.get(event)) is not None:
                await client.expect(reply)
            assert await client.settle() == []


async def test_presence_is_told_of_granted_devices_only(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "one", token("one", devices=["cam"]))) as client:
        await client.expect("welcome")
        for name in ("gate", "cam"):
            async with ProtocolClient(server.ws_url("DEVICE", name, token(name, "DEVICE"))) as device:
                await device.expect("welcome")
                await client.send("list_devices", id=name)
                listed = [entry["device"] for entry in (await client.expect("devices"))["devices"]]
                assert listed == (["cam"] if name == "cam" else [])
                await device.send("leave")
        await client.expect("device_offline")
        await client.settle()
        assert [message["data"]["device"] for message in client.received] == ["cam"]


async def test_resuming_takes_a_token_that_grants_no_less() -> None:
    async with (
        running_server(auth_secret=SECRET, resume_grace=10) as server,
        Peer(server.ws_url("WEB", "all", token("all"))) as host,
        Peer(server.ws_url("DEVICE", "gate", token("gate", "DEVICE"))) as gate,
    ):
        client = ProtocolClient(server.ws_url("WEB", "web", token()))
        await client.open()
        secret = (await client.expect("welcome"))["resume"]
        room = await host.open_room()
        await client.send("join_as_publisher", {"room_id": room})
        await client.expect("joined_as_publisher")
        await host.invite(room)
        await gate.accept_invitation()
        feed = (await client.expect("start_listening", timeout=15))["feed"]
        client.abort()
        await client.close()
        for bad in ("none", token("web", secret=OTHER_SECRET)):
            async with ProtocolClient(f"{server.ws_url('WEB', 'web', bad)}?resume={secret}") as thief:
                await thief.expect_error("unauthorized")
        async with ProtocolClient(f"{server.ws_url('WEB', 'web', token(admin=True))}?resume={secret}") as again:
            assert (await again.expect("resumed"))["rooms"] == [{"room_id": room, "feeds": [feed]}]
            await again.send("join_as_subscriber", {"room_id": room, "feed": feed})
            await again.expect("offer_to_subscriber")
        narrow = token(devices=["cam"])
        async with ProtocolClient(f"{server.ws_url('WEB', 'web', None)}?resume={secret}") as less:
            await less.send("auth", {"token": narrow})
            assert (await less.expect("welcome"))["resume"] != secret
            assert await less.settle() == [], "neither resumed nor told what waited for the wider token"
            assert not server.service.rooms.state.subscriptions, "what is not granted any more does not flow on"
            await less.send("leave")
            await less.expect_error("not_in_room")


async def test_a_device_that_is_not_granted_is_neither_invited_nor_shown(server: RunningServer) -> None:
    async with (
        Peer(server.ws_url("WEB", "all", token("all"))) as sees_all,
        Peer(server.ws_url("WEB", "one", token("one", devices=["cam"]))) as sees_one,
        Peer(server.ws_url("DEVICE", "cam", token("cam", "DEVICE"))) as cam,
        Peer(server.ws_url("DEVICE", "gate", token("gate", "DEVICE"))) as gate,
    ):
        room = await sees_one.open_room()
        await sees_all.join(room)
        assert (await sees_one.invite(room))["invited"] == ["cam"]
        await sees_all.send("invite_devices", {"room_id": room, "devices": ["gate"]})
        await asyncio.gather(cam.accept_invitation(), gate.accept_invitation())
        feeds = {}
        for _ in range(2):
            event = await sees_all.expect("start_listening", timeout=15)
            feeds[event["device"]] = event["feed"]
        assert (await sees_one.expect("start_listening"))["feed"] == feeds["cam"]
        assert "start_listening" not in await sees_one.settle()
        await sees_one.send("join_as_subscriber", {"room_id": room, "feed": feeds["gate"]})
        refusal = (await sees_one.expect_error("forbidden"))["message"]
        assert refusal.startswith("devices: ")
        assert "gate" not in refusal, "whose feed it is, is not this client's to know"
        await sees_one.send("join_as_subscriber", {"room_id": room, "feed": feeds["cam"]})
        await sees_one.expect("offer_to_subscriber")
        for device in (gate, cam):
            await device.send("unpublish")
            await device.expect("unpublished")
        assert (await sees_one.expect("stop_listening"))["device"] == "cam"
        assert "stop_listening" not in await sees_one.settle()


async def test_a_device_for_certain_rooms_is_shared_with_no_other(server: RunningServer) -> None:
    async with (
        ProtocolClient(server.ws_url("WEB", "here", token("here"))) as here,
        ProtocolClient(server.ws_url("WEB", "there", token("there"))) as there,
    ):
        room, elsewhere = await joined_room(here), await joined_room(there)
        await there.send("invite_devices", {"room_id": elsewhere, "standing": True})
        await there.expect("devices_invited")
        async with ProtocolClient(server.ws_url("DEVICE", "cam", token("cam", "DEVICE", rooms=[room]))) as cam:
            await cam.expect("welcome")
            assert await cam.settle() == [], "not asked where it may not go"
            await here.send("invite_devices", {"room_id": room})
            assert (await here.expect("devices_invited"))["invited"] == ["cam"]
            for streams in (False, True):
                await there.send("invite_devices", {"room_id": elsewhere, "devices": ["cam"]})
                invited = await there.expect("devices_invited")
                assert (invited["attached"], invited["unavailable"]) == ([], ["cam"])
                if not streams:
                    await cam.send("join_as_publisher", await cam.expect("start_streaming"))
                    await cam.send("offer_from_device", {"sdp": offer(media(0))})
                    await cam.expect("answer_to_client")
        async with ProtocolClient(server.ws_url("DEVICE", "mute", token("mute", "DEVICE", publish=False))) as mute:
            await mute.expect("welcome")
            assert await mute.settle() == []
