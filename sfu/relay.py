"""MediaRelay: one published track to its many subscribers. The one fan-out.

aiortc users know `MediaRelay.subscribe(track)`, which hands out decoded frames; that still works for a published track
and costs a decoder only while somebody asks. Viewers take the other road, `subscribe_packets`: they get every packet
as it is to be sent, by a plain call, with no queue and no task in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiortc.contrib import media

from .frames import DecodableTrack

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack


class ForwardedPacket:
    """One RTP packet as every subscriber gets it, made once; subscribers must not change it."""

    __slots__ = ("arrival", "data", "keyframe", "marker", "payload_offset", "payload_type", "sequence", "timestamp")

    def __init__(
        self,
        data: bytes,
        sequence: int,
        timestamp: int,
        payload_type: int,
        payload_offset: int,
        arrival: float,
        *,
        marker: bool,
        keyframe: bool,
    ) -> None:
        self.data = data
        """The whole packet, not encrypted."""
        self.sequence = sequence
        """Extended; its low 16 bits are the packet's sequence number."""
        self.timestamp = timestamp
        self.payload_type = payload_type
        self.payload_offset = payload_offset
        self.arrival = arrival
        """When it came, in seconds of the monotonic clock."""
        self.marker = marker
        self.keyframe = keyframe
        """Whether a decoder can begin with this packet."""


class PacketSink(Protocol):
    """Whoever takes packets from the relay."""

    def forward(self, packet: ForwardedPacket) -> None:
        """Take one packet; called in order of arrival, which for reordered packets is not that of `sequence`."""
        ...


class MediaRelay(media.MediaRelay):
    """Relay published tracks: decoded frames as aiortc does, packets to `PacketSink`s."""

    def __init__(self) -> None:
        super().__init__()
        # Who awaits decoded frames of which track; the track decodes only while there is somebody.
        self._readers: dict[DecodableTrack, set[MediaStreamTrack]] = {}
        # Replaced, not changed, so that a sink may leave while a packet is handed round.
        self._sinks: dict[MediaStreamTrack, tuple[PacketSink, ...]] = {}

    def subscribe_packets(self, track: MediaStreamTrack, sink: PacketSink) -> None:
        """Hand every further packet of `track` to `sink`."""
        self._sinks[track] = (*self._sinks.get(track, ()), sink)

    def unsubscribe_packets(self, track: MediaStreamTrack, sink: PacketSink) -> None:
        """Stop handing packets of `track` to `sink`. Idempotent."""
        rest = tuple(other for other in self._sinks.get(track, ()) if other is not sink)
        if rest:
            self._sinks[track] = rest
        else:
            self._sinks.pop(track, None)

    def subscribers(self, track: MediaStreamTrack) -> int:
        """Return how many sinks take packets of `track`."""
        return len(self._sinks.get(track, ()))

    def forward(self, track: MediaStreamTrack, packet: ForwardedPacket) -> None:
        """Hand one packet of `track` to every sink."""
        for sink in self._sinks.get(track, ()):
            sink.forward(packet)

    def subscribe(self, track: MediaStreamTrack, buffered: bool = True) -> MediaStreamTrack:  # noqa: FBT001, FBT002
        """Return a track that gives the decoded frames of `track`, as aiortc's `MediaRelay.subscribe` does.

        A published track is decoded from the first such call until the last returned track is stopped.
        """
        proxy = super().subscribe(track, buffered)
        if isinstance(track, DecodableTrack):
            self._readers.setdefault(track, set()).add(proxy)
            proxy.once("ended", lambda: self._reader_left(track, proxy))
            track.start_decoding()
        return proxy

    def _reader_left(self, track: DecodableTrack, proxy: MediaStreamTrack) -> None:
        readers = self._readers.get(track, set())
        readers.discard(proxy)
        if not readers:
            self._readers.pop(track, None)
            track.stop_decoding()
