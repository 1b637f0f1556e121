"""What a person may write as a source, and how to speak of it without giving away its password."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import av

_TESTSRC = re.compile(r"testsrc(?:=(?:(\d{1,5})x(\d{1,5}))?(?:@(\d{1,3}))?)?")
_DEVICE = re.compile(r"(/dev/[^=]+)(?:=(?:(\d{1,5})x(\d{1,5}))?(?:@(\d{1,3}))?)?")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")

DEFAULT_SIZE, DEFAULT_RATE = (1280, 720), 30


@dataclass(frozen=True, slots=True)
class TestSource:
    """`testsrc`, `testsrc=WIDTHxHEIGHT`, `testsrc=WIDTHxHEIGHT@FPS` or `testsrc=@FPS`."""

    __test__ = False

    width: int
    height: int
    rate: int


@dataclass(frozen=True, slots=True)
class Location:
    """Something for FFmpeg to open."""

    path: str
    shown: str
    """For logs and errors: in quotes, without user and password."""
    format: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    is_network: bool = False
    is_device: bool = False


def parse_source(spec: str) -> TestSource | Location:
    """Read a source as a person writes it; nothing is opened. Never fails: what is no address is a file's name."""
    if match := _TESTSRC.fullmatch(spec):
        width, height, rate = match.groups()
        default_width, default_height = DEFAULT_SIZE
        return TestSource(int(width or default_width), int(height or default_height), int(rate or DEFAULT_RATE))
    if match := _DEVICE.fullmatch(spec):
        path, width, height, rate = match.groups()
        options = [("video_size", f"{width}x{height}")] if width else []
        options += [("framerate", rate)] if rate else []
        # Only cameras need their format named: a sound card's device is opened as `alsa` by no path of this kind.
        return Location(path, repr(path), "v4l2", tuple(options), is_device=True)
    if _URL.match(spec):
        # RTSP over TCP: over UDP FFmpeg reorders nothing and a lost packet smears the picture until the next keyframe.
        options = [("rtsp_transport", "tcp")] if spec.lower().startswith(("rtsp://", "rtsps://")) else []
        return Location(spec, repr(_without_password(spec)), None, tuple(options), is_network=True)
    return Location(spec, repr(spec))


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.split("://", 1)[0] + "://..."
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"  # nor the query: that is where other cameras want their password


def describe_failure(error: Exception, location: Location | None = None) -> str:
    """Return in plain words what FFmpeg's `error` means; its own text repeats the whole address, password included."""
    if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) in {errno.ENODEV, errno.ENXIO}:
        if location is not None and location.is_device:
            cameras = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*")))
            return f"no such device; cameras on this machine: {cameras or 'none'}"
        return "no such file" if location is None or not location.is_network else "not found"
    if isinstance(error, av.InvalidDataError):
        return "not a media file or stream that FFmpeg can read"
    if isinstance(error, av.ExitError):
        return "no answer in time"
    if isinstance(error, av.FFmpegError):
        return error.strerror or type(error).__name__
    return str(getattr(error, "strerror", None) or type(error).__name__)
