"""MediaRelay: one published track to its many subscribers. The one fan-out.

aiortc users know `MediaRelay.subscribe(track)`, which hands out decoded frames; that still works for a published track
and costs a decoder only while somebody asks. Viewers take the other road, `subscribe_packets`: they get every packet
as it is to be sent, by a plain call for all that came in one turn of the event loop, with no queue and no task in
between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from aiortc.contrib import media

from .faults import Faults
from .frames import DecodableTrack
from .rtp.batch import ForwardedPacket, PacketBatch, level
from .tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiortc import MediaStreamTrack

    from .transport.fanout import Fanout, Outlet


MAX_BATCH_PACKETS: Final = 256
"""Packets of one track that may wait for the end of a turn: twice what the port reads in one."""


class Totals:
    """What went out for a track by `Fanout`, so that each viewer need not count."""

    __slots__ = ("octets", "packets")

    def __init__(self) -> None:
        self.packets = 0
        self.octets = 0


class PacketSink(Protocol):
    """Whoever takes packets from the relay."""

    @property
    def outlet(self) -> Outlet | None:
        """Where every packet may go without `forward`, None while the sink has to see them."""
        ...

    def forward(self, batch: PacketBatch) -> None:
        """Take some packets; in order of arrival, which for reordered packets is not that of `sequence`."""
        ...

    def fell_short(self, batch: PacketBatch, sent: int) -> None:
        """Take note that of a batch for the outlet only the first `sent` packets left."""
        ...

    def crashed(self, error: Exception) -> None:
        """End: taking a batch has failed, by a bug of ours. Never raises."""
        ...


class MediaRelay(media.MediaRelay):
    """Relay published tracks: decoded frames as aiortc does, packets to `PacketSink`s.

    `request_flush` is called when packets begin to wait; `flush` is then to be called before the turn ends.
    """

    def __init__(self, request_flush: Callable[[], None], fanout: Fanout | None, faults: Faults | None = None) -> None:
        super().__init__()
        self.faults = faults or Faults()
        self.tally = Tally()
        """What producers and consumers that are gone have counted."""
        self._fanout = fanout
        self._totals: dict[MediaStreamTrack, Totals] = {}
        self._request_flush = request_flush
        # What came in this turn of the event loop.
        self._waiting: dict[MediaStreamTrack, list[ForwardedPacket]] = {}
        # Who awaits decoded frames of which track; the track decodes only while there is somebody.
        self._readers: dict[DecodableTrack, set[MediaStreamTrack]] = {}
        # Replaced, not changed, so that a sink may leave while a packet is handed round.
        self._sinks: dict[MediaStreamTrack, tuple[PacketSink, ...]] = {}

    def subscribe_packets(self, track: MediaStreamTrack, sink: PacketSink) -> None:
        """Hand every further packet of `track` to `sink`."""
        self.totals(track)
        before = self._sinks.get(track, ())
        self._sinks[track] = (*before, sink)
        if not before and isinstance(track, DecodableTrack):
            track.demand_changed()

    def unsubscribe_packets(self, track: MediaStreamTrack, sink: PacketSink) -> None:
        """Stop handing packets of `track` to `sink`. Idempotent."""
        rest = tuple(other for other in self._sinks.get(track, ()) if other is not sink)
        if rest:
            self._sinks[track] = rest
        else:
            left = self._sinks.pop(track, None)
            self._totals.pop(track, None)
            if left and isinstance(track, DecodableTrack):
                track.demand_changed()

    def totals(self, track: MediaStreamTrack) -> Totals:
        """Return what went out for `track` since its first sink came; it goes on counting."""
        return self._totals.setdefault(track, Totals())

    def subscribers(self, track: MediaStreamTrack) -> int:
        """Return how many sinks take packets of `track`."""
        return len(self._sinks.get(track, ()))

    def forward(self, track: MediaStreamTrack, packet: ForwardedPacket) -> None:
        """Hand one packet of `track` to every sink when the turn ends, together with what else came."""
        if track not in self._sinks:
            return
        waiting = self._waiting.get(track)
        if waiting is None:
            if not self._waiting:
                self._request_flush()
            self._waiting[track] = [packet]
        else:
            waiting.append(packet)
            if len(waiting) >= MAX_BATCH_PACKETS:
                self.flush()

    def flush(self) -> None:
        """Hand round what waits."""
        waiting, self._waiting = self._waiting, {}
        for track, packets in waiting.items():
            try:
                if len(packets) > 1:
                    level(packets)
                self._hand_round(track, PacketBatch(packets))
            except Exception as exc:  # noqa: BLE001  the other tracks' packets wait behind
                self.faults.report("track_failed", exc, track=track.id)

    def _hand_round(self, track: MediaStreamTrack, batch: PacketBatch) -> None:
        """Send a batch to the outlets of those who need not see it, and give it to the others."""
        sinks = self._sinks.get(track, ())
        if len(sinks) == 1:
            # For one viewer the fan-out's structures cost more than they save: 5 us of 25 for a whole packet.
            self._give(sinks[0], batch)
            return
        direct: list[PacketSink] = []
        outlets: list[Outlet] = []
        for sink in sinks:
            outlet = sink.outlet
            if outlet is None or self._fanout is None:
                self._give(sink, batch)
            else:
                direct.append(sink)
                outlets.append(outlet)
        if self._fanout is None or not outlets:
            return
        short = self._fanout.send(batch.runs, outlets)
        totals = self._totals[track]
        totals.packets += len(batch.packets)
        totals.octets += batch.octets
        for index, sent in short.items():
            try:
                direct[index].fell_short(batch, sent)
            except Exception as exc:  # noqa: BLE001  one viewer's bug must not reach the others
                direct[index].crashed(exc)

    @staticmethod
    def _give(sink: PacketSink, batch: PacketBatch) -> None:
        try:
            sink.forward(batch)
        except Exception as exc:  # noqa: BLE001  one viewer's bug must not reach the others
            sink.crashed(exc)

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
