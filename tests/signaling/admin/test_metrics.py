"""`/metrics` against what a real device sent and a real viewer got in the same run; who may scrape; bounded labels."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.server import ProtocolClient, RunningServer, running_server, until
from tests.helpers.stock import Peer, receive_each
from tests.helpers.tokens import SECRET, token

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

ROOT = Path(__file__).parents[3]
LABELS = {"direction", "kind", "role", "presence", "state", "reason", "where", "event", "code", "le", "generation"}
LABELS |= {"version", "protocol", "python", "what"}
LABEL_VALUE = re.compile(r"[A-Za-z_]*|[0-9.+Inf]+|\d+\.\d+\S*")
PARAGRAPH = """
aiosfu_build_info aiosfu_rooms aiosfu_participants aiosfu_feeds aiosfu_subscriptions aiosfu_viewers aiosfu_sockets
aiosfu_rtp_packets_total aiosfu_rtp_payload_bytes_total aiosfu_rtp_packets_lost_total aiosfu_events_total
aiosfu_rtp_packets_retransmitted_total aiosfu_keyframe_requests_total aiosfu_keyframes_total aiosfu_kernel_drops_total
aiosfu_join_seconds_bucket aiosfu_first_frame_seconds_bucket aiosfu_publish_seconds_bucket
aiosfu_event_loop_lag_seconds_bucket process_cpu_seconds_total process_resident_memory_bytes process_open_fds
aiosfu_media_socket_buffer_bytes aiosfu_http_connections_closed_total aiosfu_draining aiosfu_instant_starts_total
aiosfu_bugs_total
"""
"""What issue 6 asks for."""


async def fetch(server: RunningServer, path: str = "/metrics", **headers: str) -> tuple[int, str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as http, http.get(server.http_url + path, headers=named) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def scrape(server: RunningServer) -> Samples:
    status, _, text = await fetch(server)
    assert status == 200
    return samples(text)


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def settled(server: RunningServer) -> Samples:
    """Return a scrape after which media has stopped: two in a row that are not from the cache agree on it."""
    before: list[float] = []
    while True:
        found = await scrape(server)
        now = [value for (name, _), value in found.items() if name == "aiosfu_rtp_packets_total"]
        if now == before:
            return found
        before = now
        await asyncio.sleep(0.3)  # longer than a scrape is cached


async def counted(connection: RTCPeerConnection, type_: str, field: str) -> dict[str, int]:
    """Return a stock client's own numbers, by kind."""
    report: dict[str, Any] = await connection.getStats()
    return {each.kind: getattr(each, field) for each in report.values() if each.type == type_}


async def test_it_tells_what_the_device_sent_and_the_viewer_got() -> None:
    async with running_server() as server:
        loop = asyncio.get_running_loop()
        async with Peer(server.ws_url("WEB", "anna")) as web, Peer(server.ws_url("DEVICE", "cam")) as device:
            room = await web.open_room()
            await web.invite(room)
            source = await device.accept_invitation()
            feed = (await web.expect("start_listening"))["feed"]
            asked = loop.time()
            tracks = await web.subscribe(room, feed)
            await receive_each(tracks)
            first_frame = loop.time() - asked
            for _ in range(20):
                await receive_each(tracks)
            _, over_tcp = await asyncio.open_connection("127.0.0.1", server.engine.port)
            found = await scrape(server)
            over_tcp.close()
            assert of(found, "aiosfu_sockets", kind="media_tcp") == 1
            assert of(found, "aiosfu_viewers") == 1
            assert of(found, "aiosfu_feeds", state="flowing") == 1
            assert of(found, "aiosfu_participants", role="WEB", presence="online") == 1
            assert of(found, "aiosfu_sockets", kind="websocket") == 2
            for sender in source.getSenders():
                sender.replaceTrack(None)
            found = await settled(server)
            sent = await counted(source, "outbound-rtp", "packetsSent")
            got = await counted(web.connections[0], "inbound-rtp", "packetsReceived")
            for kind in ("audio", "video"):
                assert of(found, "aiosfu_rtp_packets_total", direction="in", kind=kind) == sent[kind]
                out = of(found, "aiosfu_rtp_packets_total", direction="out", kind=kind)
                again = of(found, "aiosfu_rtp_packets_retransmitted_total", direction="out", kind=kind)
                assert out <= got[kind] <= out + again
                assert of(found, "aiosfu_rtp_packets_lost_total", direction="in", kind=kind) == 0
            assert of(found, "aiosfu_first_frame_seconds_count") == 1
            assert of(found, "aiosfu_join_seconds_sum") <= of(found, "aiosfu_first_frame_seconds_sum") < first_frame
            assert of(found, "aiosfu_first_frame_seconds_sum") > first_frame - 1
            assert of(found, "aiosfu_publish_seconds_count") == 1
            assert of(found, "aiosfu_keyframes_total", kind="video") >= 1
        await server.wait_empty()
        after = await settled(server)
        fallen = [key for key, value in found.items() if key[0].endswith("_total") and after[key] < value]
        assert not fallen
        assert of(after, "aiosfu_viewers") == 0


