"""`aiosfu view`: watch devices from a terminal or a script."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from aiortc.mediastreams import MediaStreamError
from av.video.frame import VideoFrame

from .errors import ClientError, DisconnectedError, NoFeedError
from .program import (
    EXIT_BAD_SETTING,
    EXIT_FAILED,
    EXIT_OK,
    StatusLine,
    add_connection_arguments,
    complain,
    configure_logs,
    id_of,
    megabits,
    token_of,
    until_stopped,
)
from .recorder import Recorder, check_recording_path, save_picture
from .viewer import Viewer

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

    from .feed import Feed, FeedStats, ReceivedTrack

GIVE_UP_SECONDS = 15.0
"""How long to wait for the first picture or sound before saying that there is none."""
POLL_SECONDS = 0.05
"""How often to look whether the time is up."""
SNAPSHOT_SECONDS = 0.5
"""From the first picture to the snapshot: encoders begin coarsely."""
REPORT_SECONDS = 1.0
"""A line per feed each second."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_connection_arguments(parser)
    parser.add_argument("--device", metavar="ID", help="watch this device only (default: all that are there)")
    parser.add_argument("--id", help="id to watch as (default: the token's, or a random one)")
    parser.add_argument(
        "--standing", action="store_true", help="also invite devices that come online later, for as long as this runs"
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="record to FILE.mkv, .mp4 or .webm; a second feed goes to FILE-2.mkv and so on",
    )
    parser.add_argument(
        "--snapshot", type=Path, metavar="FILE.png", help="write a picture as PNG, soon after the first"
    )
    parser.add_argument("--seconds", type=_seconds, help="end so long after the first picture or sound")
    parser.add_argument("--quiet", action="store_true", help="print no numbers")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return value


async def run(args: argparse.Namespace) -> int:
    """Run the command; return its exit status: 0 only when something was received."""
    configure_logs(args)
    watch = _Watch(args.save, args.snapshot, args.seconds, quiet=args.quiet)
    try:
        viewer = Viewer(
            args.server,
            device=args.device,
            id=id_of(args),
            token=token_of(args),
            token_in_url=args.token_in_url,
            tls_fingerprint=args.tls_fingerprint,
            standing=args.standing,
            on_connection=watch.tell_connection,
        )
        if args.save is not None:
            check_recording_path(args.save)
    except (ValueError, ClientError) as error:
        complain(str(error))
        return EXIT_BAD_SETTING
    try:
        await until_stopped(watch.run(viewer), stdin_ends=args.until_stdin_ends)
    except ClientError as error:
        complain(str(error))
        return EXIT_FAILED
    if watch.failure is not None:
        complain(watch.failure)
        return EXIT_FAILED
    if not watch.received:
        complain("stopped before anything was received")
        return EXIT_FAILED
    return EXIT_OK


