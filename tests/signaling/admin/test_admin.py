"""The admin API over real sockets: who may ask, what is told, what is ended; its description held against it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode

from signaling.admin.openapi import OPERATIONS, PREFIX
from tests.helpers.server import RunningServer, running_server
from tests.helpers.stock import Peer, receive_each
from tests.helpers.tokens import SECRET, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Answer = tuple[int, Any]


async def ask(server: RunningServer, method: str, path: str, **headers: str) -> Answer:
    """Return status and body of a request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as http:
        async with http.request(method, server.http_url + path, headers=named) as answer:
            body = await answer.text()
            return answer.status, None if not body else await answer.json()


async def status_of(server: RunningServer, path: str, address: str) -> int:
    """Return how a request from `address`, behind a proxy, is answered."""
    async with aiohttp.ClientSession() as http:
        async with http.get(server.http_url + path, headers={"X-Forwarded-For": address}) as answer:
            return answer.status


@asynccontextmanager
async def streaming(server: RunningServer) -> AsyncIterator[tuple[Peer, Peer, int, int]]:
    """Run a device and a viewer who watches it; give both, the room and the feed."""
    async with Peer(server.ws_url("WEB", "anna")) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
        room = await web.open_room()
        await web.invite(room)
        await device.accept_invitation()
        feed = (await web.expect("start_listening"))["feed"]
        await receive_each(await web.subscribe(room, feed))
        yield web, device, room, feed


async def test_what_there_is_is_told_and_can_be_ended() -> None:
    async with running_server() as server:
        async with streaming(server) as (web, device, room, feed):
            status, whole = await ask(server, "GET", "/api/v1/server")
            assert status == 200
            counts = {name: whole[name] for name in ("rooms", "webs", "devices", "feeds", "subscriptions", "viewers")}
            assert counts == dict.fromkeys(counts, 1)
            assert whole["ready"] is True
            assert whole["received"]["packets"] > 0
            assert whole["sent"]["payload_bytes"] > 0

            _, found = await ask(server, "GET", "/api/v1/rooms")
            assert [(each["room_id"], each["creator"], each["feeds"]) for each in found["rooms"]] == [
                (room, "anna", [feed])
            ]
            _, one = await ask(server, "GET", f"/api/v1/rooms/{room}")
            assert {(each["role"], each["client_id"]) for each in one["participants"]} == {
                ("WEB", "anna"),
                ("DEVICE", "cam"),
            }
            assert one["sent_packets"] > 0
            _, published = await ask(server, "GET", f"/api/v1/feeds/{feed}")
            assert (published["client_id"], published["state"], published["viewers"]) == ("cam", "flowing", 1)
            assert {track["kind"]: track["subscribers"] for track in published["tracks"]} == {"audio": 1, "video": 1}
            _, watched = await ask(server, "GET", f"/api/v1/feeds/{feed}/subscriptions")
            (subscription,) = watched["subscriptions"]
            assert (subscription["client_id"], subscription["room_id"]) == ("anna", room)
            assert subscription["peer"]["state"] == "connected"
            assert all(track["packets"] > 0 for track in subscription["tracks"])
            _, people = await ask(server, "GET", "/api/v1/participants")
            assert [(each["client_id"], each["feed"], each["watches"]) for each in people["participants"]] == [
                ("cam", feed, []),
                ("anna", None, [feed]),
            ]

            assert await ask(server, "DELETE", f"/api/v1/feeds/{feed}") == (204, None)
            stopped = await device.expect("stop_streaming")
            assert stopped == {"room_id": room, "reason": "operator"}
            assert (await web.expect("stop_listening"))["reason"] == "unpublished"
            assert (await ask(server, "GET", f"/api/v1/feeds/{feed}"))[0] == 404
            await web.invite(room)
            await device.accept_invitation()
            again = (await web.expect("start_listening"))["feed"]

            assert await ask(server, "DELETE", f"/api/v1/rooms/{room}") == (204, None)
            assert (await web.expect("stop_listening"))["feed"] == again
            assert await web.expect("room_closed") == {"room_id": room, "reason": "operator"}
            await device.expect("stop_streaming")
            assert (await ask(server, "DELETE", f"/api/v1/rooms/{room}"))[0] == 404

            assert await ask(server, "DELETE", "/api/v1/participants/DEVICE/cam") == (204, None)
            await device.expect_close(4410)
            assert (await web.expect("device_offline"))["device"] == "cam"
            server.service.rooms.check()


async def test_a_room_that_nobody_has_joined_is_closed_and_one_with_a_grace_period_too() -> None:
    async with running_server(stop_grace=30) as server:
        async with Peer(server.ws_url("WEB", "anna")) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
            await web.send("create_room")
            empty = (await web.expect("room_created"))["room_id"]
            room = await web.open_room()
            await web.invite(room)
            await device.accept_invitation()
            await web.expect("start_listening")
            for number in (empty, room):
                assert await ask(server, "DELETE", f"/api/v1/rooms/{number}") == (204, None)
            assert (await device.expect("stop_streaming"))["room_id"] == room
            assert (await ask(server, "GET", "/api/v1/rooms"))[1] == {"rooms": [], "next": None}
            server.service.rooms.check()


