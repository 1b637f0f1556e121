"""Media over TCP: RFC 4571 framing on the same port number, for a peer that cannot use UDP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from typing import TYPE_CHECKING, Any, Self

import pytest

from sfu import FeedEnded
from sfu.transport.tcp import MAX_FRAME_BYTES, MAX_UNPROVED_FRAMES
from tests.helpers.peers import WAIT_SECONDS, CountingTrack, frames, publisher, running_engine, until, viewer

if TYPE_CHECKING:
    from tests.helpers.peers import Peer

LENGTH = struct.Struct("!H")


class TcpTunnel:
    """Carry a stock client's datagrams over one TCP connection: aiortc itself has no ICE-TCP.

    To the client it is the server's UDP address; to the server, a client that connects over TCP.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.writer: asyncio.StreamWriter | None = None
        self.address: Any = None
        self.transport: Any = None
        self.reader_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), ("127.0.0.1", 0))
        self.reader_task = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.reader_task is not None
        assert self.writer is not None
        self.reader_task.cancel()
        await asyncio.gather(self.reader_task, return_exceptions=True)
        self.transport.close()
        self.writer.close()

    def redirect(self, sdp: str) -> str:
        """Return the SDP with the tunnel's address in place of the server's UDP candidates, and none of TCP."""
        number = self.transport.get_extra_info("sockname")[1]
        lines = [line for line in sdp.splitlines() if not (line.startswith("a=candidate") and " tcp " in line)]
        return "\r\n".join(line.replace(f" {self.port} typ", f" {number} typ") for line in lines) + "\r\n"

    def from_client(self, data: bytes, address: Any) -> None:
        self.address = address
        assert self.writer is not None
        self.writer.write(LENGTH.pack(len(data)) + data)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                (length,) = LENGTH.unpack(await reader.readexactly(2))
                data = await reader.readexactly(length)
            except asyncio.IncompleteReadError:
                return
            self.transport.sendto(data, self.address)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, tunnel: TcpTunnel) -> None:
        self.tunnel = tunnel

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.tunnel.from_client(data, addr)


async def test_a_viewer_that_has_only_tcp_sees_the_same_packets() -> None:
    async with running_engine() as (engine, events), publisher(engine, events, 1, CountingTrack()) as device:
        async with TcpTunnel(engine.port) as tunnel, viewer(engine, 11, 1, change=tunnel.redirect) as watcher:
            await frames(watcher.tracks[0], 10)
            assert engine.statistics().subscriptions[0].peer.protocol == "tcp"
            sent = [packet.payload for packet in device.sent]
            assert all(packet.payload in sent for packet in watcher.received)


async def test_a_connection_that_breaks_leaves_its_peer_to_find_another_path() -> None:
    async with running_engine(consent_timeout=1.0) as (engine, events):
        async with publisher(engine, events, 1, CountingTrack()):
            async with TcpTunnel(engine.port) as tunnel, viewer(engine, 11, 1, change=tunnel.redirect) as watcher:
                await frames(watcher.tracks[0], 3)
                peer = engine._subscriptions[11].peer
                assert tunnel.writer is not None
                tunnel.writer.transport.abort()
                await until(lambda: peer.ice.selected is None)
                await until(lambda: peer.drops["no_path"] > 0)
        await events.expect(FeedEnded)


def frame(data: bytes) -> bytes:
    return LENGTH.pack(len(data)) + data


async def assert_closed(reader: asyncio.StreamReader) -> None:
    """Wait for the end of the connection, which is a reset where the server had not read everything."""
    async with asyncio.timeout(WAIT_SECONDS):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(b"GET / HTTP/1.1\r\n\r\n"), "unknown_address"),
        (frame(b"\x00\x01garbage"), "stun_malformed"),
        (frame(b""), "unknown_address"),
        (LENGTH.pack(MAX_FRAME_BYTES + 1) + os.urandom(100), "tcp_frame_too_long"),
    ],
)
async def test_strangers_over_tcp_are_dropped_and_counted(data: bytes, reason: str) -> None:
    async with running_engine() as (engine, _events):
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        # In pieces, as a network may deliver it.
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
        await until(lambda: engine._port.drops[reason] == 1)
        if reason == "tcp_frame_too_long":
            await assert_closed(reader)
        writer.close()


