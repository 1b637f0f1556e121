"""Tokens over real sockets: three ways to show one, what each refuses, who may do what, keys that change."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import jwt
import pytest

from tests.helpers.server import ProtocolClient, RunningServer, running_server, until
from tests.helpers.stock import Peer
from tests.helpers.tokens import OTHER_SECRET, SECRET, by_hand, claims, ec_key, public_pem, rsa_key, token
from tests.signaling.test_errors import joined_room, media, offer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running_server(auth_secret=SECRET, auth_timeout=1.0) as running:
        yield running


# --- the three ways ------------------------------------------------------------------------------------------------


class HeaderClient(ProtocolClient):
    """Sends headers with its upgrade."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        super().__init__(url)
        self.headers = headers

    async def open(self) -> None:
        self._http = aiohttp.ClientSession(headers=self.headers)
        self._ws = await self._http.ws_connect(self.url)
        self._reader = asyncio.create_task(self._read(), name="protocol-client")


async def test_a_token_in_the_address(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "web", token())) as client:
        assert (await client.expect("welcome"))["client_id"] == "web"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
async def test_a_token_in_a_header(server: RunningServer, scheme: str) -> None:
    for tail in ("", "/"):
        url = f"{server.server_url}/ws/connect/WEB/web{tail}"
        async with HeaderClient(url, {"Authorization": f"{scheme} {token()}"}) as client:
            await client.expect("welcome")
        await server.wait_empty()


async def test_a_token_in_the_first_message(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("DEVICE", "cam", None)) as client:
        await client.ws.ping()
        await client.send("auth", {"token": token("cam", "DEVICE")}, id=1)
        assert (await client.expect("welcome"))["role"] == "DEVICE"
        # Once is enough, and more does no harm.
        await client.send("auth", {"token": "whatever"})
        assert await client.settle() == []


async def test_a_proxys_own_authorization_is_no_token(server: RunningServer) -> None:
    async with HeaderClient(server.ws_url("WEB", "web", None), {"Authorization": "Basic dTpw"}) as client:
        await client.send("auth", {"token": token()})
        await client.expect("welcome")


async def test_with_auth_off_a_client_that_shows_a_token_is_welcome() -> None:
    async with running_server() as open_server:
        async with ProtocolClient(open_server.ws_url("WEB", "web", None)) as client:
            await client.expect("welcome")
            await client.send("auth", {"token": token()})
            assert await client.settle() == []


@pytest.mark.parametrize(
    "text",
    [
        '{"event":"create_room","data":{}}',
        '{"event":"auth"}',
        '{"event":"auth","data":{"token":5}}',
        '{"event":"auth","data":{"token":""}}',
        '{"event":"auth","data":{"token":"x.y.z"}}',
        '{"event":"dance"}',
        "not json",
        "[" * 50_000,
    ],
)
async def test_nothing_is_handled_before_the_token(server: RunningServer, text: str) -> None:
    async with ProtocolClient(server.ws_url("WEB", "web", None)) as client:
        await client.send_text(text)
        await client.send("auth", {"token": token()})  # too late
        await client.expect_error("unauthorized")
        await client.expect_close(4401)
        assert client.received == []
    assert not server.service.sessions


async def test_a_client_that_shows_nothing_is_closed_in_time(server: RunningServer) -> None:
    began = time.monotonic()
    async with ProtocolClient(server.ws_url("WEB", "web", None)) as client:
        error = await client.expect_error("unauthorized")
        assert "within 1 s" in error["message"]
        await client.expect_close(4401)
    assert 0.9 < time.monotonic() - began < 2


async def test_pings_do_not_hold_the_door_open(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "web", None)) as client:
        for _ in range(16):
            await client.ws.ping()
        await client.expect_error("unauthorized")
        await client.expect_close(4401)


async def test_a_server_stops_while_clients_have_not_shown_their_token() -> None:
    async with running_server(auth_secret=SECRET) as server:
        client = ProtocolClient(server.ws_url("WEB", "web", None))
        await client.open()
        await client.ws.ping()
    await client.close()  # `running_server` holds the stop to its time


# --- refusals ------------------------------------------------------------------------------------------------------


async def refused(server: RunningServer, text: str) -> str:
    """Show `text` in all three ways; return the message, which is the same each time."""
    messages: set[str] = set()
    for form in ("path", "header", "frame"):
        url = server.ws_url("WEB", "web", text if form == "path" else None)
        headers = {"Authorization": f"Bearer {text}"} if form == "header" else {}
        async with HeaderClient(url, headers) as client:
            if form == "frame":
                await client.send("auth", {"token": text})
            message = (await client.expect_error("unauthorized"))["message"]
            messages.add(re.sub(r"\d\d s\b", "__ s", message))  # of a time ago, the last seconds pass between two ways
            await client.expect_close(4401)
    (message,) = messages
    assert text not in message
    assert text.rpartition(".")[2] not in message
    return message


