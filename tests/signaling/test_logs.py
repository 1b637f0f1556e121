"""Logs: one line an event, in two styles; what happened to a client is found by its ids; secrets are in none."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from signaling import logs
from signaling.logs import EventLog
from tests.helpers.server import running_server, until
from tests.helpers.stock import Peer, receive_each
from tests.helpers.tokens import SECRET, token

if TYPE_CHECKING:
    from collections.abc import Iterator

log = EventLog("signaling.test")


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Return where logs go; afterwards logging is as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    ours = {name: logging.getLogger(name).level for name in ("signaling", "sfu", "aiosfu")}
    yield io.StringIO()
    root.handlers[:], level = before
    root.setLevel(level)
    for name, level in ours.items():
        logging.getLogger(name).setLevel(level)


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_json_has_one_object_a_line_with_the_fields_as_they_are(written: io.StringIO) -> None:
    logs.configure("info", written, "json")
    log.info("happened", count=3, ratio=0.5, known=None, flag=True, text='two\nlines "and" more', level="mine")
    log.debug("not_written")
    logging.getLogger("aiosfu.engine").info("feed_connected", extra={"fields": {"feed": 7}})
    logging.getLogger("elsewhere").warning("something %s", "odd")
    first, second, third = lines(written)
    assert first | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "signaling.test",
        "event": "happened",
        "count": 3,
        "ratio": 0.5,
        "known": None,
        "flag": True,
        "text": 'two\nlines "and" more',
        "level_": "mine",
    }
    assert first["time"].endswith("+00:00")
    assert (second["event"], second["feed"]) == ("feed_connected", 7)
    assert third["event"] == "something odd"


def test_pretty_lines_have_the_engines_fields_too(written: io.StringIO) -> None:
    logs.configure("info", written)
    log.info("happened", text="two\nlines", count=3)
    logging.getLogger("aiosfu.engine").info("feed_connected", extra={"fields": {"feed": 7}})
    first, second = written.getvalue().splitlines()
    assert first.endswith('INFO signaling.test happened text="two\\nlines" count=3')
    assert second.endswith("INFO aiosfu.engine feed_connected feed=7")


def test_a_bug_has_its_traceback_and_its_reference_on_one_line(written: io.StringIO) -> None:
    logs.configure("info", written, "json")
    try:
        int("odd")
    except ValueError as error:
        reference = log.bug("failed", error, client="anna")
    (line,) = lines(written)
    assert line["reference"] == reference
    assert "ValueError: invalid literal" in line["traceback"]


def test_events_are_counted_whether_or_not_they_are_written(written: io.StringIO) -> None:
    logs.configure("error", written, "json")
    before = logs.event_counts()
    log.info("counted_here", code="bad_data", other="x")
    log.info("counted_here", code="bad_data", other="y")
    assert logs.event_counts()["counted_here", "bad_data"] == before.get(("counted_here", "bad_data"), 0) + 2
    assert written.getvalue() == ""


async def test_what_happened_to_a_client_is_found_by_its_ids(written: io.StringIO) -> None:
    logs.configure("info", written, "json")
    async with running_server(auth_secret=SECRET) as server:
        secrets = [token("web"), token("cam", "DEVICE")]
        async with Peer(server.ws_url("WEB", "web", secrets[0])) as web:
            async with Peer(server.ws_url("DEVICE", "cam", secrets[1])) as device:
                room = await web.open_room()
                await web.invite(room)
                await device.accept_invitation()
                feed = (await web.expect("start_listening"))["feed"]
                await receive_each(await web.subscribe(room, feed))
                await web.send("stop_receiving", {"feed": 1})
                await web.expect("error")
            await web.expect("stop_listening")
        await server.wait_empty()
    found = lines(written)
    sessions = {line["client"]: line["session"] for line in found if line["event"] == "client_connected"}
    of_web = [line for line in found if line.get("client") == "web"]
    of_cam = [line for line in found if line.get("client") == "cam"]
    assert {line["session"] for line in of_web} == {sessions["web"]}
    assert {line["session"] for line in of_cam} == {sessions["cam"]}
    assert [line["event"] for line in of_web] == [
        *("client_connected", "room_opened", "room_joined", "devices_invited", "subscription_offered"),
        *("subscription_connected", "first_frame_sent", "client_error", "client_gone"),
    ]
    assert [line["event"] for line in of_cam] == [
        *("client_connected", "device_invited", "room_joined", "publication_answered", "feed_flowing", "client_gone"),
    ]
    for line in found:
        if "room" in line:
            assert line["room"] == room
        if "feed" in line:
            assert line["feed"] == feed
    times = {line["event"]: line["seconds"] for line in found if "seconds" in line}
    assert 0 < times["subscription_connected"] < times["first_frame_sent"] < 10
    text = written.getvalue()
    assert not [secret for secret in (SECRET, *secrets, web.resume, "a=ice-pwd") if secret and secret in text]


async def test_dropped_messages_are_counted_and_not_written(written: io.StringIO) -> None:
    logs.configure("info", written, "json")
    before = logs.event_counts().get(("message_dropped", "rate_limited"), 0)
    async with running_server(rate_limit_per_second=1, rate_limit_burst=1) as server:
        async with Peer(server.ws_url("WEB", "web")) as web:
            for _ in range(50):
                await web.send("list_devices")
            await until(lambda: logs.event_counts().get(("message_dropped", "rate_limited"), 0) >= before + 49)
    assert "message_dropped" not in written.getvalue()
