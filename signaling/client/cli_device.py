"""`aiosfu device`: publish a source whenever somebody wants to watch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .device import Device, DeviceStatus
from .errors import ReplacedError, SourceError
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
from .sources import check_source, open_source_in_thread

if TYPE_CHECKING:
    import argparse

    from .sources import Media

PLAIN_STATUS_SECONDS = 10.0
"""How often a line is printed where it cannot be rewritten, while only its numbers change."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_connection_arguments(parser)
    parser.add_argument(
        "--source",
        required=True,
        help="testsrc or testsrc=WIDTHxHEIGHT@FPS, a media file, a camera (/dev/video0, or "
        "/dev/video0=WIDTHxHEIGHT@FPS), or a stream (rtsp://..., http://...); "
        "what is VP8, H264 or Opus already is not encoded again",
    )
    parser.add_argument("--audio", metavar="SOURCE", help="take the sound from another source, or `none`")
    parser.add_argument("--loop", action="store_true", help="play a file again and again")
    parser.add_argument("--codec", choices=("vp8", "h264"), help="video codec to send (default: the source's, or VP8)")
    parser.add_argument("--id", help="the name viewers see (default: the token's, or a random one)")
    parser.add_argument("--quiet", action="store_true", help="show no status")


async def run(args: argparse.Namespace) -> int:
    """Run the command until SIGINT or SIGTERM; return its exit status."""
    configure_logs(args)
    codec = args.codec.upper() if args.codec else None

    async def media() -> Media:
        return await open_source_in_thread(args.source, audio=args.audio, loop=args.loop, codec=codec)

    status = None if args.quiet else _Status()
    try:
        device = Device(
            args.server,
            id=id_of(args),
            token=token_of(args),
            token_in_url=args.token_in_url,
            tls_fingerprint=args.tls_fingerprint,
            media=media,
            codec=codec,
            on_status=status.take if status is not None else None,
        )
    except ValueError as error:
        complain(str(error))
        return EXIT_BAD_SETTING
    try:
        await asyncio.to_thread(check_source, args.source, audio=args.audio, loop=args.loop)
    except SourceError as error:
        complain(str(error))
        return EXIT_FAILED
    try:
        await until_stopped(device.run(), stdin_ends=args.until_stdin_ends)
    except ReplacedError as error:
        complain(str(error))
        return EXIT_FAILED
    finally:
        if status is not None:
            status.end()
    return EXIT_OK


def describe(status: DeviceStatus) -> str:
    """Return a status as one line."""
    parts: list[str] = [status.state]
    if status.room is not None:
        parts.append(f"room {status.room}")
    if status.state == "streaming":
        if status.width is not None:
            parts.append(f"{status.width}x{status.height}")
        parts.append(f"{status.fps or 0:.1f} fps")
        parts.append(megabits(status.bitrate or 0))
        if not status.wanted:
            parts.append("nobody watches, nothing is encoded")
    if status.error is not None:
        parts.append(status.error)
    return "  ".join(parts)


class _Status:
    def __init__(self) -> None:
        self._line = StatusLine()
        self._shown = DeviceStatus()
        self._shown_at = 0.0

    def take(self, status: DeviceStatus) -> None:
        """Show a new status, unless only numbers have changed and the last line is recent."""
        now = asyncio.get_running_loop().time()
        same = (status.state, status.room, status.error) == (self._shown.state, self._shown.room, self._shown.error)
        settled = status.state != "streaming" or bool(status.bitrate)
        if not self._line.in_place and same and now - self._shown_at < PLAIN_STATUS_SECONDS:
            return
        if not self._line.in_place and not settled:
            return  # a second from now it has its numbers
        self._shown, self._shown_at = status, now
        self._line.show(describe(status))

    def end(self) -> None:
        """Finish the line."""
        self._line.end()