# Made when the test runs: one made at collection has aged by then, and two workers would name their tests differently.
BAD_TOKENS: dict[str, tuple[Callable[[], str], str]] = {
    "expired": (lambda: token(exp=int(time.time()) - 3600), "exp: it expired 36"),
    "early": (lambda: token(nbf=int(time.time()) + 3600), "nbf: it is valid only in 3"),
    "other-client": (lambda: token("other"), "sub:"),
    "other-role": (lambda: token(role="DEVICE"), "role:"),
    "endless": (lambda: token(exp=None), "exp: it has none"),
    "other-secret": (lambda: token(secret=OTHER_SECRET), "its signature is by no key"),
    "alg-none": (lambda: by_hand({"alg": "none"}, claims()) + "AAAA", "alg: expected HS256"),
    "alg-rs256": (lambda: jwt.encode(claims(), rsa_key(), "RS256"), "alg: expected HS256"),
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_bad_token_is_refused_in_every_way(server: RunningServer, kind: str) -> None:
    make, named = BAD_TOKENS[kind]
    text = make()
    assert f"token: {named}" in await refused(server, text)


async def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    file.write_text(public_pem(rsa_key()) + public_pem(ec_key()))
    async with running_server(auth_public_key_file=str(file)) as server:
        for name, key in (("RS256", rsa_key()), ("ES256", ec_key())):
            text = jwt.encode(claims(f"as-{name}"), key, name)
            async with ProtocolClient(server.ws_url("WEB", f"as-{name}", text)) as client:
                await client.expect("welcome")
            forged = by_hand({"alg": "HS256"}, claims(), public_pem(key).encode())
            assert "alg: expected ES256 or RS256" in await refused(server, forged)


async def test_a_skewed_clock_is_allowed_for(server: RunningServer) -> None:
    now = int(time.time())
    for text in (token(iat=now + 20, nbf=now + 20), token(exp=now - 20)):
        async with ProtocolClient(server.ws_url("WEB", "web", text)) as client:
            await client.expect("welcome")
        await server.wait_empty()


async def test_the_newest_socket_of_a_client_wins(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "web", token())) as older:
        await older.expect("welcome")
        async with ProtocolClient(server.ws_url("WEB", "web", token())) as newer:
            await newer.expect("welcome")
            await older.expect_close(4409)
            await joined_room(newer)


async def test_an_expired_token_ends_no_session_but_opens_none() -> None:
    async with running_server(auth_secret=SECRET, auth_leeway=0) as server:
        expiring = token(exp=time.time() + 1.0)
        async with ProtocolClient(server.ws_url("WEB", "web", expiring)) as client:
            await client.expect("welcome")
            grant = next(iter(server.service.sessions.values())).grant
            await until(lambda: time.time() > (grant.expires or 0))
            await joined_room(client)
            async with ProtocolClient(server.ws_url("WEB", "web", expiring)) as later:
                await later.expect_error("unauthorized")
            await joined_room(client)


# --- keys that change ----------------------------------------------------------------------------------------------


async def is_welcome(server: RunningServer, text: str) -> bool:
    async with ProtocolClient(server.ws_url("WEB", "web", text)) as client:
        await until(lambda: client.received)
        return bool(client.received[0]["event"] == "welcome")


async def test_secrets_rotate_without_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "secrets"
    file.write_text(SECRET)
    old, new = token(), token(secret=OTHER_SECRET)
    with caplog.at_level(logging.DEBUG):
        async with running_server(auth_secret_file=str(file)) as server:
            assert (await is_welcome(server, old), await is_welcome(server, new)) == (True, False)
            file.write_text(f"{OTHER_SECRET}\n{SECRET}\n")
            server.server.reload()  # what SIGHUP does
            assert (await is_welcome(server, old), await is_welcome(server, new)) == (True, True)
            file.write_text(f"{OTHER_SECRET}\n")
            server.server.reload()
            assert (await is_welcome(server, old), await is_welcome(server, new)) == (False, True)
            file.write_text("half a wri")
            server.server.reload()
            assert (await is_welcome(server, old), await is_welcome(server, new)) == (False, True)
    assert "key_file_unusable" in caplog.text
    assert "half a wri" not in caplog.text
    for secret in (SECRET, OTHER_SECRET, old, new):
        assert secret not in caplog.text


