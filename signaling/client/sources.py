"""Open what a person names as a source: a test picture, a file, a camera or a network stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .container import ContainerSource
from .errors import SourceError
from .location import TestSource, parse_source
from .pattern import read_frame_counter
from .testsource import PatternTrack, ToneTrack
from .timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiortc.mediastreams import MediaStreamTrack

__all__ = ["Media", "open_source", "read_frame_counter"]

NO_AUDIO = "none"
"""As an audio source: send no sound."""
VIDEO_CODECS = ("VP8", "H264")
"""The video codecs that aiortc can send, in its own order of preference."""


class Media:
    """The tracks of a source, for one publication: when it ends they have ended, and the source is opened anew.

    `live` says that a source which ended may come back: a camera or a stream, not a file.
    """

    def __init__(self, tracks: Collection[MediaStreamTrack], containers: Collection[ContainerSource] = ()) -> None:
        self.tracks = tuple(tracks)
        self._containers = tuple(containers)

    @property
    def video(self) -> MediaStreamTrack | None:
        """The video track, if there is one."""
        return next((track for track in self.tracks if track.kind == "video"), None)

    @property
    def audio(self) -> MediaStreamTrack | None:
        """The audio track, if there is one."""
        return next((track for track in self.tracks if track.kind == "audio"), None)

    @property
    def live(self) -> bool:
        """Whether a part of it is a camera or a live stream."""
        return any(container.live for container in self._containers)

    @property
    def error(self) -> SourceError | None:
        """Why reading ended, where it was not the end of a file."""
        return next((container.error for container in self._containers if container.error), None)

    def release(self) -> None:
        """Stop the tracks without waiting for their threads. Idempotent."""
        for track in self.tracks:
            track.stop()
        for container in self._containers:
            container.release()

    async def close(self) -> None:
        """Stop the tracks and release files and devices. Idempotent."""
        self.release()
        for container in self._containers:
            await container.close()


async def open_source_in_thread(
    source: str, *, audio: str | None = None, loop: bool = False, codec: str | None = None
) -> Media:
    """Do as `open_source` does, without blocking the event loop; cancelled, it lets go of what it opens."""
    opening = asyncio.ensure_future(asyncio.to_thread(open_source, source, audio=audio, loop=loop, codec=codec))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_release_opened)
        raise


def _release_opened(opening: asyncio.Future[Media]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().release()


def open_source(source: str, *, audio: str | None = None, loop: bool = False, codec: str | None = None) -> Media:
    """Open `source` and return its tracks; nothing is read before the first `recv`.

    `source` is `testsrc` or `testsrc=WIDTHxHEIGHT@FPS`, a file, `/dev/video0` or `/dev/video0=WIDTHxHEIGHT@FPS`, or
    an address such as `rtsp://...` or `http://...`. `audio` is another source for the sound, or `none`; by default it
    is the source's own. `loop` repeats files for ever. `codec` (`VP8` or `H264`) asks for that video codec: video in
    another one is then decoded, and encoded again, rather than handed on.

    Blocks while it opens a network stream; call it in a thread then. Raises `SourceError`.
    """
    timeline = Timeline()
    passthrough = frozenset({"opus", codec} if codec else {"opus", *VIDEO_CODECS})
    kinds = {"video"} if audio is not None else {"video", "audio"}
    opened: list[tuple[list[MediaStreamTrack], ContainerSource | None]] = []
    try:
        opened.append(_open_one(source, kinds, loop=loop, timeline=timeline, passthrough=passthrough))
        if audio is not None and audio != NO_AUDIO:
            opened.append(_open_one(audio, {"audio"}, loop=loop, timeline=timeline, passthrough=passthrough))
    except BaseException:
        for tracks, container in opened:
            for track in tracks:
                track.stop()
            if container is not None:
                container.release()
        raise
    return Media(
        [track for tracks, _ in opened for track in tracks],
        [container for _, container in opened if container is not None],
    )


def _open_one(
    spec: str, kinds: set[str], *, loop: bool, timeline: Timeline, passthrough: frozenset[str]
) -> tuple[list[MediaStreamTrack], ContainerSource | None]:
    parsed = parse_source(spec)
    if isinstance(parsed, TestSource):
        return _generate(spec, parsed, kinds, timeline), None
    # In a fixed order: the first track is what a viewer sees listed first.
    ordered = [kind for kind in ("video", "audio") if kind in kinds]
    container = ContainerSource(parsed, kinds=ordered, loop=loop, timeline=timeline, passthrough=passthrough)
    if not container.tracks:
        wanted = " or ".join(ordered)
        raise SourceError(f"source {parsed.shown}: there is no {wanted} in it that could be sent")
    return list(container.tracks), container


def _generate(spec: str, wanted: TestSource, kinds: set[str], timeline: Timeline) -> list[MediaStreamTrack]:
    tracks: list[MediaStreamTrack] = []
    try:
        if "video" in kinds:
            tracks.append(PatternTrack(wanted.width, wanted.height, wanted.rate, timeline))
    except ValueError as error:
        raise SourceError(f"source {spec!r}: {error}") from None
    if "audio" in kinds:
        tracks.append(ToneTrack(timeline))
    return tracks


def check_source(source: str, *, audio: str | None = None, loop: bool = False) -> None:
    """Raise `SourceError` where a source can be known to be unusable without touching a camera or the network.

    Files are opened and closed again; a camera is not switched on and a network stream may well appear later.
    """
    for spec, kinds in ((source, {"video"} if audio is not None else {"video", "audio"}), (audio, {"audio"})):
        if spec is None or (spec == NO_AUDIO and spec is audio):
            continue
        parsed = parse_source(spec)
        if isinstance(parsed, TestSource):
            _generate(spec, parsed, kinds, Timeline())
        elif not parsed.is_network and not parsed.is_device:
            _, container = _open_one(spec, kinds, loop=loop, timeline=Timeline(), passthrough=frozenset())
            if container is not None:
                container.release()
