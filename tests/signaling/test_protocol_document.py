"""`signaling/PROTOCOL.md` and `/protocol.json` say what the server does: held to the code, its examples run."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import jsonschema
import pytest
from aiohttp import web
from playwright.async_api import expect

from signaling import protocol, session
from signaling.config.model import ServerConfig, env_name, flag_name
from signaling.events.outbound import Track
from signaling.events.schema import inbound_models, outbound_models, protocol_schema
from signaling.protocol import EVENTS, ErrorCode, ProtocolError, Role
from signaling.registry import CLOSE_CODES
from signaling.service import ENDED_BY_OPERATOR, GOING_AWAY
from signaling.sockets.frames import INVALID_TEXT, MESSAGE_TOO_BIG, PROTOCOL_ERROR
from signaling.transitions.presence import MAX_STANDING_NAMES
from signaling.transitions.turn import RoomLimits
from tests.helpers.browser import running_chromium
from tests.helpers.protocol_document import DOCUMENT, blocks, rows, with_tables
from tests.helpers.server import ProtocolClient, running_server
from tests.helpers.stock import Peer, receive_each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TEXT = DOCUMENT.read_text()
TESTS = Path(__file__).parent
PORT = 8002
"""What the examples have built in; the tests find the server behind it where it is."""


# --- what is generated ---------------------------------------------------------------------------------------------


def test_the_tables_of_events_are_the_models() -> None:
    assert with_tables(TEXT) == TEXT, "run `python -m tests.helpers.protocol_document --write`"
    events = [model.event for model in inbound_models()] + [model.event for model in outbound_models()]
    assert [event for event in events if f"| `{event}` |" not in TEXT] == []
    (track,) = re.findall(r"A `track` is `(\{.*?\})`", TEXT)
    assert re.findall(r"(\w+):", track) == list(Track.model_fields)


async def test_the_schema_is_served_to_everybody() -> None:
    async with running_server() as server, aiohttp.ClientSession() as http:
        async with http.get(f"{server.http_url}/protocol.json") as response:
            assert response.status == 200
            assert response.content_type == "application/schema+json"
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            served = await response.json(content_type=None)
    assert served == json.loads(json.dumps(protocol_schema()))
    jsonschema.Draft202012Validator.check_schema(served)


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**protocol_schema(), "anyOf": [{"$ref": f"#/$defs/{name}"}]})


@pytest.mark.parametrize(
    ("role", "message", "is_good"),
    [
        (Role.WEB, {"event": "create_room"}, True),
        (Role.WEB, {"event": "create_room", "data": None, "id": 1.5}, True),
        (Role.WEB, {"event": "create_room", "id": [1]}, False),
        (Role.WEB, {"event": "create_room", "id": "x" * 129}, False),
        (Role.DEVICE, {"event": "create_room"}, False),
        (Role.WEB, {"event": "start_listening", "data": {}}, False),
        (Role.WEB, {"event": "join_as_publisher", "data": {"room_id": 1, "inviter": 2, "more": []}}, True),
        (Role.WEB, {"event": "join_as_publisher", "data": {"room_id": "1"}}, False),
        (Role.WEB, {"event": "join_as_publisher"}, False),
        (Role.WEB, {"event": "invite_devices", "data": {"room_id": 1, "devices": ["a", 2], "standing": True}}, True),
        (Role.WEB, {"event": "invite_devices", "data": {"room_id": 1, "devices": ["a"] * 257}}, False),
        (Role.WEB, {"event": "pause_receiving", "data": {"feed": 1, "kinds": ["audio"]}}, True),
        (Role.WEB, {"event": "pause_receiving", "data": {"feed": 1, "kinds": []}}, False),
        (Role.WEB, {"event": "pause_receiving", "data": {"feed": 1, "kinds": ["smell"]}}, False),
        (Role.DEVICE, {"event": "ice", "data": {"candidate": None, "typ": "pub"}}, True),
        (Role.DEVICE, {"event": "ice", "data": {"typ": "both"}}, False),
        (Role.DEVICE, {"event": "offer_from_device", "data": {"sdp": ""}}, False),
        (Role.DEVICE, {"data": {}}, False),
    ],
)
def test_the_schema_and_the_server_agree(role: Role, message: Any, is_good: bool) -> None:  # noqa: FBT001  a parameter
    assert validator(f"from_{role}").is_valid(message) == is_good
    try:
        protocol.decode(role, json.dumps(message))
    except ProtocolError:
        assert not is_good
    else:
        assert is_good


class CheckedPeer(Peer):
    """Holds every message, either way, to the schema."""

    def __init__(self, url: str, role: Role) -> None:
        super().__init__(url)
        self._role = role
        self.seen: set[str] = set()

    async def send(self, event: str, data: Any = None, id: Any = None) -> None:  # noqa: A002  the protocol's word
        validator(f"from_{self._role}").validate({"event": event, "data": data})
        await super().send(event, data, id)

    def _take(self, message: dict[str, Any]) -> None:
        validator("from_server").validate(message)
        validator(f"server.{message['event']}").validate(message)
        self.seen.add(message["event"])
        super()._take(message)


async def test_what_the_server_sends_is_as_the_schema_has_it() -> None:
    async with running_server(resume_grace=30) as server:
        viewer = CheckedPeer(server.ws_url("WEB", "web"), Role.WEB)
        camera = CheckedPeer(server.ws_url("DEVICE", "cam"), Role.DEVICE)
        async with viewer, camera:
            room = await viewer.open_room()
            await viewer.invite(room)
            await viewer.send("list_devices", {})
            assert (await viewer.expect("devices"))["devices"] == [{"device": "cam", "state": "invited"}]
            await camera.accept_invitation()
            feed = (await viewer.expect("start_listening", 10))["feed"]
            await receive_each(await viewer.subscribe(room, feed))
            await viewer.send("list_devices", {}, id=1)
            assert (await viewer.expect("devices"))["devices"][0]["feed"] == feed
            await viewer.send("pause_receiving", {"feed": feed, "kinds": ["audio"]})
            assert await viewer.expect("receiving_changed") == {"feed": feed, "paused": ["audio"]}
            await viewer.send("ping", {})
            await viewer.expect("pong")
            await viewer.send("join_as_publisher", {"room_id": 0}, id="q")
            await viewer.expect_error("room_not_found")
            resumed = await viewer.reconnect()
            assert (resumed["subscriptions"], resumed["missed"]) == ([feed], 0)
            assert "publication" not in resumed
            assert (await camera.reconnect())["publication"] == feed
            await viewer.send("stop_receiving", {"feed": feed})
            await viewer.expect("stopped_receiving")
            await camera.send("unpublish", {})
            await camera.expect("unpublished")
            await viewer.expect("stop_listening")
            await viewer.send("leave", {})
            await viewer.expect("left")
            await camera.expect("stop_streaming")
        assert len(viewer.seen | camera.seen) >= 19, viewer.seen | camera.seen


# --- what is written by hand ---------------------------------------------------------------------------------------


def test_every_error_code_has_its_test() -> None:
    table = rows("code")
    assert {row[0].strip("`") for row in table} == set(ErrorCode)
    closes = {(row[0].strip("`"), int(row[2])) for row in table if row[2].startswith(("4", "1011"))}
    assert closes == {(str(code), number) for code, number in CLOSE_CODES.items()}
    for code, _, _, test in table:
        file, name = test.strip("`").split("::")
        source = (TESTS / file).read_text()
        found = [
            node for node in ast.parse(source).body if isinstance(node, ast.AsyncFunctionDef) and node.name == name
        ]
        assert len(found) == 1, test
        first = min([found[0].lineno, *(decorator.lineno for decorator in found[0].decorator_list)])
        body = "\n".join(source.splitlines()[first - 1 : found[0].end_lineno])
        expected = f'"{code.strip("`")}"'
        assert expected in body, f"{test} shows no {expected}"


def test_every_close_code_is_there() -> None:
    listed = {int(row[0]) for row in rows("close code")}
    ours = {*CLOSE_CODES.values(), session.GOODBYE, session.HEARTBEAT_LOST}
    assert listed == ours | {
        GOING_AWAY,
        ENDED_BY_OPERATOR,
        session.TOO_SLOW,
        PROTOCOL_ERROR,
        INVALID_TEXT,
        MESSAGE_TOO_BIG,
    }


def test_the_limits_are_the_settings() -> None:
    table = {row[0].strip("`"): float(row[1]) for row in rows("limit")}
    settings = {flag_name(name): field.default for name, field in ServerConfig.model_fields.items()}
    assert table == {flag: settings.get(flag) for flag in table}
    numbers = {flag for flag, default in settings.items() if isinstance(default, int | float) and default is not False}
    no_limits = {"--port", "--media-port", "--media-tcp", "--turn-ttl", "--auth-leeway"}
    assert numbers - no_limits <= set(table)
    assert set(re.findall(r"--[a-z][a-z-]+", TEXT)) <= set(settings)
    assert set(re.findall(r"AIOSFU_\w+", TEXT)) <= {env_name(name) for name in ServerConfig.model_fields}


def test_the_fixed_limits_are_the_codes() -> None:
    named, standing, tracks, pauses = map(int, re.findall(r"\d+", TEXT[TEXT.index("\nFixed: ") :]))
    assert (named, standing) == (protocol.MAX_NAMED_DEVICES, MAX_STANDING_NAMES)
    assert (tracks, pauses) == (protocol.MAX_NAMED_TRACKS, RoomLimits().pauses_per_subscription)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT))))
def test_links_lead_somewhere(link: str) -> None:
    if link.startswith("#"):
        headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
        assert link[1:] in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    else:
        assert (DOCUMENT.parent / link).is_file()


ARROW = re.compile(r"(\w+)(->>|-->>)(\w+): (\w+)(.*)")
OTHER_LINE = re.compile(r"(participant \w+ as [\w ]+|Note over \w+(,\w+)?: .+|alt .+|else .+|end)")
SPEECH = ("connect", "the", "what")
"""How arrows begin that are no event: opening a socket, messages of any kind."""


@pytest.mark.parametrize("diagram", blocks("mermaid"))
def test_a_diagram_shows_events_that_exist(diagram: str) -> None:
    lines = [line.strip() for line in diagram.splitlines()]
    assert lines.pop(0) == "sequenceDiagram"
    names = dict(re.findall(r"participant (\w+) as ([\w ]+)", diagram))
    definitions = protocol_schema()["$defs"]
    for line in lines:
        assert not set(line) & {";", "#"}, f"mermaid reads these itself: {line}"
        arrow = ARROW.fullmatch(line)
        if arrow is None:
            assert OTHER_LINE.fullmatch(line), line
            over = re.match(r"Note over ([\w,]+):", line)
            assert over is None or set(over[1].split(",")) <= set(names), line
            continue
        source, kind, target, event, rest = arrow.groups()
        assert "server" in {names[source], names[target]}, line
        if kind == "-->>" or event in SPEECH:
            continue
        if names[source] == "server":
            model: Any = next(found for found in outbound_models() if found.event == event)
        else:
            role = next((role for role in Role if role in names[source]), Role.WEB)
            model = EVENTS[role][event]
        fields = set(re.findall(r"(?:\{|, )(\w+)", rest))
        assert fields <= set(definitions[model.__name__]["properties"]), line


def test_every_flow_has_its_diagram() -> None:
    for section in TEXT[TEXT.index("## Watching") : TEXT.index("## Error codes")].split("\n## "):
        assert section.count("```mermaid\nsequenceDiagram\n") == 1, section[:40]


def test_every_event_is_in_a_flow() -> None:
    shown = {arrow[4] for diagram in blocks("mermaid") for arrow in ARROW.finditer(diagram)}
    events = [model.event for model in inbound_models()] + [model.event for model in outbound_models()]
    assert set(events) <= shown


async def test_a_client_that_closes_with_4000_is_gone_at_once() -> None:
    async with running_server(resume_grace=30) as server, ProtocolClient(server.ws_url("WEB", "web")) as watcher:
        for code in (1000, session.GOODBYE):
            async with ProtocolClient(server.ws_url("DEVICE", f"cam-{code}")) as device:
                await device.expect("welcome")
                await watcher.expect("device_online")
                await device.ws.close(code=code)
        assert await watcher.expect("device_offline") == {"device": f"cam-{session.GOODBYE}"}
        await watcher.send("list_devices")
        assert await watcher.expect("devices") == {"devices": [{"device": "cam-1000", "state": "available"}]}


# --- the examples --------------------------------------------------------------------------------------------------


@pytest.fixture
async def page_url() -> AsyncIterator[str]:
    """Serve an empty page as its author would: by a web server of its own."""

    async def empty(_request: web.Request) -> web.Response:
        return web.Response(text='<!doctype html><link rel="icon" href="data:,"><body>', content_type="text/html")

    app = web.Application()
    app.router.add_get("/", empty)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}".format(*runner.addresses[0][:2])
    await runner.cleanup()


@pytest.mark.timeout(120)
async def test_the_two_examples_show_a_picture(page_url: str) -> None:
    (python,), (javascript,) = blocks("python"), blocks("javascript")
    example: dict[str, Any] = {"__name__": "example"}
    exec(compile(python, "PROTOCOL.md", "exec"), example)  # noqa: S102  ours, and to run it is the point
    (url,) = re.findall(r'device\("ws://127\.0\.0\.1:8002(.*)"\)', python)
    async with running_server(stop_grace=0) as server:
        rule = f"MAP 127.0.0.1:{PORT} 127.0.0.1:{server.port}"
        async with running_chromium([f"--host-resolver-rules={rule}"]) as chromium:
            device = asyncio.create_task(example["device"](server.server_url + url))
            try:
                page = await chromium.open(page_url)
                await page.add_script_tag(content=javascript, type="module")
                await page.wait_for_function("() => document.querySelector('video')?.videoWidth > 0")
                assert await page.locator("video").count() == 1
                # It was stopped for want of viewers, and is there for the next one.
                await page.reload()
                await page.add_script_tag(content=javascript, type="module")
                await page.wait_for_function("() => document.querySelector('video')?.videoWidth > 0")
            finally:
                device.cancel()
                await asyncio.gather(device, return_exceptions=True)
            await expect(page.locator("video")).to_have_count(0)  # told that the device has gone