# --- every event, by a token that may and one that may not --------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "event", "data", "named"),
    [
        ({"rooms": [1]}, "create_room", {}, "rooms:"),
        ({"rooms": [1]}, "join_as_publisher", {"room_id": 0}, "rooms: the token does not grant room"),
        ({"rooms": [1]}, "invite_devices", {"room_id": 0}, "rooms:"),
        ({"devices": ["x"]}, "invite_devices", {"room_id": 0, "devices": ["cam"]}, "devices:"),
        ({"rooms": [1]}, "join_as_subscriber", {"room_id": 0, "feed": 0}, "rooms:"),
        ({"devices": ["x"]}, "join_as_subscriber", {"room_id": 0, "feed": 0}, "devices:"),
        ({"subscribe": False}, "join_as_subscriber", {"room_id": 0, "feed": 0}, "subscribe:"),
        ({"subscribe": False}, "start_receiving", {"sdp": "v=0"}, "subscribe:"),
        ({"subscribe": False}, "pause_receiving", {"feed": 0}, "subscribe:"),
        ({"subscribe": False}, "resume_receiving", {"feed": 0}, "subscribe:"),
        ({"publish": False}, "offer_from_device", {"sdp": offer(media(0))}, "publish:"),
    ],
)
async def test_two_tokens_one_that_may_and_one_that_may_not(
    server: RunningServer, limits: dict[str, Any], event: str, data: dict[str, Any], named: str
) -> None:
    async with (
        ProtocolClient(server.ws_url("WEB", "host", token("host"))) as host,
        ProtocolClient(server.ws_url("DEVICE", "cam", token("cam", "DEVICE"))) as cam,
        ProtocolClient(server.ws_url("WEB", "may", token("may"))) as may,
        ProtocolClient(server.ws_url("WEB", "not", token("not", **limits))) as may_not,
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


@pytest.mark.parametrize(
    ("event", "code"),
    [("leave", "not_in_room"), ("unpublish", "not_in_room"), ("stop_receiving", "feed_not_found"), ("ice", None)],
)
async def test_what_ends_something_needs_no_grant(server: RunningServer, event: str, code: str | None) -> None:
    tight = token(rooms=[], devices=[], publish=False, subscribe=False)
    async with ProtocolClient(server.ws_url("WEB", "web", tight)) as client:
        await client.expect("welcome")
        await client.send(event, {"feed": 1} if event == "stop_receiving" else {})
        if code is not None:
            await client.expect_error(code)
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


async def test_no_token_and_no_secret_is_in_any_log_or_error(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [token(), token("other"), token(secret=OTHER_SECRET), token(role="DEVICE"), "hunter2.hunter2.hunter2"]
    with caplog.at_level(logging.DEBUG):
        for text in texts:
            for form in ("path", "header", "frame"):
                headers = {"Authorization": f"Bearer {text}"} if form == "header" else {}
                url = server.ws_url("WEB", "web", text if form == "path" else None)
                async with HeaderClient(url, headers) as client:
                    if form == "frame":
                        await client.send("auth", {"token": text})
                    await until(lambda seen=client: seen.received)
                    assert text not in str(client.received)
    assert "connection_refused" in caplog.text
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("asyncio"))
    for secret in (*texts, SECRET, *(text.split(".")[2] for text in texts)):
        assert secret not in ours


@pytest.mark.parametrize(
    "broken",
    [
        ("GET", "{path}", "HTTP/9.9", ""),
        ("G@T", "{path}", "HTTP/1.1", ""),
        ("GET", "{path}\1", "HTTP/1.1", ""),
        ("GET", "{path} x", "HTTP/1.1", ""),
        ("GET", "{path}" + "A" * 9000, "HTTP/1.1", ""),
        ("GET", "http://x:99999999{path}", "HTTP/1.1", ""),
        ("GET", "/ws/connect/WEB/web", "HTTP/1.1", "Authorization: Bearer {token}\0\r\n"),
        ("GET", "/ws/connect/WEB/web", "HTTP/1.1", "Authorization: Bearer {token}" + "A" * 9000 + "\r\n"),
    ],
    ids=["version", "method", "address", "words", "long-address", "port", "header", "long-header"],
)
async def test_a_request_that_is_no_http_is_answered_without_repeating_its_token(
    server: RunningServer, caplog: pytest.LogCaptureFixture, broken: tuple[str, ...]
) -> None:
    text = token()
    path = f"/ws/connect/WEB/web/{text}"
    method, target, version, header = (part.format(path=path, token=text) for part in broken)
    with caplog.at_level(logging.DEBUG):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"{method} {target} {version}\r\nHost: x\r\n{header}\r\n".encode())
        async with asyncio.timeout(5):
            answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    assert answer.split()[1] == "400"
    assert "cannot be read as HTTP" in answer
    (line,) = (record for record in caplog.records if "bad_request" in record.getMessage())
    assert line.levelno == logging.INFO
    for part in text.split("."):
        assert part not in caplog.text
        assert part not in answer
