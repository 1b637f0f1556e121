"""Any interleaving of clients and engine keeps the tables consistent and the promises to clients kept."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from signaling import effects, inputs, protocol
from signaling.effects import Client, Fail, Send
from signaling.protocol import Role
from signaling.rooms import RoomLimits, Rooms
from signaling.state import AbsenceEnds, FeedState, RoomEnds
from tests.helpers.beliefs import Beliefs
from tests.helpers.engine_model import EngineModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from signaling.inputs import RoomsEvent

WEBS = [Client(Role.WEB, name) for name in "ab"]
CLIENTS = WEBS + [Client(Role.DEVICE, name) for name in "xyz"]
SMALL = st.integers(1, 40)
LIMITS = RoomLimits(
    rooms_per_client=3,
    members_per_room=4,
    pauses_per_subscription=2,
    stop_grace_seconds=5,
    invitation_seconds=20,
    resume_grace_seconds=30,
)
client = st.sampled_from(CLIENTS)


class RoomsMachine(RuleBasedStateMachine):
    """Clients do anything at any time; the engine is a queue of calls, answered in any order within a lane."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms = Rooms(itertools.count(1).__next__, LIMITS)
        self.now = 1000.0
        self.absent: dict[Client, float] = {}
        """Clients without a socket, and since when; they are told things for when they are back."""
        self.online: dict[Client, set[str]] = {}
        """The devices that each WEB believes to be there."""
        self.engine = EngineModel()
        self.heard: dict[Client, set[tuple[int, int]]] = {}
        """What each WEB was told to listen to, as (room, feed)."""
        self.beliefs = Beliefs()
        self.request_ids = itertools.count(1)
        self.is_stopping = False

    def run(self, event: RoomsEvent) -> None:
        going = event.client if isinstance(event, inputs.ClientGone) else None
        for effect in self.rooms.handle(event, self.now):
            if isinstance(effect, (Send, Fail)):
                assert effect.client != going, "a client that is gone is told something"
                assert effect.client in self.heard, f"nobody there to hear {effect}"
                if isinstance(effect, Send):
                    self.note(effect)
            elif isinstance(effect, effects.Forget):
                assert self.now - self.absent.pop(effect.client) >= LIMITS.resume_grace_seconds
                del self.heard[effect.client]
                self.beliefs.forget(effect.client)
            elif isinstance(effect, effects.Fault):
                raise effect.error
            else:
                self.engine.pending.append(effect)
            self.beliefs.take(event, effect, self.rooms.state)

    def note(self, effect: Send) -> None:
        known = self.heard[effect.client]
        if isinstance(effect.event, protocol.StartListening):
            key = (effect.event.room_id, effect.event.feed)
            assert key not in known, "announced twice"
            known.add(key)
        elif isinstance(effect.event, protocol.StopListening):
            known.remove((effect.event.room_id, effect.event.feed))
        elif isinstance(effect.event, protocol.TracksChanged):
            assert (effect.event.room_id, effect.event.feed) in known, "what it was not told of has changed"
        elif isinstance(effect.event, protocol.DeviceOnline):
            assert effect.event.device not in self.online[effect.client]
            self.online[effect.client].add(effect.event.device)
        elif isinstance(effect.event, protocol.DeviceOffline):
            self.online[effect.client].remove(effect.event.device)
        elif isinstance(effect.event, protocol.Left | protocol.RoomClosed):
            known -= {key for key in known if key[0] == effect.event.room_id}

    # --- a way deep into the state, which single steps seldom find

    @initialize()
    def everybody_is_here(self) -> None:
        for who in CLIENTS:
            self.connect(who)

    @rule(who=st.sampled_from(WEBS), device=client, pick=SMALL, until=st.integers(1, 6))
    def watch(self, who: Client, device: Client, pick: int, until: int) -> None:
        """Go as far as `until` on the way from an invitation to media."""
        self.connect(who)
        self.connect(device)
        if not self.rooms.state.rooms:
            self.create(who)
        self.join(who, pick)
        self.join(device, pick)
        steps: list[Callable[[], object]] = [
            lambda: self.offer(device),
            self.engine_works,
            self.everything_flows,
            lambda: self.subscribe(who, pick, pick),
            self.engine_works,
            lambda: self.answer(who, None),
        ]
        for step in steps[:until]:
            step()

    @rule(who=st.sampled_from(WEBS), leaver=client, pick=SMALL)
    def share(self, who: Client, leaver: Client, pick: int) -> None:
        """Bring what flows into a room of one's own and watch it there; somebody leaves one room."""
        self.connect(who)
        self.create(who)
        room = max(self.rooms.state.rooms, default=0)
        self.run(inputs.JoinRequested(who, room))
        self.run(inputs.InviteRequested(who, room, standing=pick % 3 == 0))
        for feed in list(self.rooms.state.feeds):
            self.run(inputs.SubscribeRequested(who, room, feed))
        if pick % 2:
            self.engine_works()
        self.leave(leaver, pick)

    def everything_flows(self) -> None:
        for feed in sorted(self.engine.feeds):
            self.run(inputs.FeedFlowing(feed, ()))

    @rule()
    def engine_works(self) -> None:
        while self.engine.pending:
            self.engine_call(1, works=True, final=True)

    # --- clients

    @rule(who=client)
    def connect(self, who: Client) -> None:
        if who in self.absent:
            self.come_back(who)
        if who not in self.heard:
            self.heard[who] = set()
            if who.role is Role.WEB:
                self.online[who] = {other.id for other in self.heard if other.role is Role.DEVICE}
            self.run(inputs.ClientConnected(who))

    @rule(who=client)
    def vanish(self, who: Client) -> None:
        self.run(inputs.ClientGone(who))
        self.beliefs.forget(who)
        self.heard.pop(who, None)
        self.absent.pop(who, None)

    @rule(who=client)
    def lose_socket(self, who: Client) -> None:
        if who in self.heard and who not in self.absent:
            self.absent[who] = self.now
            self.run(inputs.ClientAbsent(who))

    @rule(who=client)
    def come_back(self, who: Client) -> None:
        """Resume, within the grace period or from one living socket to another."""
        if who in self.heard:
            self.absent.pop(who, None)
            self.run(inputs.ClientResumed(who))
            found = self.rooms.snapshot(who)
            assert {(room, feed) for room, feeds in found.rooms.items() for feed in feeds} == self.heard[who]

    @rule(seconds=st.sampled_from([0.5, 4.0, 5.0, 16.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.rooms.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.run(inputs.Tick())
        self.now = end

    def ask(self, event: inputs.ClientRequest) -> None:
        if event.client in self.heard and event.client not in self.absent:
            self.run(event)

    @rule(who=client)
    def create(self, who: Client) -> None:
        if who.role is Role.WEB:
            self.ask(inputs.RoomRequested(who))

    def some_room(self, pick: int) -> int:
        rooms = list(self.rooms.state.rooms)
        return rooms[pick % len(rooms)] if rooms else pick

    def some_feed(self, pick: int) -> int:
        feeds = list(self.rooms.state.feeds)
        return feeds[pick % len(feeds)] if feeds else pick

    @rule(who=client, pick=SMALL)
    def join(self, who: Client, pick: int) -> None:
        self.ask(inputs.JoinRequested(who, self.some_room(pick)))

    @rule(who=client, pick=SMALL, named=st.none() | st.just(("x", "nobody")), standing=st.booleans())
    def invite(self, who: Client, pick: int, named: tuple[str, ...] | None, standing: bool) -> None:  # noqa: FBT001
        if who.role is Role.WEB:
            self.ask(inputs.InviteRequested(who, self.some_room(pick), named, None, standing))

    @rule(who=st.sampled_from(WEBS), pick=SMALL, paused=st.booleans())
    def pause(self, who: Client, pick: int, paused: bool) -> None:  # noqa: FBT001  hypothesis calls it
        self.ask(inputs.PauseRequested(who, self.some_feed(pick), frozenset(("audio",)), paused))

    @rule(who=st.sampled_from(WEBS), pick=SMALL)
    def stop_receiving(self, who: Client, pick: int) -> None:
        self.ask(inputs.StopReceivingRequested(who, self.some_feed(pick)))

    @rule(who=client)
    def offer(self, who: Client) -> None:
        self.ask(inputs.OfferReceived(who, "v=0"))

    @rule(who=client, pick=SMALL, other=SMALL)
    def subscribe(self, who: Client, pick: int, other: int) -> None:
        if who.role is Role.WEB:
            self.ask(inputs.SubscribeRequested(who, self.some_room(pick), self.some_feed(other)))

    @rule(who=client, pick=st.none() | SMALL)
    def answer(self, who: Client, pick: int | None) -> None:
        feed = None if pick is None else self.some_feed(pick)
        self.ask(inputs.AnswerReceived(who, "v=0", feed, next(self.request_ids)))

    @rule(who=client)
    def unpublish(self, who: Client) -> None:
        self.ask(inputs.UnpublishRequested(who))

    @rule(who=client, pick=st.none() | SMALL)
    def leave(self, who: Client, pick: int | None) -> None:
        self.ask(inputs.LeaveRequested(who, None if pick is None else self.some_room(pick)))

    @rule(who=st.sampled_from(WEBS))
    def list_devices(self, who: Client) -> None:
        if who not in self.heard or who in self.absent:
            return
        (reply,) = self.rooms.handle(inputs.DevicesRequested(who), self.now)
        assert isinstance(reply, Send)
        assert isinstance(reply.event, protocol.Devices)
        assert {found.device for found in reply.event.devices} == self.online[who]
        for found in reply.event.devices:
            device = self.rooms.state.participants[Client(Role.DEVICE, found.device)]
            flows = device.feed is not None and self.rooms.state.feeds[device.feed].state is FeedState.FLOWING
            asked = "invited" if device.rooms or device.invitations else "available"
            assert found.state == ("streaming" if flows else asked)
            assert found.feed == (device.feed if flows else None)

    # --- the operator

    @rule(pick=SMALL)
    def close_room(self, pick: int) -> None:
        room = self.some_room(pick)
        self.run(inputs.RoomCloseOrdered(room))
        assert room not in self.rooms.state.rooms

    @rule(pick=SMALL)
    def stop_publication(self, pick: int) -> None:
        feed = self.some_feed(pick)
        self.run(inputs.PublicationStopOrdered(feed))
        assert feed not in self.rooms.state.feeds

    # --- the engine

    @rule(pick=SMALL, works=st.booleans(), final=st.booleans())
    def engine_call(self, pick: int, works: bool, final: bool) -> None:  # noqa: FBT001  hypothesis calls it
        if not self.engine.pending:
            return
        result = self.engine.perform(self.engine.take(pick), works=works, final=final)
        if result is not None:
            self.run(result)

    @rule(pick=SMALL)
    def media_flows(self, pick: int) -> None:
        if self.engine.feeds:
            self.run(inputs.FeedFlowing(sorted(self.engine.feeds)[pick % len(self.engine.feeds)], ()))

    @rule(pick=SMALL)
    def media_dies(self, pick: int) -> None:
        if self.engine.feeds:
            feed = sorted(self.engine.feeds)[pick % len(self.engine.feeds)]
            self.engine.end_feed(feed)
            self.run(inputs.FeedLost(feed))

    @rule(pick=SMALL)
    def tracks_change(self, pick: int) -> None:
        if self.engine.subscriptions:
            number = sorted(self.engine.subscriptions)[pick % len(self.engine.subscriptions)]
            self.run(inputs.OfferChanged(number, "v=0"))
            self.run(inputs.WantedTracksChanged(self.engine.subscriptions[number], ("v",)))

    @rule(pick=SMALL)
    def subscription_dies(self, pick: int) -> None:
        if self.engine.subscriptions:
            number = sorted(self.engine.subscriptions)[pick % len(self.engine.subscriptions)]
            del self.engine.subscriptions[number]
            self.run(inputs.SubscriptionLost(number))

    @precondition(lambda self: len(self.rooms.state.subscriptions) > 1)
    @rule()
    def stop(self) -> None:
        self.is_stopping = True
        self.run(inputs.ServerStopping())
        assert not self.rooms.state.rooms
        assert not self.rooms.state.feeds
        assert self.rooms.deadline() is None
        for who in self.absent:
            del self.heard[who]
            self.run(inputs.ClientGone(who))
        self.absent.clear()

    # --- what always holds

    @invariant()
    def tables_agree(self) -> None:
        self.rooms.check()

    @invariant()
    def clients_know_what_flows(self) -> None:
        state = self.rooms.state
        announced = {
            (web, room.id, feed)
            for room in state.rooms.values()
            for feed, webs in room.announced.items()
            for web in webs
        }
        assert announced == {(web, *key) for web, keys in self.heard.items() for key in keys}
        for room in state.rooms.values():
            for member in room.members:
                feed = state.participants[member].feed
                if feed is not None and state.feeds[feed].state is FeedState.FLOWING:
                    others = {web for web in room.webs() if web != member}
                    assert set(room.announced.get(feed, ())) == others

    @invariant()
    def nobody_is_in_two_minds(self) -> None:
        if not self.is_stopping:  # whose sockets close next is not told of each room
            for who in self.heard:
                self.beliefs.check(who, self.heard[who], self.rooms.state)

    @invariant()
    def nobody_streams_to_nobody(self) -> None:
        state = self.rooms.state
        for participant in state.participants.values():
            assert participant.feed is None or participant.rooms
        for room in state.rooms.values():
            creator = state.participants.get(room.creator)
            awaited = not room.joined_by_web and creator is not None and room.id in creator.created
            assert room.is_watched() or awaited or RoomEnds(room.id) in state.timers

    @invariant()
    def everybody_knows_who_is_there(self) -> None:
        there = {who.id for who in self.heard if who.role is Role.DEVICE}
        assert all(self.online[who] == there for who in self.heard if who.role is Role.WEB)
        assert set(self.rooms.state.participants) == set(self.heard)

    @invariant()
    def everybody_absent_has_a_limit(self) -> None:
        state = self.rooms.state
        assert {who for who in state.participants if AbsenceEnds(who) in state.timers} == set(self.absent)

    @invariant()
    def whoever_waits_for_the_engine_gets_its_answer(self) -> None:
        state = self.rooms.state
        asked = {effect.feed for effect in self.engine.pending if isinstance(effect, effects.Republish)}
        assert {feed.id for feed in state.feeds.values() if feed.republishing} == asked & set(state.feeds)
        pauses = Counter(effect.subscription for effect in self.engine.pending if isinstance(effect, effects.Pause))
        assert all(len(found.pauses) == pauses[found.id] for found in state.subscriptions.values())

    @invariant()
    def nothing_is_overdue(self) -> None:
        due = self.rooms.deadline()
        assert due is None or due > self.now

    def teardown(self) -> None:
        for who in CLIENTS:
            self.vanish(who)
        assert self.rooms.state.is_empty()
        self.engine_works()
        assert not self.engine.feeds, "the engine was left with a feed"
        assert not self.engine.subscriptions, "the engine was left with a subscription"


RoomsMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestRooms = RoomsMachine.TestCase
