"""EngineCalls: runs the rooms' decisions on the engine and turns what comes of them into events for the rooms."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import sfu

from . import effects, inputs, protocol
from .logs import EventLog, internal_error
from .protocol import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .effects import EngineEffect
    from .inputs import RoomsEvent

log = EventLog("signaling.engine_calls")

ENGINE_CALL_TIMEOUT_SECONDS = 10.0
"""An engine in this process answers in milliseconds; this is for one that has gone astray."""
ENGINE_STOP_TIMEOUT_SECONDS = 0.5
"""The whole server stops within two seconds."""

_ENGINE_CODES: Mapping[type[sfu.EngineError], ErrorCode] = {
    sfu.SdpError: ErrorCode.BAD_SDP,
    sfu.NoCommonCodecError: ErrorCode.NO_COMMON_CODEC,
    sfu.FeedNotFoundError: ErrorCode.FEED_NOT_FOUND,
    sfu.TrackNotFoundError: ErrorCode.BAD_DATA,
    sfu.SubscriptionNotFoundError: ErrorCode.BAD_STATE,
    sfu.EngineStateError: ErrorCode.BAD_STATE,
    sfu.EngineFullError: ErrorCode.BAD_STATE,
}


class EngineCalls:
    """Calls of one engine. Those about one feed or one subscription run one after another, others beside them.

    `listener` gets every result and all news, `observer` the engine's events themselves; neither may raise.
    """

    def __init__(
        self,
        settings: sfu.EngineSettings,
        listener: Callable[[RoomsEvent], None],
        observer: Callable[[sfu.EngineEvent], None] = lambda _event: None,
    ) -> None:
        self.engine = sfu.Engine(settings, self._on_engine_event)
        self._listener = listener
        self._observer = observer
        self._lanes: dict[tuple[str, int], deque[EngineEffect]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Abandon the calls under way and stop the engine; leave no task behind. Idempotent."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(ENGINE_STOP_TIMEOUT_SECONDS):
                await self.engine.stop()
        except TimeoutError:
            log.warning("engine_stop_timed_out", seconds=ENGINE_STOP_TIMEOUT_SECONDS)

    def run(self, effect: EngineEffect) -> None:
        """Run an engine call after those about the same feed or subscription.

        A lane holds a handful at most: offers and answers are taken one at a time, and pauses are limited.
        """
        key = _lane(effect)
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append(effect)
            return
        self._lanes[key] = deque((effect,))
        task = asyncio.create_task(self._run_lane(key), name=f"signaling-{key[0]}-{key[1]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_lane(self, key: tuple[str, int]) -> None:
        lane = self._lanes[key]
        try:
            while lane:
                result = await self._call(lane.popleft())
                if result is not None:
                    self._listener(result)
        finally:
            del self._lanes[key]

    async def _call(self, effect: EngineEffect) -> RoomsEvent | None:
        """Make one engine call; return its result, good or bad."""
        try:
            async with asyncio.timeout(ENGINE_CALL_TIMEOUT_SECONDS):
                return await self._call_engine(effect)
        except sfu.EngineError as error:
            return _failed(effect, _ENGINE_CODES.get(type(error), ErrorCode.INTERNAL), str(error))
        except Exception as error:  # noqa: BLE001  an engine's bug is told to the one client that it concerns
            reference = log.bug("engine_call_failed", error, call=type(effect).__name__)
            if isinstance(effect, effects.Publish):
                self.run(effects.Unpublish(effect.feed))
            elif isinstance(effect, effects.Subscribe):
                self.run(effects.Unsubscribe(effect.subscription))
            return _failed(effect, ErrorCode.INTERNAL, internal_error(reference))

    async def _call_engine(self, effect: EngineEffect) -> RoomsEvent | None:
        match effect:
            case effects.Publish(feed, sdp):
                publication = await self.engine.publish(feed, sdp)
                result: RoomsEvent = inputs.PublishDone(feed, publication.answer, _tracks(publication.tracks))
            case effects.Republish(feed, sdp):
                publication = await self.engine.republish(feed, sdp)
                result = inputs.RepublishDone(feed, publication.answer, _tracks(publication.tracks))
            case effects.Subscribe(subscription, feed, tracks):
                result = inputs.SubscribeDone(subscription, await self.engine.subscribe(subscription, feed, tracks))
            case effects.Accept(subscription, sdp):
                await self.engine.accept(subscription, sdp)
                result = inputs.AnswerDone(subscription)
            case effects.Pause(subscription, kinds, paused):
                call = self.engine.pause if paused else self.engine.resume
                result = inputs.PauseDone(subscription, await call(subscription, kinds))
            case effects.Unpublish(feed):
                await self.engine.unpublish(feed)
                return None
            case effects.Unsubscribe(subscription):
                await self.engine.unsubscribe(subscription)
                return None
        return result

    def _on_engine_event(self, event: sfu.EngineEvent) -> None:
        """Pass the engine's news on; never raises, as the engine asks of its listener."""
        log.debug("engine_event", kind=type(event).__name__, feed=event.feed)
        self._observer(event)
        match event:
            case sfu.FeedStarted(feed, tracks):
                self._listener(inputs.FeedFlowing(feed, _tracks(tracks)))
            case sfu.FeedEnded(feed):
                self._listener(inputs.FeedLost(feed))
            case sfu.SubscriptionEnded(subscription):
                self._listener(inputs.SubscriptionLost(subscription))
            case sfu.SubscriptionOffer(subscription, _, offer):
                self._listener(inputs.OfferChanged(subscription, offer))
            case sfu.TracksWanted(feed, wanted):
                self._listener(inputs.WantedTracksChanged(feed, wanted))
            case sfu.SubscriptionStarted() | sfu.FirstFrameSent():
                pass  # the media is the news


def _lane(effect: EngineEffect) -> tuple[str, int]:
    match effect:
        case effects.Publish(feed) | effects.Republish(feed) | effects.Unpublish(feed):
            return ("feed", feed)
        case effects.Subscribe(number) | effects.Accept(number) | effects.Pause(number) | effects.Unsubscribe(number):
            return ("subscription", number)


def _tracks(tracks: Sequence[sfu.TrackInfo]) -> tuple[protocol.Track, ...]:
    return tuple(protocol.Track(id=track.id, kind=track.kind, codec=track.codec, label=track.label) for track in tracks)


def _failed(effect: EngineEffect, code: ErrorCode, message: str) -> RoomsEvent | None:
    match effect:
        case effects.Publish(feed):
            return inputs.PublishFailed(feed, code, message)
        case effects.Republish(feed):
            return inputs.RepublishFailed(feed, code, message)
        case effects.Pause(subscription):
            return inputs.PauseFailed(subscription, code, message)
        case effects.Subscribe(subscription):
            return inputs.SubscribeFailed(subscription, code, message)
        case effects.Accept(subscription):
            return inputs.AnswerFailed(subscription, code, message, final=code is not ErrorCode.BAD_SDP)
        case effects.Unpublish() | effects.Unsubscribe():
            return None
