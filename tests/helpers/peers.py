"""Stock aiortc peers against a real engine over real sockets."""

from __future__ import annotations

import asyncio
import fractions
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import VideoStreamTrack
from aiortc.rtp import RtpPacket

from sfu import Engine, EngineEvent, EngineSettings, FeedStarted, Publication

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

WAIT_SECONDS = 10.0
"""An upper bound for what happens within milliseconds; a test that needs it has failed."""


EventT = TypeVar("EventT")


class Events:
    """The engine's news, in order."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[EngineEvent] = asyncio.Queue()
        self.passed: list[EngineEvent] = []

    async def expect(self, kind: type[EventT]) -> EventT:
        """Return the next event of a kind; others before it are passed over and can be had from `passed`."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                event = await self.queue.get()
                if isinstance(event, kind):
                    return event
                self.passed.append(event)

    def waiting(self, kind: type[EventT]) -> list[EventT]:
        """Return the events of a kind that have come and that nobody has expected."""
        while not self.queue.empty():
            self.passed.append(self.queue.get_nowait())
        return [event for event in self.passed if isinstance(event, kind)]


@asynccontextmanager
async def running_engine(*, is_sound: bool = True, **settings: Any) -> AsyncIterator[tuple[Engine, Events]]:
    """Run an engine on 127.0.0.1; afterwards nothing of it may be left. Unless `is_sound` it may have had faults."""
    events = Events()
    engine = Engine(EngineSettings(**settings), events.queue.put_nowait)
    await engine.start()
    try:
        yield engine, events
    finally:
        await engine.stop()
        assert not engine._feeds
        assert not engine._subscriptions
        assert not engine._port._endpoints
        assert not engine._ending
        assert not (is_sound and engine.census.faults()), engine.census.faults()
        # Stock clients may leave tasks of their own; the engine's carry names.
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("handshake")] == []


class CountingTrack(VideoStreamTrack):
    """Encoded VP8 frames, made once: what is sent is known byte for byte, and costs nothing to send.

    With `luma` every picture is of that one brightness, 16 to 235.
    """

    def __init__(self, frames: int = 30, *, keyframe_only: bool = False, luma: int | None = None) -> None:
        super().__init__()
        self._keyframe_only = keyframe_only
        self._packets = _encode(frames, keyframe_only=keyframe_only, luma=luma)
        self._next = 0

    async def recv(self) -> Any:
        pts, time_base = await self.next_timestamp()
        packet = av.Packet(self._packets[self._next % len(self._packets)])
        self._next += 1
        packet.pts = pts
        packet.time_base = time_base
        return packet