class _Watch:
    """One run of the command."""

    def __init__(self, save: Path | None, snapshot: Path | None, seconds: float | None, *, quiet: bool) -> None:
        self.failure: str | None = None
        self._save = save
        self._snapshot = snapshot
        self._seconds = seconds
        self._line = None if quiet else StatusLine()
        self._feeds: list[_WatchedFeed] = []
        self._first_media: float | None = None
        self._newest: VideoFrame | None = None
        self._picture_due: float | None = None

    @property
    def received(self) -> bool:
        """Whether any picture or sound came."""
        return self._first_media is not None

    async def run(self, viewer: Viewer) -> None:
        """Watch until the time is up; raise `ClientError` when nothing comes or the server goes."""
        try:
            async with viewer:
                taking = asyncio.create_task(self._take_feeds(viewer), name="view-feeds")
                try:
                    await self._until_done(taking)
                finally:
                    taking.cancel()
                    await asyncio.wait([taking])
                    await self._finish()
        finally:
            if self._line is not None:
                self._line.end()

    def tell_connection(self, why_not: str | None) -> None:
        """Say when the server is away and when it is back; pictures may run on meanwhile."""
        if self._line is not None:
            self._line.show("the server is back" if why_not is None else f"no server: {why_not}; trying again")

    async def _take_feeds(self, viewer: Viewer) -> None:
        while True:
            try:
                feed = await viewer.next_feed(timeout=GIVE_UP_SECONDS)
            except NoFeedError:
                if not self.received:
                    raise
                continue
            self._feeds.append(_WatchedFeed(self, feed, self._path_for(len(self._feeds) + 1)))

    def _path_for(self, number: int) -> Path | None:
        if self._save is None or number == 1:
            return self._save
        return self._save.with_stem(f"{self._save.stem}-{number}")

    async def _until_done(self, taking: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        report = loop.time() + REPORT_SECONDS
        while True:
            if taking.done():
                self._ended(taking)
                return
            now = loop.time()
            # Where there is no feed at all `next_feed` gives up, and says why.
            if self._feeds and self._first_media is None and now > self._feeds[0].since + GIVE_UP_SECONDS:
                devices = ", ".join(watched.feed.device for watched in self._feeds)
                raise NoFeedError(f"no media: {devices} sent nothing within {GIVE_UP_SECONDS:g} s")
            if self._seconds is not None and self._first_media is not None and now - self._first_media >= self._seconds:
                return
            if now >= report:
                report += REPORT_SECONDS
                await self._report()
            await asyncio.sleep(POLL_SECONDS)

    def _ended(self, taking: asyncio.Task[None]) -> None:
        """Say why there will be no more feeds; what was received until then still counts."""
        error = taking.exception()
        if isinstance(error, DisconnectedError):
            error = DisconnectedError(f"the server is gone: {error}")
        if error is not None:
            raise error

    async def _report(self) -> None:
        for watched in self._feeds:
            if watched.feed.ended is None:
                await watched.refresh()
                if self._line is not None:
                    self._line.show(describe(watched.feed, watched.stats))

    async def _finish(self) -> None:
        if self.received:
            self._save_snapshot()
        for watched in self._feeds:
            if watched.feed.ended is None:
                await watched.refresh()
            try:
                await watched.close()
            except ClientError as error:
                self.failure = str(error)
        if self._line is None:
            return
        self._line.end()
        for watched in self._feeds:
            self._line.show(f"summary  {watched.summary()}")

    def arrived(self, frame: VideoFrame | AudioFrame) -> None:
        """Note the first media and take the snapshot when it is due."""
        now = asyncio.get_running_loop().time()
        if self._first_media is None:
            self._first_media = now
        if self._snapshot is None or not isinstance(frame, VideoFrame):
            return
        if self._picture_due is None:
            self._picture_due = now + SNAPSHOT_SECONDS
        self._newest = frame
        if now >= self._picture_due:
            self._save_snapshot()

    def _save_snapshot(self) -> None:
        path, self._snapshot = self._snapshot, None
        if path is None:
            return
        if self._newest is None:
            self.failure = f"no picture came, so {str(path)!r} was not written"
            return
        try:
            save_picture(self._newest, path)
        except ClientError as error:
            self.failure = str(error)


class _WatchedFeed:
    """A feed that is being read, and recorded if it is to be."""

    def __init__(self, watch: _Watch, feed: Feed, path: Path | None) -> None:
        self.feed = feed
        self.since = asyncio.get_running_loop().time()
        self.stats: FeedStats | None = None
        self._watch = watch
        self._recorder = Recorder(path, {track.kind for track in feed.tracks}) if path is not None else None
        self._readers = [asyncio.create_task(self._follow(kind), name="view-reader") for kind in ("video", "audio")]

    async def _follow(self, kind: str) -> None:
        """Read the feed's first track of a kind, and the next one when the device has put another in its place."""
        before: ReceivedTrack | None = None
        while self.feed.ended is None:
            track = self.feed.video if kind == "video" else self.feed.audio
            if track is None or track is before:
                await self.feed.changed()
            else:
                before = track
                await self._read(track)

    async def _read(self, track: ReceivedTrack) -> None:
        first: float | None = None
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self._watch.arrived(frame)
                if self._recorder is not None:
                    seconds = frame.time or 0.0
                    first = seconds if first is None else first
                    # A track's own clock begins anywhere; arrival times put picture and sound on one.
                    self._recorder.write(frame, (track.first_arrival or 0.0) + seconds - first)

    async def refresh(self) -> None:
        """Take the numbers of now."""
        self.stats = await self.feed.stats()

    async def close(self) -> None:
        """Stop reading and finish the file; raises `ClientError` when that fails."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.wait(self._readers)
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)

    def summary(self) -> str:
        """Return what came, as one line."""
        text = describe(self.feed, self.stats)
        if self.stats is not None:
            text += f"  {self.stats.video_frames} pictures, {self.stats.audio_frames} sound frames"
        if self._recorder is not None:
            text += f"  saved to {self._recorder.path}"
            if self._recorder.dropped:
                text += f" ({self._recorder.dropped} frames dropped: the encoder could not keep up)"
        return text + (f"  ended: {self.feed.ended}" if self.feed.ended else "")


def describe(feed: Feed, stats: FeedStats | None) -> str:
    """Return how a feed arrives as one line."""
    if stats is None:
        return f"{feed.device}  no numbers yet"
    parts = [feed.device]
    if stats.width is not None:
        parts += [f"{stats.width}x{stats.height}", f"{stats.fps:.1f} fps"]
    parts.append(megabits(stats.bitrate))
    total = stats.packets_received + stats.packets_lost
    parts.append(f"lost {stats.packets_lost} of {total} packets")
    parts.append(f"jitter {stats.jitter * 1000:.0f} ms")
    return "  ".join(parts)
