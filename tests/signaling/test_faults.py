"""Bugs of ours, put where messages, timers and decisions pass: one client's connection ends, the rest goes on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from aiohttp import ClientSession

from signaling import effects, faults, inputs, protocol, rooms, session
from signaling.events.schema import protocol_schema
from signaling.faults import INTERNAL_ERROR
from signaling.logs import bug_count, event_counts
from signaling.service import Service
from signaling.session import Session
from signaling.state import AbsenceEnds
from tests.helpers.house import ALICE, BOB, CAM, House
from tests.helpers.server import ProtocolClient, RunningServer, running_server, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

UNLUCKY = "unlucky"


class InjectedError(Exception):
    """The bug."""


def fail(*_: object, **__: object) -> NoReturn:
    raise InjectedError


def failing_for_one(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of `Session` that fails for one client."""

    def method(self: Session, *args: Any) -> Any:
        if self.client.id == UNLUCKY:
            fail()
        return original(self, *args)

    return method


def bugs(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running_server(heartbeat_interval=0.1, heartbeat_timeout=1) as running:
        yield running


@pytest.mark.parametrize(
    ("seam", "event"),
    [
        ("message_received", "session_failed"),
        ("flush", "session_failed"),
        ("writable", "session_failed"),
        ("beat", "session_failed"),
        ("send", "effect_failed"),
    ],
)
async def test_a_bug_in_one_session_ends_it_with_a_clear_code(
    server: RunningServer, seam: str, event: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before, bugs_before = event_counts().get((event, ""), 0), bug_count()
    async with (
        ProtocolClient(server.ws_url("WEB", UNLUCKY)) as unlucky,
        ProtocolClient(server.ws_url("WEB", "other")) as other,
    ):
        for client in (unlucky, other):
            await client.expect("welcome")
        monkeypatch.setattr(Session, seam, failing_for_one(getattr(Session, seam)))
        if seam == "writable":
            socket: Any = server.service.sessions[effects.Client(protocol.Role.WEB, UNLUCKY)]
            socket._socket.resume_writing()
        else:
            await unlucky.send("create_room")  # `beat` comes by itself
        await unlucky.expect_close(INTERNAL_ERROR)
        await until(lambda: len(server.service.sessions) == 1)
        await other.send("create_room")
        await other.expect("room_created")
        await other.ws.ping()
    (record,) = bugs(caplog)
    assert record.exc_info is not None
    assert record.exc_info[0] is InjectedError
    assert UNLUCKY in record.getMessage()
    assert event_counts()[event, ""] == before + 1
    assert bug_count() == bugs_before + 1


async def test_the_hearts_of_the_others_beat_on(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[str] = []
    beat = Session.beat

    def counted(self: Session, now: float) -> float:
        beats.append(self.client.id)
        return failing_for_one(beat)(self, now)  # type: ignore[no-any-return]  # it is `beat`

    monkeypatch.setattr(Session, "beat", counted)
    async with (
        ProtocolClient(server.ws_url("WEB", UNLUCKY)) as unlucky,
        ProtocolClient(server.ws_url("WEB", "other")),
    ):
        await unlucky.expect_close(INTERNAL_ERROR)
        seen = len(beats)
        await until(lambda: beats[seen:].count("other") >= 3)
    assert beats.count(UNLUCKY) == 1


async def test_a_bug_while_closing_cuts_the_connection_off(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with ProtocolClient(server.ws_url("WEB", UNLUCKY)) as unlucky:
        await unlucky.expect("welcome")
        monkeypatch.setattr(Session, "_close", failing_for_one(Session._close))
        server.service.sessions[effects.Client(protocol.Role.WEB, UNLUCKY)].stop(session.OK, "")
        await unlucky.expect_close(1006)
    assert len(bugs(caplog)) == 1
    await server.wait_empty()


async def test_a_bug_while_a_client_is_let_in_is_told_and_leaves_nothing(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Session, "open", failing_for_one(Session.open))
        async with ProtocolClient(server.ws_url("WEB", UNLUCKY)) as unlucky:
            error = await unlucky.expect_error("internal")
            await unlucky.expect_close(INTERNAL_ERROR)
    (record,) = bugs(caplog)
    reference = str(vars(record)["fields"]["reference"])
    assert reference in error["message"]
    await server.wait_empty()
    async with ProtocolClient(server.ws_url("WEB", UNLUCKY)) as again:
        await again.expect("welcome")


def test_a_bug_at_one_timer_loses_nothing_of_what_is_due_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    house.connect(ALICE, BOB, CAM)
    for client in (ALICE, BOB, CAM):
        house(inputs.ClientAbsent(client))
    expire = rooms._EXPIRIES[AbsenceEnds]

    def failing(turn: Any, key: AbsenceEnds) -> None:
        if key.client == BOB:
            fail()
        expire(turn, key)

    monkeypatch.setitem(rooms._EXPIRIES, AbsenceEnds, failing)
    found = house.wait(3600)
    assert [effect for effect in found if isinstance(effect, effects.Forget)] == [
        effects.Forget(ALICE),
        effects.Forget(CAM),
    ]
    (fault,) = [effect for effect in found if isinstance(effect, effects.Fault)]
    assert (fault.timer, type(fault.error)) == ("AbsenceEnds", InjectedError)


async def test_a_timers_bug_is_logged(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    server.service._carry_out(effects.Fault("RoomEnds", InjectedError()))
    (record,) = bugs(caplog)
    assert "timer_failed" in record.getMessage()


async def test_a_bug_in_a_page_is_answered_with_its_reference(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert protocol_schema()
    monkeypatch.setattr("signaling.app.protocol_schema", fail)
    async with ClientSession() as http, http.get(f"{server.http_url}/protocol.json") as response:
        assert response.status == 500
        text = await response.text()
    (record,) = bugs(caplog)
    assert str(vars(record)["fields"]["reference"]) in text


async def test_what_nobody_catches_is_logged_with_what_it_concerned(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    faults.watch(loop)
    try:
        loop.call_soon(fail)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        loop.call_exception_handler({"message": "a warning of the loop"})
    finally:
        loop.set_exception_handler(before)
    uncaught, complaint = caplog.records
    assert uncaught.getMessage().startswith("uncaught ")
    assert uncaught.exc_info is not None
    assert "a warning of the loop" in complaint.getMessage()


async def test_news_that_fail_end_nobody(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with ProtocolClient(server.ws_url("WEB", "other")) as other:
        await other.expect("welcome")
        with monkeypatch.context() as patch:
            patch.setattr(server.service.rooms, "handle", fail)
            Service._take_news(server.service, inputs.Tick())
        await other.send("create_room")
        await other.expect("room_created")
    (record,) = bugs(caplog)
    assert "news_failed" in record.getMessage()


async def test_the_engines_bugs_are_in_the_metrics(server: RunningServer) -> None:
    counted = server.engine._port.faults
    counted.report("peer_crashed", InjectedError(), peer="feed 1")
    async with ClientSession() as http, http.get(f"{server.http_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    assert 'aiosfu_media_faults_total{what="peer_crashed"} 1.0' in lines
    assert f"aiosfu_bugs_total {bug_count() + 1:.1f}" in lines
    counted.counts.clear()  # as far as the server's end is concerned there was none
