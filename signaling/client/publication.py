"""One peer connection of a device: its tracks, which may change while it stands, and its numbers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from aiortc import RTCSessionDescription

from .errors import MediaError
from .peer import close_peer_connection, codec_capabilities, new_peer_connection, wait_connected
from .tracks import BorrowedTrack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiortc import RTCPeerConnection, RTCRtpTransceiver

    from .connection import Connection
    from .tracks import SourceTrack

MEDIA_SILENCE_SECONDS = 10.0
"""The server reports every second on what it receives. Without a word for so long the path is gone: ICE itself takes
30 s to notice (RFC 7675), and until then viewers would see nothing."""
MAX_TRANSCEIVERS = 12
"""A removed track leaves its m-line behind; beyond this many a new peer connection is cheaper than a longer SDP."""


class _Sender(NamedTuple):
    transceiver: RTCRtpTransceiver
    track: BorrowedTrack


class Publication:
    """Send tracks to the server over one peer connection. Single use: `start`, `change`, `wait`, `close`."""

    def __init__(self, connection: Connection, sources: Sequence[SourceTrack], codec: str | None) -> None:
        self.bytes_sent = 0
        self._connection = connection
        self._codec = codec
        self._peer: RTCPeerConnection = new_peer_connection(connection.welcome.data)
        self._senders: dict[SourceTrack, _Sender] = {}
        self._changed = asyncio.Event()
        self._lost: str | None = None
        self._bytes_received = 0
        self._heard_at = asyncio.get_running_loop().time()
        self._sent_when_heard = 0
        for source in sources:
            self._add(source)

    @property
    def sources(self) -> tuple[SourceTrack, ...]:
        """What is being sent."""
        return tuple(self._senders)

    def can_change(self, sources: Sequence[SourceTrack]) -> bool:
        """Return whether `change` would still be cheaper than a new connection."""
        added = sum(source not in self._senders for source in sources)
        return len(self._peer.getTransceivers()) + added <= MAX_TRANSCEIVERS

    async def start(self) -> None:
        """Offer, and return when media can flow; raises `ClientError`."""
        await self._negotiate()
        self._peer.on("connectionstatechange", self._changed.set)
        await wait_connected(self._peer)
        self._heard_at = asyncio.get_running_loop().time()

    async def change(self, sources: Sequence[SourceTrack]) -> None:
        """Send these tracks from now on, on the same connection; raises `ClientError`, which ends its use."""
        removed = [self._senders.pop(source) for source in self.sources if source not in sources]
        for sender in removed:
            sender.transceiver.direction = "inactive"
            sender.track.rest()
        for source in sources:
            if source not in self._senders:
                self._add(source)
        await self._negotiate()
        for sender in removed:
            await sender.transceiver.sender.stop()

    def _add(self, source: SourceTrack) -> None:
        track = BorrowedTrack(source)
        transceiver = self._peer.addTransceiver(track, direction="sendonly")
        codec = source.codec or (self._codec if source.kind == "video" else None)
        if codec is not None:
            transceiver.setCodecPreferences(codec_capabilities(source.kind, codec))
        self._senders[source] = _Sender(transceiver, track)

    async def _negotiate(self) -> None:
        await self._peer.setLocalDescription(await self._peer.createOffer())
        offer = {"type": "offer", "sdp": self._peer.localDescription.sdp}
        answer = await self._connection.request("offer_from_device", offer, "answer_to_client")
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(answer.text("sdp"), "answer"))
        except Exception as error:
            # aiortc raises several unrelated types for an answer that it cannot use.
            raise MediaError(f"the server's answer cannot be used: {error}") from error

    def lose(self, reason: str) -> None:
        """Say why this connection is of no more use."""
        self._lost = reason
        self._changed.set()

    def notice(self) -> None:
        """End a `wait`: there is something to do."""
        self._changed.set()

    async def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier when there is something to look at."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            await self._count()
        self._changed.clear()

    @property
    def loss(self) -> str | None:
        """Why the media connection is gone, if it is; also when aiortc has given a track up (its encoder failed)."""
        if self._lost is not None:
            return self._lost
        if self._peer.connectionState in {"failed", "closed"}:
            return "the media connection was lost"
        for source, sender in self._senders.items():
            if sender.track.readyState != "live" and not source.exhausted:
                return f"the {source.kind} could not be encoded"
        return None

    def rest(self) -> None:
        """Leave the sources to the connection that follows; this one stands until it is closed."""
        for sender in self._senders.values():
            sender.track.rest()

    async def close(self) -> None:
        """Close the peer connection; the tracks behind it are left as they are."""
        for sender in self._senders.values():
            sender.track.stop()
        await close_peer_connection(self._peer)

    async def _count(self) -> None:
        """Take the numbers, and note the silence of a path that has died."""
        report = await self._peer.getStats()
        transports = [each for each in report.values() if each.type == "transport"]
        self.bytes_sent = sum(each.bytesSent for each in transports)
        received = sum(each.bytesReceived for each in transports)
        now = asyncio.get_running_loop().time()
        unheard = self.bytes_sent > self._sent_when_heard
        if received != self._bytes_received or not unheard:
            self._bytes_received, self._heard_at, self._sent_when_heard = received, now, self.bytes_sent
        elif now - self._heard_at > MEDIA_SILENCE_SECONDS:
            self.lose(f"nothing came from the server's media port for {MEDIA_SILENCE_SECONDS:.0f} s")
