"""Engine: the door to the media side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .values import EngineEvent, EngineSettings, Publication


class Engine:
    """Terminate WebRTC for publishers and subscribers and forward media from the ones to the others.

    All methods are to be called on the event loop's thread. They are coroutines because an engine may one day live
    elsewhere. News come as `EngineEvent` values to `listener`, called synchronously on the same thread; the listener
    may schedule work but must not raise.
    """

    def __init__(self, settings: EngineSettings, listener: Callable[[EngineEvent], None]) -> None: ...

    async def start(self) -> None:
        """Open the media port; raise `EngineStartError` when it cannot be had."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Close every peer and the port; leave no task behind. Idempotent."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The UDP port in use."""
        raise NotImplementedError

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that candidates carry."""
        raise NotImplementedError

    async def publish(self, feed: int, offer: str) -> Publication:
        """Answer a publisher's SDP `offer` as the new feed `feed`.

        Raises `SdpError`, `NoCommonCodecError`, `EngineStateError` (the feed exists), `EngineFullError`.
        """
        raise NotImplementedError

    async def unpublish(self, feed: int) -> None:
        """End a feed and every subscription to it. Unknown feeds are ignored."""
        raise NotImplementedError

    async def subscribe(self, subscription: int, feed: int, tracks: Sequence[str] | None = None) -> str:
        """Open `subscription` to `feed` (or to some of its `tracks`, by track id) and return the SDP offer for it.

        Raises `FeedNotFoundError`, `TrackNotFoundError`, `EngineStateError`, `EngineFullError`.
        """
        raise NotImplementedError

    async def accept(self, subscription: int, answer: str) -> None:
        """Take the subscriber's SDP `answer`; media follows once it is connected.

        Raises `SubscriptionNotFoundError`, `SdpError`, `NoCommonCodecError`, `EngineStateError` (answered already).
        After `SdpError` the subscription is still open and may be answered again.
        """
        raise NotImplementedError

    async def unsubscribe(self, subscription: int) -> None:
        """End a subscription. Unknown ones are ignored."""
        raise NotImplementedError
