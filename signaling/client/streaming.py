"""What a device does from an invitation until it is told to stop: join, publish, and keep that up.

One loop compares what the sources have with what is being sent and makes up the difference: a source that was added
or has failed changes the tracks of the connection, a connection that was lost is replaced by a new one. The server
keeps the feed's id throughout, so viewers see a freeze and not an end.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from signaling.logs import EventLog

from .backoff import Backoff
from .errors import ClientError, DisconnectedError, MediaError, RequestTimeoutError, ServerError, SourceError
from .publication import Publication

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .connection import Connection
    from .device import Device
    from .slot import SourceSlot
    from .tracks import SourceTrack

log = EventLog(__name__)

STATUS_SECONDS = 1.0
"""How often the numbers are renewed."""
TRY_AGAIN_CODES = frozenset({"already_publishing", "rate_limited", "internal", "bad_state"})
"""Refusals that may pass; after any other the device waits for a new invitation."""


class Numbers(NamedTuple):
    """Of the last second."""

    size: tuple[int, int] | None
    fps: float
    bitrate: float
    wanted: bool
    error: str | None
    """Of a source that is being opened again while others are sent."""


class Streaming:
    """Serve an invitation; ends when the sources do, or the server refuses for good. Cancel it to stop.

    `joins` is what to send as `join_as_publisher`, by room. With `again` these are rooms of a session that was lost,
    which may have gone too.
    """

    def __init__(
        self, device: Device, connection: Connection, joins: Mapping[int, Mapping[str, Any]], *, again: bool = False
    ) -> None:
        self._device = device
        self._connection = connection
        self._joins: dict[int, Mapping[str, Any]] = dict(joins)
        self._again = again
        self._joined: set[int] = set()
        self._offered = False
        self._publication: Publication | None = None
        self._slots: dict[str, SourceSlot] = {}
        self._closing: set[asyncio.Task[None]] = set()
        """Sources that were taken away; their threads may take a second to end."""
        self._news = asyncio.Event()
        self._backoff = Backoff()
        self._published_at = 0.0

    # --- what the server or the device's owner says -----------------------------------------------------------------

    def lose(self) -> None:
        """Say that the server has given up the media connection, and with it the feed: it wants a new offer."""
        self._offered = False
        self.move("the server has lost the media connection")
        for track in self._tracks():
            track.wanted = True  # of a new feed nobody has said what is wanted

    def move(self, reason: str) -> None:
        """Replace the media connection; the feed goes on."""
        if self._publication is not None:
            self._publication.lose(reason)

    def want(self, wanted: tuple[str, ...]) -> None:
        """Send these tracks, by their ids, and encode no others."""
        for track in self._tracks():
            track.wanted = track.id in wanted

    def notice(self) -> None:
        """Look again at what the sources have, and which there are."""
        self._news.set()
        if self._publication is not None:
            self._publication.notice()

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> bool:
        """Join and publish until there is nothing more to send; return False when the session was lost before that."""
        try:
            try:
                await self._stream()
            finally:
                await self._close()
        except DisconnectedError:
            return False  # the connection's owner learns it too, and reconnects
        except ClientError as error:
            log.warning("device_not_streaming", device=self._device.id, reason=error)
            await self._leave()
            self._device.show_state("waiting", error=str(error))
        else:
            await self._leave()
            self._device.show_state("waiting")
        return True

    async def _stream(self) -> None:
        if self._again:
            # A camera is not switched on for a room that may not be there any more.
            await self._join()
        await self._open_sources()
        if not self._again:
            await self._join()
        while self._joined:
            self._update_slots()
            tracks = self._tracks()
            if tracks:
                await self._send(tracks)
            elif await self._is_at_the_end():
                return

    async def _open_sources(self) -> None:
        """Open what there is, before joining: a device without a camera had better not be in the room."""
        self._update_slots()
        if not self._slots:
            raise SourceError("the device has no source: add one")
        await asyncio.gather(*(slot.tried.wait() for slot in self._slots.values()))
        errors = [slot.error for slot in self._slots.values() if slot.error is not None]
        if errors and not self._tracks() and not self._again:
            raise errors[0]

    def _update_slots(self) -> None:
        """Follow the device's sources; a source that was taken away is closed by and by."""
        for name in self._device.sources:
            if name not in self._slots:
                self._slots[name] = self._device.open_slot(name, self.notice)
        for name in [name for name in self._slots if name not in self._device.sources]:
            task = asyncio.create_task(self._slots.pop(name).close(), name="source-slot-close")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _tracks(self) -> list[SourceTrack]:
        return [track for slot in self._slots.values() for track in slot.tracks]

    async def _is_at_the_end(self) -> bool:
        """Return whether all sources have ended; otherwise say why nothing is sent and wait until something is."""
        await self._unpublish()
        if all(slot.ended for slot in self._slots.values()):
            return True
        self._device.show_state("joining", self._room, self._source_error())
        await self._news.wait()
        self._news.clear()
        return False

    def _source_error(self) -> str | None:
        return next((str(slot.error) for slot in self._slots.values() if slot.error is not None), None)

    async def _send(self, tracks: list[SourceTrack]) -> None:
        """Bring the connection up to date, then send for a second; what passes is tried again after a pause."""
        try:
            publication = await self._up_to_date(tracks)
        except ClientError as error:
            if isinstance(error, DisconnectedError) or not _passes(error):
                raise
            log.info("device_publishing_again", device=self._device.id, reason=error)
            self._device.show_state("joining", self._room, str(error))
            if isinstance(error, ServerError):
                await self._unpublish()
            await asyncio.sleep(self._backoff.next(asyncio.get_running_loop().time() - self._published_at))
        else:
            await self._watch(publication)

    async def _up_to_date(self, tracks: list[SourceTrack]) -> Publication:
        current = self._publication
        if current is not None and current.loss is None:
            if set(current.sources) == set(tracks):
                return current
            if current.can_change(tracks):
                try:
                    await current.change(tracks)
                except ClientError as error:
                    current.lose(str(error))
                    raise
                return current
        elif current is not None:
            log.info("device_media_lost", device=self._device.id, reason=current.loss)
        return await self._replace(current, tracks)

    async def _replace(self, current: Publication | None, tracks: list[SourceTrack]) -> Publication:
        """Publish over a new connection. The old one is closed after it: its goodbye would end the feed."""
        if current is not None:
            current.rest()
            current.lose("it is being replaced")
        publication = Publication(self._connection, tracks, self._device.codec)
        try:
            self._offered = True
            await publication.start()
        except BaseException:
            await publication.close()
            raise
        self._publication = publication
        self._published_at = asyncio.get_running_loop().time()
        log.info("device_streaming", device=self._device.id, room=self._room)
        track = _shown(tracks)
        self._device.show_numbers(self._room, Numbers(track.size, 0.0, 0.0, wanted=True, error=self._source_error()))
        if current is not None:
            await current.close()
        return publication

    async def _watch(self, publication: Publication) -> None:
        loop = asyncio.get_running_loop()
        track = _shown(publication.sources)
        before, frames, sent = loop.time(), track.frames, publication.bytes_sent
        await publication.wait(STATUS_SECONDS)
        elapsed = loop.time() - before
        if publication.loss is None and elapsed >= STATUS_SECONDS * 0.9:
            fps = (track.frames - frames) / elapsed
            bitrate = (publication.bytes_sent - sent) * 8 / elapsed
            wanted = any(each.wanted for each in publication.sources)
            numbers = Numbers(track.size, round(fps, 1), round(bitrate), wanted, self._source_error())
            self._device.show_numbers(self._room, numbers)

    # --- what the server is told --------------------------------------------------------------------------------------

    @property
    def _room(self) -> int:
        room: int = next(iter(self._joins))
        return room

    async def _join(self) -> None:
        for room, join in self._joins.items():
            try:
                await self._connection.request("join_as_publisher", join, "joined_as_publisher")
            except ServerError as error:
                if not self._again:
                    raise
                log.info("device_room_gone", device=self._device.id, room=room, reason=error)
            else:
                self._joined.add(room)

    async def _unpublish(self) -> None:
        """End the feed, while the connection stands: viewers are to hear that it is over, not that it was lost."""
        if self._offered:
            self._offered = False
            with contextlib.suppress(ServerError, RequestTimeoutError):
                await self._connection.request("unpublish", {}, "unpublished")
        publication, self._publication = self._publication, None
        if publication is not None:
            await publication.close()

    async def _leave(self) -> None:
        if self._joined:
            with contextlib.suppress(ClientError):
                await self._connection.request("leave", {}, "left")

    async def _close(self) -> None:
        publication, self._publication = self._publication, None
        if publication is not None:
            await publication.close()
        slots, self._slots = self._slots, {}
        await asyncio.gather(*(slot.close() for slot in slots.values()), *self._closing)


def _passes(error: ClientError) -> bool:
    """Return whether it makes sense to try again for the same invitation."""
    if isinstance(error, ServerError):
        return error.code in TRY_AGAIN_CODES
    return isinstance(error, MediaError | RequestTimeoutError)


def _shown(tracks: tuple[SourceTrack, ...] | list[SourceTrack]) -> SourceTrack:
    """Return the track whose frames are counted: pictures are what fps means, sound where there are none."""
    return next((each for each in tracks if each.kind == "video"), tracks[0])
