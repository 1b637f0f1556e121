"""Chromium on both sides of a publication that changes: tracks, slots, ICE restart, a new connection, pause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest_asyncio

from sfu import FeedEnded, FeedStarted, SubscriptionEnded, SubscriptionOffer
from tests.helpers.peers import running_engine, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from sfu import Engine
    from tests.helpers.browser import Browsers
    from tests.helpers.peers import Events

PAGE = """
window.streams = {};
window.paint = (colour) => {
  const canvas = document.createElement('canvas');
  canvas.width = 320; canvas.height = 240;
  const context = canvas.getContext('2d');
  let ticks = 0;
  setInterval(() => {
    context.fillStyle = colour; context.fillRect(0, 0, 320, 240);
    context.fillStyle = 'grey'; context.fillRect(ticks++ % 300, 220, 20, 20);
  }, 50);
  return canvas.captureStream(20).getVideoTracks()[0];
};
window.publishing = async (method, options) => {
  await pc.setLocalDescription(await pc.createOffer(options || {}));
  const answer = await window[method](pc.localDescription.sdp);
  await pc.setRemoteDescription({type: 'answer', sdp: answer});
};
window.watched = {};
window.answering = async (sdp) => {
  if (!window.viewer) {
    window.viewer = new RTCPeerConnection();
    viewer.ontrack = ({track}) => {
      const video = document.createElement('video');
      video.muted = true; video.autoplay = true;
      video.srcObject = new MediaStream([track]);
      document.body.append(video);
      watched[track.id] = video;
    };
  }
  await viewer.setRemoteDescription({type: 'offer', sdp});
  await viewer.setLocalDescription(await viewer.createAnswer());
  await window.accept(viewer.localDescription.sdp);
};
window.colour = (id) => {
  const video = watched[id];
  if (!video || !video.videoWidth) return null;
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const [red, green, blue] = context.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data;
  return red > 150 ? 'red' : green > 90 && red < 90 && blue < 90 ? 'green' : blue > 150 ? 'blue' : 'other';
};
window.decoded = async (id) => {
  const receiver = viewer.getReceivers().find((each) => each.track.id === id);
  const report = [...(await receiver.getStats()).values()].find((each) => each.type === 'inbound-rtp');
  return report ? report.framesDecoded : 0;
};
window.until = async (condition) => {
  const deadline = performance.now() + 10000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never: ${condition}`);
    await new Promise((done) => setTimeout(done, 30));
  }
};
window.plays = async (id, frames) => {
  const before = await decoded(id);
  await until(async () => (await decoded(id)) >= before + frames);
};
"""


class Session:
    """A page that publishes feed 1 and watches it as subscription 11."""

    def __init__(self, page: Page, engine: Engine, events: Events) -> None:
        self.page = page
        self.engine = engine
        self.events = events

    async def open(self) -> None:
        async def publish(offer: str) -> str:
            return (await self.engine.publish(1, offer)).answer

        async def republish(offer: str) -> str:
            return (await self.engine.republish(1, offer)).answer

        async def accept(answer: str) -> None:
            await self.engine.accept(11, answer)

        for function in (publish, republish, accept):
            await self.page.expose_function(function.__name__, function)
        await self.page.evaluate(f"() => {{ {PAGE} }}")

    async def run(self, script: str, *values: Any) -> Any:
        return await self.page.evaluate(f"async (values) => {{ {script} }}", list(values))

    async def answer_offer(self) -> str:
        offer = (await self.events.expect(SubscriptionOffer)).offer
        await self.run("await answering(values[0])", offer)
        return offer

    async def shows(self, track: str, colour: str) -> None:
        await self.run("await until(() => colour(values[0]) === values[1]); await plays(values[0], 5)", track, colour)

    async def begin(self) -> str:
        """Publish a red picture and watch it; return its track id."""
        track: str = await self.run(
            "window.pc = new RTCPeerConnection(); const track = paint('red'); pc.addTrack(track, new MediaStream());"
            "await publishing('publish'); return track.id"
        )
        await self.events.expect(FeedStarted)
        await self.run("await answering(values[0])", await self.engine.subscribe(11, 1))
        await self.shows(track, "red")
        return track

    async def add(self, colour: str) -> str:
        track: str = await self.run(
            "const track = paint(values[0]); pc.addTrack(track, new MediaStream());"
            "await publishing('republish'); return track.id",
            colour,
        )
        return track

    async def remove(self, track: str) -> None:
        await self.run(
            "pc.getTransceivers().find((each) => each.sender.track?.id === values[0]).stop();"
            "await publishing('republish')",
            track,
        )


@pytest_asyncio.fixture(loop_scope="session")
async def session(browsers: Browsers) -> AsyncIterator[Session]:
    async with running_engine() as (engine, events), browsers.chromium() as chromium:
        page = await chromium.blank()
        made = Session(page, engine, events)
        await made.open()
        yield made
        assert not events.waiting(FeedEnded)
        assert not events.waiting(SubscriptionEnded)


async def test_tracks_come_and_go_and_use_sections_again(session: Session) -> None:
    red = await session.begin()
    green = await session.add("green")
    await session.answer_offer()
    await session.shows(green, "green")
    # The one that carries the bundle.
    await session.remove(red)
    await session.answer_offer()
    await session.shows(green, "green")
    blue = await session.add("blue")
    await session.answer_offer()
    await session.shows(blue, "blue")
    await session.remove(green)
    await session.answer_offer()
    await session.shows(blue, "blue")
    again = await session.add("red")
    offer = await session.answer_offer()
    assert offer.count("m=video") == 3, "the section of the green one"
    await session.shows(again, "red")
    await session.shows(blue, "blue")


async def test_an_ice_restart_and_a_new_connection_keep_the_viewer_playing(session: Session) -> None:
    red = await session.begin()
    peer = session.engine._feeds[1].newest.peer
    ufrag = peer.ice.local_ufrag
    await session.run("await publishing('republish', {iceRestart: true})")
    assert peer.ice.local_ufrag != ufrag
    await until(lambda: peer.ice._moved)
    await session.run("await plays(values[0], 20)", red)
    assert session.engine._feeds[1].newest.peer is peer

    await session.run(
        "window.old = pc; const [sender] = pc.getSenders(); window.pc = new RTCPeerConnection();"
        "pc.addTrack(sender.track.clone(), new MediaStream()); await publishing('republish')"
    )
    await until(lambda: session.engine._feeds[1].newest.peer is not peer and session.engine._feeds[1].coming is None)
    await session.run("old.close(); await plays(values[0], 20)", red)
    assert await session.run("return colour(values[0])", red) == "red"
    assert not session.events.waiting(SubscriptionOffer)


async def test_a_pause_freezes_the_picture_and_a_resume_moves_it_again(session: Session) -> None:
    red = await session.begin()
    producer = session.engine._feeds[1].producers[0]
    consumer = session.engine._subscriptions[11].subscriber.consumers[0]

    async def more_come(packets: int) -> None:
        enough = producer.packets + packets
        await until(lambda: producer.packets > enough)

    assert await session.engine.pause(11, frozenset({"video"})) == ("video",)
    sent = consumer.packets
    await more_come(10)  # what was on its way is decoded by then
    before = await session.run("return decoded(values[0])", red)
    await more_come(20)
    assert await session.run("return decoded(values[0])", red) == before
    assert consumer.packets == sent
    assert await session.engine.resume(11, frozenset({"video"})) == ()
    await session.run("await plays(values[0], 20)", red)
    lost = await session.run(
        "const stats = [...(await viewer.getStats()).values()];"
        "return stats.find((each) => each.type === 'inbound-rtp').packetsLost"
    )
    assert lost == 0
    assert not consumer.drops["nack_too_old"]
