"""Bugs of ours, put where packets, timers and news pass: what they concern ends and is told of, the rest goes on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from sfu import Engine, EngineSettings, SubscriptionEnded
from sfu.consumer import Consumer
from sfu.faults import MAX_LOGGED_PER_MINUTE, Faults
from sfu.peer import State
from sfu.transport.dtls import MediaTransport
from sfu.transport.ice import IceLite
from sfu.transport.udp import UdpPath
from tests.helpers.peers import CountingTrack, Events, frames, publisher, running_engine, until, viewer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu import EngineEvent


class InjectedError(Exception):
    """The bug."""


def fail(*_: object, **__: object) -> NoReturn:
    raise InjectedError


def failing_of(owner: Callable[[Any], bool], original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that fails for one object."""

    def method(self: Any, *args: Any) -> Any:
        if owner(self):
            fail()
        return original(self, *args)

    return method


async def assert_one_ends(engine: Engine, events: Events, name: str = "peer_crashed") -> None:
    ended = await events.expect(SubscriptionEnded)
    assert (ended.subscription, ended.reason) == (11, "internal_error")
    assert engine.census.faults() == {name: 1}


@pytest.mark.parametrize("seam", ["its packets", "its packets, alone", "its RTCP", "its timer", "its DTLS", "its end"])
async def test_one_viewers_bug_ends_that_viewer(seam: str, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    async with running_engine(is_sound=False) as (engine, events), publisher(engine, events, 1, CountingTrack()):
        async with viewer(engine, 11, 1) as unlucky, viewer(engine, 12, 1) as other:
            await frames(unlucky.tracks[0], 3)
            await frames(other.tracks[0], 3)
            peer = engine._subscriptions[11].peer
            if seam == "its end":
                monkeypatch.setattr(peer.media, "close", fail)
            if seam == "its packets, alone":
                await engine.unsubscribe(12)
            if seam.startswith("its packets"):
                monkeypatch.setattr(Consumer, "outlet", property(lambda _: None))  # each takes its packets itself
                monkeypatch.setattr(
                    Consumer, "forward", failing_of(lambda consumer: consumer._peer is peer, Consumer.forward)
                )
            elif seam == "its timer":
                monkeypatch.setattr(peer.media, "next_deadline", fail)
            elif seam == "its DTLS":
                monkeypatch.setattr(peer, "handle_dtls", fail)
                sock = engine._port._sockets[0]
                address = next(address for address, path in sock.paths.items() if path.endpoint is peer)
                engine._port.dispatch(sock.paths[address], b"\x16", 0.0)
            else:
                monkeypatch.setattr(peer.media, "handle_rtcp", fail)
            if seam == "its end":
                ended = await events.expect(SubscriptionEnded)
                assert ended.reason == "internal_error"
                assert engine.census.faults() == {"peer_crashed": 1, "peer_close_failed": 1}
                monkeypatch.undo()
            else:
                await assert_one_ends(engine, events)
            assert 11 not in engine._subscriptions
            if seam != "its packets, alone":
                await frames(other.tracks[0], 10)
    logged = [
        record for record in caplog.records if record.levelno >= logging.ERROR and record.name.startswith("aiosfu")
    ]
    assert len(logged) == (2 if seam == "its end" else 1)
    assert "subscription 11" in str(vars(logged[0])["fields"])
    assert logged[0].exc_info[0] is InjectedError


async def test_a_bug_of_who_is_told_costs_no_media() -> None:
    events = Events()

    def listener(event: EngineEvent) -> None:
        events.queue.put_nowait(event)
        fail()

    engine = Engine(EngineSettings(), listener)
    await engine.start()
    try:
        async with publisher(engine, events, 1, CountingTrack()), viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 3)
            assert set(engine.census.faults()) == {"listener_failed"}
    finally:
        await engine.stop()


async def test_a_bug_at_a_strangers_datagram_or_at_one_path_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_engine(is_sound=False) as (engine, events), publisher(engine, events, 1, CountingTrack()):
        async with viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 3)
            port, sock = engine._port, engine._port._sockets[0]
            with monkeypatch.context() as patch:
                patch.setattr(IceLite, "handle_request", fail)
                patch.setattr("sfu.transport.port.request_ufrag", fail)
                port.dispatch_unknown(UdpPath(sock, ("127.0.0.1", 9)), b"\x00\x01", 0.0)
            assert engine.census.faults()["datagram_failed"] == 1
            broken = UdpPath(sock, ("127.0.0.1", 9))
            monkeypatch.setattr(UdpPath, "flush", failing_of(lambda path: path is broken, UdpPath.flush))
            broken.send(b"first in the queue")
            port.flush()
            assert engine.census.faults()["datagram_failed"] == 2
            await frames(watcher.tracks[0], 10)
            await until(lambda: engine._subscriptions[11].peer.state.value == "connected")


def test_a_fault_that_comes_again_and_again_is_counted_and_fills_no_log(caplog: Any) -> None:
    now = 0.0
    faults = Faults(lambda: now)
    shielded = faults.shield("it_failed", fail)
    for _ in range(MAX_LOGGED_PER_MINUTE + 10):
        shielded()
    assert faults.counts == {"it_failed": MAX_LOGGED_PER_MINUTE + 10}
    assert len(caplog.records) == MAX_LOGGED_PER_MINUTE
    now = 60.0
    shielded()
    assert len(caplog.records) == MAX_LOGGED_PER_MINUTE + 1


async def test_a_connection_that_is_closed_in_the_moment_it_connects_stays_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_engine() as (engine, events), publisher(engine, events, 1, CountingTrack()):
        original = MediaTransport.connect
        closed: list[Any] = []

        async def connect(transport: MediaTransport, *args: Any) -> bool:
            # As a closing during the last step of the handshake that does not get through to it.
            is_connected = await original(transport, *args)
            closed.append(engine._subscriptions[11].peer)
            engine._end_subscription(engine._subscriptions[11])
            task = asyncio.current_task()
            assert task is not None
            assert task.uncancel() == 0
            return is_connected

        monkeypatch.setattr(MediaTransport, "connect", connect)
        async with viewer(engine, 11, 1):
            await until(lambda: bool(closed) and closed[0].transport._task is None)
            assert engine.census.faults() == {}
            assert closed[0].state is State.CLOSED
            assert closed[0] not in engine._port._endpoints.values()
