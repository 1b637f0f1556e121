"""One of a device's sources while it streams: opened, read to its end, opened again after a failure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signaling.logs import EventLog

from .backoff import Backoff
from .errors import ClientError, SourceError
from .tracks import SourceTrack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .sources import Media

log = EventLog(__name__)


class SourceSlot:
    """Keep one source open. `tracks` are what it has to send now; `on_change` is called when that may be different."""

    def __init__(
        self,
        name: str,
        open_media: Callable[[], Awaitable[Media]],
        close_media: Callable[[Media], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> None:
        self.tracks: tuple[SourceTrack, ...] = ()
        self.error: SourceError | None = None
        """Why there are no tracks, until it has been opened again."""
        self.ended = False
        """Whether nothing more will come: the end of a file."""
        self.tried = asyncio.Event()
        """Set once the source has been opened or could not be."""
        self._name = name
        self._open_media = open_media
        self._close_media = close_media
        self._on_change = on_change
        self._end_reached = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="source-slot")

    async def close(self) -> None:
        """Release the source. Idempotent."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            log.bug("source_slot_failed", error, source=self._name)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        while not self.ended:
            began = loop.time()
            try:
                await self._send_once()
                self.ended = True
            except SourceError as error:
                self.error = error
                log.info("source_failed", source=self._name, reason=error)
            self.tried.set()
            self._on_change()
            if not self.ended:
                await asyncio.sleep(backoff.next(loop.time() - began))

    async def _send_once(self) -> None:
        """Return at the source's end; raise `SourceError` when it fails, or is a camera, which has no end."""
        media = await self._open()
        try:
            self._end_reached.clear()
            self.tracks = tuple(SourceTrack(track, self._track_ended) for track in media.tracks)
            self.error = None
            self.tried.set()
            self._on_change()
            await self._end_reached.wait()
            failure = next((track.failure for track in self.tracks if track.failure), None)
        finally:
            self.tracks = ()
            await self._close_media(media)
        if failure is not None:
            raise SourceError(failure)
        if media.live:
            raise media.error or SourceError("the live source ended")
        if media.error is not None:
            log.warning("source_ended_early", source=self._name, reason=media.error)

    async def _open(self) -> Media:
        try:
            media = await self._open_media()
        except ClientError:
            raise
        except Exception as error:
            # The user's own function may raise anything, and an invitation must not end the program.
            log.bug("source_opening_failed", error, source=self._name)
            raise SourceError(f"opening the source failed: {type(error).__name__}: {error}") from error
        if not media.tracks:
            raise SourceError("the source has no tracks")
        return media

    def _track_ended(self) -> None:
        if all(track.exhausted for track in self.tracks) or any(track.failure for track in self.tracks):
            self._end_reached.set()