async def test_who_connects_and_proves_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfu.transport.tcp.PROOF_TIMEOUT_SECONDS", 0.05)
    async with running_engine() as (engine, _events):
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        await assert_closed(reader)
        assert engine._port.drops["tcp_unproved"] == 1
        writer.close()


async def test_who_sends_much_and_proves_nothing_is_closed() -> None:
    async with running_engine() as (engine, _events):
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        writer.write(frame(b"") * 50_000)
        await assert_closed(reader)
        assert engine._port.drops["tcp_unproved"] == 1
        assert engine._port.drops["unknown_address"] == MAX_UNPROVED_FRAMES
        writer.close()


async def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfu.transport.tcp.MAX_CONNECTIONS", 2)
    async with running_engine() as (engine, _events):
        kept = [await asyncio.open_connection("127.0.0.1", engine.port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        await assert_closed(reader)
        assert engine._port.drops["tcp_full"] == 1
        for _, other in [*kept, (reader, writer)]:
            other.close()


async def test_a_viewer_that_stops_reading_loses_whole_frames_and_holds_little() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, CountingTrack(keyframe_only=True)) as device:
            async with TcpTunnel(engine.port) as tunnel, viewer(engine, 11, 1, change=tunnel.redirect) as watcher:
                await frames(watcher.tracks[0], 3)
                (consumer,) = engine._subscriptions[11].subscriber.consumers
                path: Any = engine._subscriptions[11].peer.ice.selected
                path._transport.pause_reading()
                path._is_full = lambda: True
                await until(lambda: consumer.drops["not_sent"] > 3)
                path._is_full = lambda: False
                before = consumer.packets
                await until(lambda: consumer.packets > before + 10)
                assert engine._port.drops["tcp_buffer_full"] >= 3
                _assert_whole_frames(device, watcher)


def _assert_whole_frames(device: Peer, watcher: Peer) -> None:
    """Every frame of which a packet arrived arrived whole, but for the last one, which may still be coming."""
    sizes: dict[int, int] = {}
    for packet in device.sent:
        sizes[packet.timestamp] = sizes.get(packet.timestamp, 0) + len(packet.payload)
    whole = set(sizes.values())
    got: dict[int, int] = {}
    for packet in watcher.received:
        got[packet.timestamp] = got.get(packet.timestamp, 0) + len(packet.payload)
    assert all(size in whole for size in list(got.values())[:-1])


async def test_who_floods_over_tcp_is_not_read_until_its_block_ends() -> None:
    async with running_engine(max_packet_rate=1000) as (engine, events):
        async with publisher(engine, events, 1, CountingTrack()), TcpTunnel(engine.port) as tunnel:
            async with viewer(engine, 11, 1, change=tunnel.redirect) as watcher:
                await frames(watcher.tracks[0], 3)
                peer = engine._subscriptions[11].peer
                transport = watcher.pc.getTransceivers()[0].receiver.transport
                packet = bytes(watcher.received[-1].serialize())
                path: Any = peer.ice.selected
                for number in range(10_000):
                    await transport._send_rtp(packet[:2] + number.to_bytes(2, "big") + packet[4:])
                    await asyncio.sleep(0)  # the client's send does not yield
                    if path._resume is not None:
                        break
                assert not path._transport.is_reading()
                await until(lambda: path._resume is None)
                assert path._transport.is_reading()
                await frames(watcher.tracks[0], 3)


async def test_the_port_goes_on_after_torn_connections() -> None:
    async with running_engine() as (engine, events):
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", engine.port)
            writer.write(os.urandom(50))
            writer.transport.abort()
        async with publisher(engine, events, 1, CountingTrack()), viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 3)
