"""Fuzz WebSocket framing (RFC 6455): in whatever pieces a stream comes, the same messages and the same end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from signaling.sockets.frames import (
    INVALID_TEXT,
    MAX_CONTROL_PAYLOAD_BYTES,
    MESSAGE_TOO_BIG,
    PROTOCOL_ERROR,
    UNFINISHED,
    FrameError,
    FrameReader,
    Message,
    Opcode,
    close_code,
    unmask,
)

from .harness import Target
from .mutators import mutate_bytes, pick

if TYPE_CHECKING:
    from random import Random

MAX_BYTES = 300
"""Small, so that short inputs reach it."""
MASK = b"\x11\x22\x33\x44"
FIRSTS = (
    bytes((0x81, 0x01, 0x00, 0x80, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0x83)),
    bytes((0x01, 0x00, 0x00, 0x80, 0x89)),
    bytes((0x81, 0x82, 0x8A)),
)
"""First bytes of frames: all, those of messages in fragments with a ping between, and those of whole ones."""
SIZES = (0, 1, 125, 126, 127, 150, MAX_BYTES - 1, MAX_BYTES, MAX_BYTES + 1)
TOKENS = (
    b"\x81\x80" + MASK,
    b"\x01\x81" + MASK + b"p",
    b"\x80\x80" + MASK,
    b"\x88\x82" + MASK + b"\x12\xca",
    b"\x81\xfe",
)


def one_input(data: bytes) -> None:
    """Read a stream in pieces; the first byte gives their size. What breaks the framing is a `FrameError`.

    A session takes a few messages in a turn, and more may come before the next: so a piece's are left for later, too.
    """
    size, stream = (data[0] + 1 if data else 1), data[1:]
    pieces = [stream[position : position + size] for position in range(0, len(stream), size)]
    messages, code = _read([stream], patient=True)
    assert (messages, code) == _read(pieces, patient=True) == _read(pieces, patient=False)
    assert code in {None, PROTOCOL_ERROR, INVALID_TEXT, MESSAGE_TOO_BIG}
    for message in messages:
        assert len(message.payload) <= (MAX_CONTROL_PAYLOAD_BYTES if message.opcode >= Opcode.CLOSE else MAX_BYTES)
        assert message.opcode is not Opcode.CONTINUATION
        assert message.opcode is not Opcode.TEXT or message.text.encode() == message.payload


def _read(pieces: list[bytes], *, patient: bool) -> tuple[list[Message], int | None]:
    """Return the messages of a stream, and the close code of what ended it before its end.

    Who is not `patient` takes one message of a piece before the next piece comes.
    """
    reader = FrameReader(MAX_BYTES)
    messages: list[Message] = []
    try:
        for number, piece in enumerate(pieces, 1):
            reader.feed(piece)
            while (message := reader.next()) is not None:
                if message is not UNFINISHED:
                    messages.append(message)
                    if message.opcode is Opcode.CLOSE:
                        close_code(message.payload)
                if not patient and number < len(pieces):
                    break
    except FrameError as error:
        return messages, error.code
    return messages, None


def mutate(rng: Random, corpus: list[bytes]) -> bytes:
    """Change bytes of a stream, or make one of whole frames and damage it now and then.

    A changed byte is mostly a broken frame; what is wrong with messages of several needs frames that are right.
    """
    if rng.random() < 0.3:
        return mutate_bytes(rng, corpus, TOKENS)
    firsts = pick(rng, FIRSTS)
    frames = [client_frame(pick(rng, firsts), _payload(rng)) for _ in range(1 + int(rng.random() * 12))]
    if rng.random() < 0.1:
        frames[1:1] = [client_frame(0x00, b"")] * int(rng.random() * 40)
    stream = bytes((int(rng.random() * 256),)) + b"".join(frames)
    return mutate_bytes(rng, [stream], TOKENS) if rng.random() < 0.3 else stream


def _payload(rng: Random) -> bytes:
    size = pick(rng, SIZES) if rng.random() < 0.5 else int(rng.random() * 20)
    return (b"a" * size) if rng.random() < 0.9 else rng.randbytes(size)


def client_frame(first: int, payload: bytes) -> bytes:
    """Return a masked frame with the first byte `first`."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((first,)) + length + MASK + unmask(payload, MASK)


_firsts = st.sampled_from((0x81, 0x01, 0x00, 0x80, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0x83))
_frames = st.builds(client_frame, _firsts, st.binary(max_size=320) | st.text(max_size=40).map(str.encode))
_streams = st.lists(_frames | st.sampled_from(TOKENS) | st.binary(max_size=4), max_size=8).map(b"".join)
TARGET = Target(
    "frames", one_input, mutate, st.builds(lambda size, rest: bytes([size]) + rest, st.integers(0, 255), _streams)
)
