"""Fuzz ICE-TCP's framing (RFC 4571): a stream, in whatever pieces it comes, is cut into the same datagrams."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, cast

from hypothesis import strategies as st

from sfu.transport.tcp import MAX_FRAME_BYTES, MAX_UNPROVED_FRAMES, TcpListener, TcpPath

from .harness import Target
from .mutators import mutate_bytes
from .stun import FakeEndpoint

if TYPE_CHECKING:
    from random import Random

    from sfu.transport.port import MediaPort

TOKENS = (b"\0\0", b"\0\1\0", b"\x08\0", b"\x08\1", b"\xff\xff", b"\0\x14", b"\0" * 64)


class FakePort:
    """A media port that keeps what comes."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.frames: list[bytes] = []
        self.turns = 0

    def begin_turn(self) -> None:
        self.turns += 1

    def end_turn(self) -> None:
        self.turns -= 1

    def dispatch_unknown(self, _path: TcpPath, data: bytes, _now: float) -> None:
        self.frames.append(data)

    dispatch = dispatch_unknown


class FakeTransport(asyncio.Transport):
    """A TCP connection without a socket."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        raise AssertionError("nothing here may stop reading")


_PROVED = FakeEndpoint()


def one_input(data: bytes) -> None:
    """Take a stream in pieces; the first byte gives their size. Nothing is raised; what breaks the framing ends it.

    Odd sizes are those of a connection that has proved itself.
    """
    port, transport = FakePort(), FakeTransport()
    path = TcpPath(TcpListener(cast("MediaPort", port)))
    path._transport = transport
    size, stream = (data[0] + 1 if data else 1), data[1:]
    if size % 2:
        path.endpoint = _PROVED
    for position in range(0, len(stream), size):
        if transport.aborted:
            break
        path.data_received(stream[position : position + size])
        assert port.turns == 0
        assert len(path._buffer) <= MAX_FRAME_BYTES + 2 + size
    frames, broken = _reference(stream)
    if path.endpoint is None and len(frames) > MAX_UNPROVED_FRAMES:
        frames, broken = frames[:MAX_UNPROVED_FRAMES], True
    assert port.frames == frames
    assert transport.aborted is broken
    assert port.drops.total() == broken


def _reference(stream: bytes) -> tuple[list[bytes], bool]:
    """Cut a stream as RFC 4571 section 2 says; tell whether a frame is too long."""
    frames: list[bytes] = []
    while len(stream) >= 2:
        length = int.from_bytes(stream[:2], "big")
        if length > MAX_FRAME_BYTES:
            return frames, True
        if len(stream) < 2 + length:
            break
        frames.append(stream[2 : 2 + length])
        stream = stream[2 + length :]
    return frames, False


def mutate(rng: Random, corpus: list[bytes]) -> bytes:
    """Change bytes of a stream."""
    return mutate_bytes(rng, corpus, TOKENS)


_frames = st.binary(max_size=40).map(lambda frame: len(frame).to_bytes(2, "big") + frame)
_streams = st.lists(_frames | st.sampled_from(TOKENS) | st.binary(max_size=4), max_size=8).map(b"".join)
TARGET = Target(
    "tcp", one_input, mutate, st.builds(lambda size, rest: bytes([size]) + rest, st.integers(0, 255), _streams)
)
