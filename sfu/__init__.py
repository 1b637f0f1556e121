"""The media engine: terminates WebRTC and forwards packets. It knows nothing of rooms, users or HTTP.

`Engine` is the only door; the other names are the values that pass through it.
"""

from .engine import Engine
from .values import (
    EngineError,
    EngineEvent,
    EngineFullError,
    EngineSettings,
    EngineStartError,
    EngineStateError,
    FeedEnded,
    FeedNotFoundError,
    FeedStarted,
    NoCommonCodecError,
    Publication,
    SdpError,
    SubscriptionEnded,
    SubscriptionNotFoundError,
    SubscriptionStarted,
    TrackInfo,
    TrackNotFoundError,
)

__all__ = [
    "Engine",
    "EngineError",
    "EngineEvent",
    "EngineFullError",
    "EngineSettings",
    "EngineStartError",
    "EngineStateError",
    "FeedEnded",
    "FeedNotFoundError",
    "FeedStarted",
    "NoCommonCodecError",
    "Publication",
    "SdpError",
    "SubscriptionEnded",
    "SubscriptionNotFoundError",
    "SubscriptionStarted",
    "TrackInfo",
    "TrackNotFoundError",
]