async def test_it_has_what_was_asked_for_under_labels_that_are_bounded() -> None:
    async with running_server() as server:
        async with ProtocolClient(server.ws_url("WEB", "some-client-id")) as web:
            await web.send("nonsense")
            await web.expect_error("unknown_event")
            await until(lambda: server.service.sessions)
            _, _, text = await fetch(server)
        found = samples(text)
        assert set(PARAGRAPH.split()) - {name for name, _ in found} == set()
        assert {label for _, labels in found for label, _ in labels} <= LABELS
        values = {value for _, labels in found for _, value in labels}
        assert [value for value in values if not LABEL_VALUE.fullmatch(value)] == []
        assert "some-client-id" not in text
        assert of(found, "aiosfu_events_total", event="client_error", code="unknown_event") >= 1


async def test_it_speaks_openmetrics_too() -> None:
    async with running_server() as server:
        _, plain, _ = await fetch(server)
        assert plain.startswith("text/plain; version=0.0.4")
        _, newer, text = await fetch(server, Accept="application/openmetrics-text;version=1.0.0")
        assert newer.startswith("application/openmetrics-text")
        families = parse_openmetrics(text)  # type: ignore[no-untyped-call]  # the library's own
        assert "aiosfu_rooms" in {family.name for family in families}


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({}, {}, 200),
        ({}, {"X_Forwarded_For": "203.0.113.9"}, 403),
        ({"trusted_proxy": ("127.0.0.1",)}, {"X_Forwarded_For": "203.0.113.9"}, 403),
        (
            {"trusted_proxy": ("127.0.0.1",), "metrics_network": ("203.0.113.0/24",)},
            {"X_Forwarded_For": "203.0.113.9"},
            200,
        ),
        ({"auth_secret": SECRET}, {}, 200),
        ({"auth_secret": SECRET}, {"X_Forwarded_For": "203.0.113.9"}, 403),
        ({"auth_secret": SECRET}, {"X_Forwarded_For": "203.0.113.9", "Authorization": "Bearer nonsense"}, 401),
    ],
)
async def test_who_may_scrape(settings: dict[str, Any], headers: dict[str, str], status: int) -> None:
    async with running_server(**settings) as server:
        got, _, _ = await fetch(server, **headers)
        assert got == status
        if "Authorization" in headers:
            good = {**headers, "Authorization": f"Bearer {token('prometheus', admin=True)}"}
            assert (await fetch(server, **good))[0] == 200


async def test_a_late_loop_is_measured() -> None:
    async with running_server() as server:
        before = await scrape(server)
        loop = asyncio.get_running_loop()
        until_then = loop.time() + 0.3
        while loop.time() < until_then:
            pass  # what a server should never do: hold the event loop
        await until(lambda: loop.time() > until_then + 0.3)
        after = await scrape(server)
        name, slow = "aiosfu_event_loop_lag_seconds_bucket", {"le": "0.1"}
        late = of(after, "aiosfu_event_loop_lag_seconds_count") - of(after, name, **slow)
        assert late > of(before, "aiosfu_event_loop_lag_seconds_count") - of(before, name, **slow)


async def families_of(server: RunningServer) -> dict[str, str]:
    """Return the help of each metric by the name under which it is asked for."""
    _, _, text = await fetch(server)
    return {
        family.name + ("_total" if family.type == "counter" else ""): family.documentation
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }


async def test_the_document_and_the_dashboard_name_what_there_is() -> None:
    async with running_server() as server:
        found = await families_of(server)
    rows = re.findall(
        r"^\| `(aiosfu_\w+)` \| [^|]* \| (.+) \|$", (ROOT / "docs/observability.md").read_text(), re.MULTILINE
    )
    assert dict(rows) == {name: text for name, text in found.items() if name.startswith("aiosfu_")}
    dashboard = json.loads((ROOT / "deploy/grafana/aiosfu.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked += [variable["definition"] for variable in dashboard["templating"]["list"] if "definition" in variable]
    names = {name for query in asked for name in re.findall(r"\b(?:aiosfu|process)_\w+", query)}
    assert len(asked) > 30
    assert {name.removesuffix("_bucket") for name in names} - set(found) == set()
    labels = {label for query in asked for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")}
    assert labels <= LABELS | {"instance"}
    places = [(panel["gridPos"]["x"] + panel["gridPos"]["w"], panel["id"]) for panel in dashboard["panels"]]
    assert max(right for right, _ in places) == 24
    assert len({number for _, number in places}) == len(places)
