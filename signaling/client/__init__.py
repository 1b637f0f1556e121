"""Devices and viewers in Python, on stock aiortc: what users write their own with.

`Device` publishes tracks when invited, `Viewer` invites and watches. `open_source` opens a test picture, a file, a
camera or a network stream for a device.
"""

from .device import Device, DeviceStatus
from .errors import (
    CertificateError,
    ClientError,
    ConnectError,
    DisconnectedError,
    MediaError,
    NoFeedError,
    ReplacedError,
    RequestTimeoutError,
    RoomClosedError,
    ServerError,
    SourceError,
)
from .feed import Feed, FeedStats, ReceivedTrack
from .sources import Media, open_source, open_source_in_thread, read_frame_counter
from .viewer import DeviceInfo, Viewer

__all__ = [
    "CertificateError",
    "ClientError",
    "ConnectError",
    "Device",
    "DeviceInfo",
    "DeviceStatus",
    "DisconnectedError",
    "Feed",
    "FeedStats",
    "Media",
    "MediaError",
    "NoFeedError",
    "ReceivedTrack",
    "ReplacedError",
    "RequestTimeoutError",
    "RoomClosedError",
    "ServerError",
    "SourceError",
    "Viewer",
    "open_source",
    "open_source_in_thread",
    "read_frame_counter",
]
