"""Collect seeds: what a real Chromium and stock aiortc clients send to a real server, written to `corpus/`.

`python -m tests.fuzz.collect`; to be run again when clients change what they send. What stands in `corpus/` under
other names than `chromium-` and `aiortc-` is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from unittest import mock

import aioice.ice
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from sfu.publisher import Publisher
from sfu.rtp.packet import parse_header
from sfu.subscriber import Subscriber
from sfu.transport import port as media_port
from signaling import protocol
from tests.e2e.probes import start_device, start_watching, wait_live
from tests.helpers.browser import running_chromium
from tests.helpers.peers import CountingTrack, publisher, running_engine, viewer
from tests.helpers.server import running_server

from . import media, stun
from .answers import PUBLISHED, TRACKS
from .harness import CORPUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KEPT = {"offers": 2, "answers": 2, "events": 12, "stun": 3, "rtp": 6, "rtcp": 8, "payloads": 6}
"""Of each kind from each client; of what is alike the shortest are kept."""
PLAY_SECONDS = 3.0
Samples = dict[str, dict[Any, bytes]]


def collect(samples: Samples, name: str, alike: Any, data: bytes) -> None:
    """Keep `data` if it is the shortest of its likes."""
    known = samples[name].get(alike)
    if known is None or len(data) < len(known):
        samples[name][alike] = bytes(data)


@contextlib.contextmanager
def listening(samples: Samples) -> Iterator[None]:
    """Have everything that clients send noted for the block."""

    def rtp(_self: Any, packets: Sequence[bytes], _now: float) -> None:
        for data in packets:
            header = parse_header(data)
            payload = data[header.payload_offset : header.payload_end(len(data))]
            collect(samples, "rtp", (header.payload_type, header.marker, bool(header.padding)), data)
            collect(samples, "payloads", (header.payload_type, payload[:1]), payload[:200])

    def rtcp(_self: Any, data: bytes, _now: float) -> None:
        collect(samples, "rtcp", (data[1], data[0], len(data) // 24), data)

    def check(data: bytes) -> None:
        # Signed anew with the password that the target knows.
        parts = [part for part in stun.attributes(data) if part[0] not in {0x0006, 0x0008, 0x8028}]
        name = (0x0006, f"{stun.UFRAG}:{stun.REMOTE_UFRAG}".encode())
        collect(
            samples, "stun", tuple(kind for kind, _ in parts), stun.sign(stun.message(1, data[8:20], [name, *parts]))
        )

    def event(_role: Any, text: str) -> None:
        collect(samples, "events", text[:28], text.encode())

    with (
        _noting(Publisher, "handle_rtp", rtp),
        _noting(Publisher, "handle_rtcp", rtcp),
        _noting(Subscriber, "handle_rtcp", rtcp),
        _noting(media_port, "request_ufrag", check),
        _noting(protocol, "decode", event),
        _noting(
            "sfu.engine", "parse_offer", lambda text, **_: collect(samples, "offers", len(text) // 2000, text.encode())
        ),
        _noting("sfu.engine", "parse_answer", lambda text, _: collect(samples, "answers", text[:9], text.encode())),
    ):
        yield


@contextlib.contextmanager
def _noting(owner: Any, name: str, note: Callable[..., None]) -> Iterator[None]:
    """Call `note` with what a function is called with, before it."""
    where = f"{owner}.{name}" if isinstance(owner, str) else None
    before = getattr(__import__(owner, fromlist=["_"]) if isinstance(owner, str) else owner, name)

    def noted(*arguments: Any, **named: Any) -> Any:
        note(*arguments, **named)
        return before(*arguments, **named)

    with mock.patch(where, noted) if where else mock.patch.object(owner, name, noted):
        yield


async def chromium(samples: Samples) -> None:
    """Play between two pages for a while."""
    with listening(samples):
        async with running_server() as server, running_chromium() as browser:
            await start_device(browser, server.http_url, name="cam-1")
            await wait_live(await start_watching(browser, server.http_url))
            await asyncio.sleep(PLAY_SECONDS)


async def stock(samples: Samples) -> None:
    """Play between two stock aiortc clients for a while."""
    with listening(samples):
        async with (
            running_engine() as (engine, events),
            publisher(engine, events, 1, CountingTrack(), AudioStreamTrack()),
            viewer(engine, 11, 1),
        ):
            await asyncio.sleep(PLAY_SECONDS)
        pc = RTCPeerConnection()
        await pc.setRemoteDescription(RTCSessionDescription(_offer_of_target(), "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        samples["answers"] = {0: pc.localDescription.sdp.encode()}
        await pc.close()


def _offer_of_target() -> str:
    from sfu.negotiation import build_offer  # noqa: PLC0415

    from .offers import LOCAL  # noqa: PLC0415

    return build_offer(TRACKS, PUBLISHED.stream_id, LOCAL)


def write(client: str, samples: Samples) -> None:
    """Write the shortest of each kind, and some of them as one session."""
    for name, kept in samples.items():
        for number, data in enumerate(sorted(kept.values(), key=len)[: KEPT[name]]):
            path = CORPUS / name / f"{client}-{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    session = [(media.PUBLISHER_RTP, data) for data in sorted(samples["rtp"].values(), key=len)[:6]]
    session += [(media.PUBLISHER_RTCP, data) for data in list(samples["rtcp"].values())[:3]]
    session += [(media.VIEWER_RTCP, data) for data in list(samples["rtcp"].values())[:6]]
    session.insert(len(session) // 2, (media.TIME, b"\x40"))
    (CORPUS / "media").mkdir(exist_ok=True)
    (CORPUS / "media" / f"{client}-0").write_bytes(media.join(session))
    frames = b"".join(len(part).to_bytes(2, "big") + part for part in samples["stun"].values())
    (CORPUS / "tcp").mkdir(exist_ok=True)
    (CORPUS / "tcp" / f"{client}-0").write_bytes(b"\x07" + frames)


def main() -> None:
    """Collect from both clients."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]  # noqa: ARG005
    for client, play in (("aiortc", stock), ("chromium", chromium)):
        samples: Samples = defaultdict(dict)
        asyncio.run(play(samples))
        write(client, samples)


if __name__ == "__main__":
    main()
