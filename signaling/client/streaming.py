"""What a device does from an invitation until it is told to stop: join, publish, publish again after a loss."""

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
    from .sources import Media

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


class Streaming:
    """Serve one invitation; ends when the source does, or the server refuses for good. Cancel it to stop."""

    def __init__(self, device: Device, connection: Connection, join: Mapping[str, Any]) -> None:
        self._device = device
        self._connection = connection
        self._join = join
        self._room: int = join["room_id"]
        self._joined = False
        self._offered = False
        self._publication: Publication | None = None
        self._backoff = Backoff()

    def lose(self) -> None:
        """Say that the server has given up the media connection: it wants a new offer."""
        self._offered = False
        if self._publication is not None:
            self._publication.lose()

    async def run(self) -> None:
        """Join and publish until there is nothing more to send."""
        try:
            while not await self._published_to_the_end():
                pass
        except DisconnectedError:
            return  # the connection's owner learns it too, and reconnects
        except ClientError as error:
            log.warning("device_not_streaming", device=self._device.id, reason=error)
            await self._leave()
            self._device.show_state("waiting", error=str(error))
        else:
            await self._leave()
            self._device.show_state("waiting")

    async def _published_to_the_end(self) -> bool:
        """Publish once; return False, after a pause, when it makes sense to do so again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self._publish()
        except ClientError as error:
            if not self._passes(error):
                raise
            self._device.show_state("joining", self._room, str(error))
            log.info("device_publishing_again", device=self._device.id, reason=error)
            await self._withdraw()
            await asyncio.sleep(self._backoff.next(loop.time() - began))
            return False
        return True

    def _passes(self, error: ClientError) -> bool:
        """Return whether it makes sense to try again for the same invitation."""
        if isinstance(error, ServerError):
            return error.code in TRY_AGAIN_CODES
        if isinstance(error, SourceError):
            return self._joined  # it has worked once: a camera that was unplugged, a stream that broke off
        return isinstance(error, MediaError | RequestTimeoutError)

    async def _publish(self) -> None:
        """Publish once. Returns at the source's end; raises `ClientError`, which includes a lost connection."""
        # Before joining: a device whose camera does not open had better not be in the room.
        media = await self._open_media()
        try:
            if not self._joined:
                await self._connection.request("join_as_publisher", self._join, "joined_as_publisher")
                self._joined = True
            publication = Publication(self._connection, media.tracks, self._device.codec)
            self._publication = publication
            try:
                self._offered = True
                await publication.start()
                log.info("device_streaming", device=self._device.id, room=self._room)
                await self._watch(publication)
                # While the connection stands: viewers are to hear that it is over, not that it was lost.
                await self._withdraw()
            finally:
                self._publication = None
                await publication.close()
            if publication.failure is not None:
                raise SourceError(publication.failure)
            if media.live:
                raise media.error or SourceError("the live source ended")
            if media.error is not None:
                log.warning("device_source_failed", device=self._device.id, reason=media.error)
        finally:
            await self._device.close_media(media)

    async def _open_media(self) -> Media:
        try:
            media = await self._device.open_media()
        except ClientError:
            raise
        except Exception as error:
            # The user's own function may raise anything, and an invitation must not end the program.
            log.bug("device_media_failed", error, device=self._device.id)
            raise SourceError(f"opening the source failed: {type(error).__name__}: {error}") from error
        if not media.tracks:
            raise SourceError("the source has no tracks")
        return media

    async def _watch(self, publication: Publication) -> None:
        loop = asyncio.get_running_loop()
        # Pictures are what fps means; a device without any counts its sound's frames.
        track = next((each for each in publication.tracks if each.kind == "video"), publication.tracks[0])
        before, frames, sent = loop.time(), track.frames, publication.bytes_sent
        self._device.show_numbers(self._room, Numbers(track.size, 0.0, 0.0))
        while not publication.ended:
            await publication.wait(STATUS_SECONDS)
            if publication.lost:
                raise MediaError("the media connection was lost")
            now = loop.time()
            if now - before >= STATUS_SECONDS * 0.9:
                elapsed = now - before
                fps = (track.frames - frames) / elapsed
                bitrate = (publication.bytes_sent - sent) * 8 / elapsed
                self._device.show_numbers(self._room, Numbers(track.size, round(fps, 1), round(bitrate)))
                before, frames, sent = now, track.frames, publication.bytes_sent

    async def _withdraw(self) -> None:
        """End at the server what it may still think is being published, so that a new offer is welcome."""
        if self._offered:
            self._offered = False
            with contextlib.suppress(ServerError, RequestTimeoutError):
                await self._connection.request("unpublish", {}, "unpublished")

    async def _leave(self) -> None:
        if self._joined:
            with contextlib.suppress(ClientError):
                await self._connection.request("leave", {}, "left")
