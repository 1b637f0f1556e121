"""EngineModel: the media engine as the rooms know it, a queue of calls that it answers well or badly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signaling import effects, inputs, protocol
from signaling.protocol import ErrorCode

if TYPE_CHECKING:
    from signaling.effects import EngineEffect
    from signaling.inputs import RoomsEvent


class EngineModel:
    """What the engine has and what it is asked for."""

    def __init__(self) -> None:
        self.pending: list[EngineEffect] = []
        self.feeds: set[int] = set()
        self.subscriptions: dict[int, int] = {}
        """Their feeds."""

    def take(self, pick: int) -> EngineEffect:
        """Take out a pending call, the first of those about the same thing: the service keeps their order."""
        chosen = self.pending[pick % len(self.pending)]
        effect = next(other for other in self.pending if _lane(other) == _lane(chosen))
        self.pending.remove(effect)
        return effect

    def perform(self, effect: EngineEffect, *, works: bool, final: bool) -> RoomsEvent | None:
        """Answer a call; `final` is a failure that allows no other attempt."""
        result: RoomsEvent | None = None
        match effect:
            case effects.Publish(feed) if works:
                self.feeds.add(feed)
                result = inputs.PublishDone(feed, "v=0", ())
            case effects.Publish(feed):
                result = inputs.PublishFailed(feed, ErrorCode.BAD_SDP, "m")
            case effects.Republish(feed) if works and feed in self.feeds:
                track = protocol.Track(id=str(final), kind="video", codec="VP8", label="v")
                result = inputs.RepublishDone(feed, "v=0", (track,))
            case effects.Republish(feed):
                result = inputs.RepublishFailed(feed, ErrorCode.BAD_SDP, "m")
            case effects.Unpublish(feed):
                self.end_feed(feed)
            case _:
                result = self._perform_for_subscriber(effect, works=works, final=final)
        return result

    def _perform_for_subscriber(self, effect: EngineEffect, *, works: bool, final: bool) -> RoomsEvent | None:
        result: RoomsEvent | None = None
        match effect:
            case effects.Subscribe(number, feed) if works and feed in self.feeds:
                self.subscriptions[number] = feed
                result = inputs.SubscribeDone(number, "v=0")
            case effects.Subscribe(number):
                result = inputs.SubscribeFailed(number, ErrorCode.FEED_NOT_FOUND, "m")
            case effects.Accept(number) if works and number in self.subscriptions:
                result = inputs.AnswerDone(number)
            case effects.Accept(number):
                final = final or number not in self.subscriptions
                code = ErrorCode.BAD_STATE if final else ErrorCode.BAD_SDP
                result = inputs.AnswerFailed(number, code, "m", final=final)
            case effects.Pause(number, _, paused) if works and number in self.subscriptions:
                result = inputs.PauseDone(number, ("audio",) if paused else ())
            case effects.Pause(number):
                result = inputs.PauseFailed(number, ErrorCode.BAD_STATE, "m")
            case effects.Unsubscribe(number):
                self.subscriptions.pop(number, None)
        return result

    def end_feed(self, feed: int) -> None:
        """End a feed, and the subscriptions to it."""
        self.feeds.discard(feed)
        self.subscriptions = {number: of for number, of in self.subscriptions.items() if of != feed}


def _lane(effect: EngineEffect) -> tuple[str, int]:
    match effect:
        case effects.Publish(feed) | effects.Republish(feed) | effects.Unpublish(feed):
            return ("feed", feed)
        case effects.Subscribe(number) | effects.Accept(number) | effects.Pause(number) | effects.Unsubscribe(number):
            return ("subscription", number)