async def test_pages_follow_one_another() -> None:
    async with running_server() as server:
        async with Peer(server.ws_url("WEB", "anna")) as web:
            rooms = sorted([await web.open_room() for _ in range(5)])
            found: list[int] = []
            after = ""
            while True:
                _, page = await ask(server, "GET", f"/api/v1/rooms?limit=2{after}")
                found += [room["room_id"] for room in page["rooms"]]
                if page["next"] is None:
                    break
                after = f"&after={page['next']}"
            assert found == rooms
            _, people = await ask(server, "GET", "/api/v1/participants?limit=1&after=DEVICE/zoe")
            assert [each["client_id"] for each in people["participants"]] == ["anna"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/rooms/0", 400, "room_id: expected an integer from 1"),
        ("/rooms/x", 400, "room_id: expected an integer from 1"),
        ("/rooms?limit=1000", 400, "limit: expected an integer from 1 to 200, got '1000'"),
        ("/participants?after=anna", 400, "after: expected WEB or DEVICE and a client id"),
        ("/participants/BOSS/anna", 400, "role, client_id: expected WEB or DEVICE"),
        ("/rooms/7", 404, "room_id: there is no such room"),
        ("/nothing", 404, "/api/v1/openapi.json"),
    ],
)
async def test_what_is_wrong_is_said(path: str, status: int, words: str) -> None:
    async with running_server() as server:
        got, body = await ask(server, "GET", f"/api/v1{path}")
        assert got == status
        assert words in body["error"]["message"]


async def test_with_auth_off_only_this_machine_and_its_own_pages_may() -> None:
    async with running_server() as server:
        path, host = "/api/v1/server", f"127.0.0.1:{server.port}"
        assert (await ask(server, "GET", path))[0] == 200
        assert (await ask(server, "GET", path, Origin=f"http://{host}"))[0] == 200
        for headers in (
            {"X_Forwarded_For": "203.0.113.9"},
            {"Origin": "https://evil.example"},
            {"Origin": "http://127.0.0.1:1"},
            {"Host": "evil.example"},
            {"Host": "[::1"},
        ):
            status, body = await ask(server, "GET", path, **headers)
            assert (status, body["error"]["code"]) == (403, "forbidden"), headers
    async with running_server(admin_network=("10.0.0.0/8",), trusted_proxy=("127.0.0.1",)) as server:
        assert (await ask(server, "GET", path, X_Forwarded_For="10.1.2.3"))[0] == 200
        assert (await ask(server, "GET", path, X_Forwarded_For="11.1.2.3"))[0] == 403
        changed = {"admin_network": ("11.0.0.0/8",), "metrics_network": ("12.0.0.0/8",)}
        server.server.reload(server.server.config.model_copy(update=changed))
        for asked, address, status in (
            (path, "11.1.2.3", 200),
            (path, "10.1.2.3", 403),
            (path, "127.0.0.1", 200),
            ("/metrics", "12.1.2.3", 200),
            ("/metrics", "11.1.2.3", 403),
        ):
            assert await status_of(server, asked, address) == status, (asked, address)


async def test_with_auth_on_it_takes_the_admin_grant() -> None:
    async with running_server(auth_secret=SECRET) as server:
        path = "/api/v1/server"
        status, body = await ask(server, "GET", path)
        assert (status, body["error"]["code"]) == (401, "unauthorized")
        for wrong in (token("boss"), token("boss", admin=False)):
            assert (await ask(server, "GET", path, Authorization=f"Bearer {wrong}"))[0] == 403
        for bad in ("x", token("boss", admin=True)[:-4] + "AAAA", token("boss", admin=True, exp=1), "a.b.c"):
            status, body = await ask(server, "GET", path, Authorization=f"Bearer {bad}")
            assert status == 401
            assert bad not in str(body).replace("'x'", "") or bad == "x"
        good = token("boss", admin=True)
        assert (await ask(server, "GET", path, Authorization=f"Bearer {good}", Origin="https://x.example"))[0] == 200
        assert (await ask(server, "DELETE", "/api/v1/rooms/7"))[0] == 401


async def test_health_and_readiness() -> None:
    async with running_server() as server:
        assert await ask(server, "GET", "/healthz") == (200, {"status": "ok"})
        assert await ask(server, "GET", "/readyz") == (200, {"status": "ready"})
        await server.service.drain(0)
        assert await ask(server, "GET", "/readyz") == (503, {"status": "draining"})
        assert await ask(server, "GET", "/healthz") == (200, {"status": "ok"})


def check_operations(url: str) -> set[str]:
    """Hold every operation against its description, with parameters as they should be and as they should not."""
    schema = schemathesis.openapi.from_url(f"{url}{PREFIX}/openapi.json")
    checked = set()
    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]  # what is no operation fails here, as it should
        modes = [GenerationMode.POSITIVE] + ([GenerationMode.NEGATIVE] if list(operation.iter_parameters()) else [])
        for mode in modes:

            @settings(
                max_examples=4,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                case.call_and_validate()

            check()
        checked.add(operation.definition.raw["operationId"])
    return checked


async def test_the_api_is_as_it_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clients' timers draw from the one generator of `random` in this thread while hypothesis, in another, holds
    # whatever draws from it against the strategies.
    for module in ("aiortc.rtcrtpsender", "aiortc.rtcrtpreceiver", "aioice.ice"):
        monkeypatch.setattr(f"{module}.random", Random())
    async with running_server() as server, streaming(server) as (_, _, _, feed):
        checked = await asyncio.to_thread(check_operations, server.http_url)
        assert checked == {operation.name for operation in OPERATIONS}
        assert (await ask(server, "GET", f"/api/v1/feeds/{feed}"))[0] == 200