def _encode(frames: int, *, keyframe_only: bool, luma: int | None) -> list[bytes]:
    codec = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt = 320, 240, "yuv420p"
    codec.bit_rate = 300_000
    codec.time_base = fractions.Fraction(1, 30)
    codec.options = {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0", "lag-in-frames": "0"}
    encoded = []
    for number in range(frames):
        frame = av.VideoFrame(320, 240, "yuv420p")
        for index, plane in enumerate(frame.planes):
            brightness = (16 + number * 5) % 220 if luma is None else luma
            plane.update(bytes([brightness if index == 0 else 128]) * plane.buffer_size)
        frame.pts = number
        frame.pict_type = av.video.frame.PictureType.I if keyframe_only else av.video.frame.PictureType.NONE
        encoded += [bytes(packet) for packet in codec.encode(frame)]
    return encoded


@dataclass
class Peer:
    """One stock aiortc client, and every RTP packet that it sent or got."""

    pc: RTCPeerConnection
    tracks: list[MediaStreamTrack] = field(default_factory=list)
    sent: list[RtpPacket] = field(default_factory=list)
    received: list[RtpPacket] = field(default_factory=list)

    def watch(self) -> None:
        """Keep a copy of each RTP packet as it crosses the client's transport."""
        transport = self.pc.getTransceivers()[0].receiver.transport
        extensions = transport._rtp_header_extensions_map
        send, handle = transport._send_rtp, transport._handle_rtp_data

        async def send_rtp(data: bytes) -> None:
            if not 192 <= data[1] <= 223:
                self.sent.append(RtpPacket.parse(data, extensions))
            await send(data)

        async def handle_rtp(data: bytes, arrival_time_ms: int) -> None:
            self.received.append(RtpPacket.parse(data, extensions))
            await handle(data, arrival_time_ms)

        vars(transport).update(_send_rtp=send_rtp, _handle_rtp_data=handle_rtp)

    def drop(
        self, *, outgoing: Callable[[bytes], bool] | None = None, incoming: Callable[[bytes], bool] | None = None
    ) -> None:
        """Lose SRTP datagrams on the client's side of the link, as the callables choose."""
        ice = self.pc.getTransceivers()[0].receiver.transport.transport
        send, receive = ice._send, ice._recv

        async def lossy_send(data: bytes) -> None:
            if outgoing is None or not 128 <= data[0] <= 191 or not outgoing(data):
                await send(data)

        async def lossy_receive() -> bytes:
            while True:
                data: bytes = await receive()
                if incoming is None or not 128 <= data[0] <= 191 or not incoming(data):
                    return data

        ice._send, ice._recv = lossy_send, lossy_receive


@asynccontextmanager
async def publisher(
    engine: Engine, events: Events, feed: int, *tracks: MediaStreamTrack, prepare: Callable[[Peer], None] | None = None
) -> AsyncIterator[Peer]:
    """Publish tracks with a stock client; entered once media flows."""
    peer = Peer(RTCPeerConnection())
    try:
        for track in tracks:
            peer.pc.addTrack(track)
        await peer.pc.setLocalDescription(await peer.pc.createOffer())
        peer.watch()
        if prepare is not None:
            prepare(peer)
        publication = await engine.publish(feed, peer.pc.localDescription.sdp)
        await peer.pc.setRemoteDescription(RTCSessionDescription(publication.answer, "answer"))
        await events.expect(FeedStarted)
        yield peer
    finally:
        await peer.pc.close()


@asynccontextmanager
async def viewer(
    engine: Engine,
    subscription: int,
    feed: int,
    *,
    prepare: Callable[[Peer], None] | None = None,
    change: Callable[[str], str] = lambda sdp: sdp,
) -> AsyncIterator[Peer]:
    """Watch a feed with a stock client; entered once the answer is in. `change` edits the offer that it sees."""
    peer = Peer(RTCPeerConnection())
    peer.pc.on("track", peer.tracks.append)
    try:
        offer = change(await engine.subscribe(subscription, feed))
        await peer.pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        peer.watch()
        if prepare is not None:
            prepare(peer)
        await peer.pc.setLocalDescription(await peer.pc.createAnswer())
        await engine.accept(subscription, peer.pc.localDescription.sdp)
        yield peer
    finally:
        await peer.pc.close()


async def republish(engine: Engine, feed: int, peer: Peer) -> Publication:
    """Offer again on a publisher's connection, and take the answer."""
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    publication = await engine.republish(feed, peer.pc.localDescription.sdp)
    await peer.pc.setRemoteDescription(RTCSessionDescription(publication.answer, "answer"))
    return publication


async def answer(engine: Engine, subscription: int, peer: Peer, offer: str) -> None:
    """Answer a further offer on a viewer's connection."""
    await peer.pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await peer.pc.setLocalDescription(await peer.pc.createAnswer())
    await engine.accept(subscription, peer.pc.localDescription.sdp)


def luma(picture: Any) -> int:
    """Return the brightness at the middle of a decoded frame."""
    plane = picture.planes[0]
    return int(bytes(plane)[plane.line_size * (picture.height // 2) + picture.width // 2])


async def frames(track: MediaStreamTrack, count: int) -> list[Any]:
    """Return the next decoded frames of a track."""
    async with asyncio.timeout(WAIT_SECONDS):
        return [await track.recv() for _ in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that packets bring about, turn by turn of the event loop."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110  conditions on many objects, none of which has an event
            await asyncio.sleep(0.005)
