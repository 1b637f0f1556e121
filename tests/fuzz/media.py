"""Fuzz what decrypted packets do: a publisher and its viewer, neither of whom keeps to any rule, while time passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from sfu.feed import Feed
from sfu.forwarding.rewriter import StreamRewriter
from sfu.negotiation import parse_offer
from sfu.parameters import AcceptedTrack, SubscriberAnswer
from sfu.publisher import Publisher
from sfu.relay import MediaRelay
from sfu.rtp.packet import parse_header
from sfu.rtp.rtcp import parse_rtcp
from sfu.subscriber import START_DELAY_SECONDS, Subscriber

from . import rtcp, rtp
from .answers import OFFER, PUBLISHED
from .harness import StrictFaults, Target
from .mutators import mutate_bytes, pick

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from sfu.rtp.batch import Run
    from sfu.transport.fanout import Outlet

PUBLISHER_RTP, PUBLISHER_RTCP, VIEWER_RTCP, TIME = range(4)
MAX_STEP_SECONDS = 2.55
FIRST_SSRC, FIRST_SEQUENCE = 1000, 0x10000
NOW = 1000.0
MAX_SENT_PACKETS = 4000
"""By one input of at most 40 records: each NACK asks for 1024 at most, and each retransmission has its budget."""
PUBLISHED_REMB = parse_offer(OFFER.replace("a=rtcp-fb:96 transport-cc\r\n", ""), max_tracks=2)
"""A device that is told its rate by REMB; it is the publisher where an input's first bit is set."""
PUBLISHED_ANEW = parse_offer(
    OFFER.replace("111 63", "63 111")
    .replace("a=extmap:2 ", "a=extmap:5 ")
    .replace("96 97", "102 103")
    .replace(":96", ":102")
    .replace(":97", ":103")
    .replace("apt=96", "apt=102"),
    max_tracks=2,
)
"""The same device on a new connection, with other numbers; it is the publisher where the second bit is set."""
_ANSWER = SubscriberAnswer(
    PUBLISHED.transport, (AcceptedTrack("0", {111: 109, 63: 63}, None), AcceptedTrack("1", {96: 96}, 97))
)


class Viewer:
    """A peer connection that keeps what is sent."""

    outlet: Outlet | None = None

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def crashed(self, error: Exception) -> None:
        raise error

    def send_media(self, runs: Sequence[Run]) -> int:
        packets = [packet for run in runs for packet in run]
        self.packets += packets
        return len(packets)


def one_input(data: bytes) -> None:
    """Run records of kind, 16-bit length and bytes. Nothing is raised; what leaves can be read."""
    reports: list[bytes] = []
    viewer = Viewer()
    relay = MediaRelay(lambda: None, None, StrictFaults())
    feed = _feed(relay, data[0] if data else 0)
    publisher = Publisher(feed.sources, reports.append, lambda: None)
    subscriber = Subscriber(feed.producers, relay, "cname", reports.append)
    now = NOW
    publisher.connected(now)
    subscriber.accept(_ANSWER, now)
    subscriber.connected(now, viewer)
    subscriber.handle_timer(now + START_DELAY_SECONDS)
    for kind, record in records(data):
        if kind == PUBLISHER_RTP:
            publisher.handle_rtp([record], now)
        elif kind == PUBLISHER_RTCP:
            publisher.handle_rtcp(record, now)
        elif kind == VIEWER_RTCP:
            subscriber.handle_rtcp(record, now)
        else:
            now += (record[0] if record else 1) * MAX_STEP_SECONDS / 255
        relay.flush()
        for half in (publisher, subscriber):
            if half.next_deadline() <= now:
                half.handle_timer(now)
    for producer in publisher.producers:
        producer.statistics()
    for consumer in subscriber.consumers:
        consumer.statistics()
    for report in reports:
        parse_rtcp(report)
    ssrcs = {track.ssrc for track in subscriber.offered} | {track.rtx_ssrc for track in subscriber.offered}
    for packet in viewer.packets:
        assert parse_header(packet).ssrc in ssrcs
    assert len(viewer.packets) <= MAX_SENT_PACKETS
    subscriber.close()
    publisher.close()


def _feed(relay: MediaRelay, first: int) -> Feed:
    """Return a feed of the publication that an input's first byte chooses."""
    feed = Feed(1, relay, PUBLISHED.stream_id, 1.0)
    feed.take(feed.plan(PUBLISHED_REMB if first & 0x80 else PUBLISHED, same_connection=False))
    if first & 0x40:
        feed.take(feed.plan(PUBLISHED_ANEW, same_connection=False))
    for number, producer in enumerate(feed.producers):
        # No chance, so that a viewer's feedback can name what it got, and a failure comes again.
        producer.ssrc = FIRST_SSRC + number
        producer._rewriter = StreamRewriter(sequence=FIRST_SEQUENCE, timestamp=0)
    return feed


def records(data: bytes) -> list[tuple[int, bytes]]:
    """Cut an input into records; a rest that is too short is left out."""
    found: list[tuple[int, bytes]] = []
    position = 0
    while position + 3 <= len(data) and len(found) < 40:
        end = position + 3 + int.from_bytes(data[position + 1 : position + 3], "big")
        if end > len(data):
            break
        found.append((data[position] & 3, data[position + 3 : end]))
        position = end
    return found


def join(parts: Sequence[tuple[int, bytes]]) -> bytes:
    """Return the input that has these records."""
    return b"".join(bytes((kind,)) + len(part).to_bytes(2, "big") + part for kind, part in parts)


def mutate(rng: Random, corpus: list[bytes]) -> bytes:
    """Repeat, drop, exchange and change records."""
    parts = records(pick(rng, corpus))
    for _ in range(1 + int(rng.random() * 4)):
        at = int(rng.random() * (len(parts) + 1))
        roll = rng.random()
        if roll < 0.25 or not parts:
            parts[at:at] = [pick(rng, records(pick(rng, corpus)) or [(TIME, b"\x40")])]
        elif roll < 0.35:
            parts.insert(at, (TIME, bytes((int(rng.random() * 256),))))
        elif roll < 0.45:
            del parts[at : at + 2]
        else:
            at %= len(parts)
            kind, part = parts[at]
            tokens = rtp.TOKENS if kind == PUBLISHER_RTP else rtcp.TOKENS
            parts[at] = (kind, mutate_bytes(rng, [part], tokens, most=2))
    made = join(parts)
    return bytes((made[0] | pick(rng, (0, 0x40, 0x80, 0xC0)),)) + made[1:] if made and rng.random() < 0.4 else made


_records = st.one_of(
    st.tuples(st.just(PUBLISHER_RTP), rtp.packets),
    st.tuples(st.sampled_from((PUBLISHER_RTCP, VIEWER_RTCP)), rtcp.compounds),
    st.tuples(st.just(TIME), st.binary(min_size=1, max_size=1)),
)
TARGET = Target("media", one_input, mutate, st.lists(_records, max_size=12).map(join))
