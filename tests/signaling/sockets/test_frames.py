"""WebSocket frames: whatever a client cuts them into, and whatever it gets wrong."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.sockets.frames import (
    INVALID_TEXT,
    MAX_FRAGMENTS,
    MAX_FRAMES_PER_STEP,
    MESSAGE_TOO_BIG,
    NO_STATUS,
    PROTOCOL_ERROR,
    UNFINISHED,
    FrameError,
    FrameReader,
    Message,
    Opcode,
    close_code,
    close_frame,
    frame,
    text_frame,
    unmask,
)

MAX_BYTES = 70_000


def client_frame(first: int, payload: bytes, mask: bytes = b"\x11\x22\x33\x44") -> bytes:
    """Return a client's frame; `first` is its first byte (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        header = struct.pack("!BBH", first, 0xFE, size)
    else:
        header = struct.pack("!BBQ", first, 0xFF, size)
    return header + mask + unmask(payload, mask)


def read(data: bytes, max_bytes: int = MAX_BYTES) -> list[Message]:
    reader = FrameReader(max_bytes)
    reader.feed(data)
    return messages(reader)


def messages(reader: FrameReader) -> list[Message]:
    """Return what has come whole, however many steps that takes."""
    return [message for message in iter(reader.next, None) if message is not UNFINISHED]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Message]]:
    """Draw messages, some cut into fragments with control frames between these, and what is to be read."""
    data, expected = bytearray(), []
    for _ in range(draw(st.integers(0, 5))):
        text = draw(st.text("a\u00e4\u6f22\U0001d11e", max_size=200))  # of one byte to four
        payload = text.encode()
        opcode = draw(st.sampled_from((Opcode.TEXT, Opcode.BINARY)))
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        edges = [0, *cuts, len(payload)]
        for number, (start, end) in enumerate(itertools.pairwise(edges)):
            is_last = number == len(cuts)
            first = (0x80 if is_last else 0) | (Opcode.CONTINUATION if number else opcode)
            data += client_frame(first, payload[start:end], draw(st.binary(min_size=4, max_size=4)))
            if not is_last and draw(st.booleans()):
                data += client_frame(0x80 | Opcode.PING, b"?")
                expected.append(Message(Opcode.PING, b"?"))
        expected.append(Message(opcode, payload, text if opcode is Opcode.TEXT else ""))
    return bytes(data), expected


@given(streams(), st.data())
def test_messages_come_whole_and_in_order_however_they_are_cut(
    stream: tuple[bytes, list[Message]], data: st.DataObject
) -> None:
    sent, expected = stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=12)))
    edges = [0, *cuts, len(sent)]
    reader = FrameReader(MAX_BYTES)
    found: list[Message] = []
    for start, end in itertools.pairwise(edges):
        reader.feed(sent[start:end])
        if data.draw(st.booleans()) or end == len(sent):
            found += messages(reader)
    found += messages(reader)
    assert found == expected


@given(st.binary(max_size=300))
def test_any_bytes_are_messages_or_a_frame_error(data: bytes) -> None:
    reader = FrameReader(100)
    codes: list[int] = []
    reader.feed(data)
    try:
        while (message := reader.next()) is not None:
            assert len(message.payload) <= 125
    except FrameError as error:
        codes.append(error.code)
    assert set(codes) <= {PROTOCOL_ERROR, INVALID_TEXT, MESSAGE_TOO_BIG}


def test_a_message_of_many_fragments_is_read_in_steps() -> None:
    reader = FrameReader(MAX_BYTES)
    reader.feed(
        client_frame(0x01, b"a") + client_frame(0x00, b"") * (2 * MAX_FRAMES_PER_STEP) + client_frame(0x80, b"b")
    )
    assert [reader.next() for _ in range(4)] == [UNFINISHED, UNFINISHED, Message(Opcode.TEXT, b"ab", "ab"), None]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, MAX_BYTES])
def test_sizes_at_the_edges_of_their_fields(size: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    assert read(client_frame(0x82, payload)) == [Message(Opcode.BINARY, payload)]
    sent = frame(Opcode.BINARY, payload)
    header = 2 if size < 126 else 4 if size < 65536 else 10
    assert sent[header:] == payload
    assert sent[0] == 0x82
    assert sent[1] == (size if size < 126 else 126 if size < 65536 else 127)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x01x", PROTOCOL_ERROR),
        (client_frame(0xC1, b"x"), PROTOCOL_ERROR),
        (client_frame(0x83, b"x"), PROTOCOL_ERROR),
        (client_frame(0x80, b"x"), PROTOCOL_ERROR),
        (client_frame(0x01, b"x") + client_frame(0x81, b"x"), PROTOCOL_ERROR),
        (client_frame(0x09, b"x"), PROTOCOL_ERROR),
        (client_frame(0x89, bytes(126)), PROTOCOL_ERROR),
        (client_frame(0x81, b"\xff"), INVALID_TEXT),
        (client_frame(0x01, b"\xc3") + client_frame(0x80, b"("), INVALID_TEXT),
        (client_frame(0x82, bytes(MAX_BYTES + 1))[:14], MESSAGE_TOO_BIG),
        (client_frame(0x02, bytes(MAX_BYTES)) + client_frame(0x80, b"x")[:6], MESSAGE_TOO_BIG),
        (client_frame(0x02, b"") + client_frame(0x00, b"") * MAX_FRAGMENTS, MESSAGE_TOO_BIG),
        (b"\x82\xff" + b"\xff" * 8 + bytes(4), MESSAGE_TOO_BIG),
    ],
    ids=[
        *("unmasked", "reserved bit", "unknown opcode", "continuation of nothing", "message within a message"),
        *("fragmented ping", "long ping", "not UTF-8", "not UTF-8 across fragments", "too big by its header"),
        *("too big in fragments", "fragments without end", "a length of 64 bits"),
    ],
)
def test_what_breaks_the_framing(data: bytes, code: int) -> None:
    with pytest.raises(FrameError) as caught:
        read(data)
    assert caught.value.code == code


def test_a_character_may_be_cut_in_two() -> None:
    assert read(client_frame(0x01, b"\xc3") + client_frame(0x80, b"\xa4")) == [
        Message(Opcode.TEXT, b"\xc3\xa4", "\u00e4")
    ]


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"", NO_STATUS), (b"\x03\xe8", 1000), (b"\x03\xe9bye", 1001), (b"\x0f\xa0", 4000)],
)
def test_close_codes(payload: bytes, code: int) -> None:
    assert close_code(payload) == code


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x00\x00", b"\x13\x88", b"\x03\xe8\xff"])
def test_close_codes_that_may_not_be_sent(payload: bytes) -> None:
    with pytest.raises(FrameError):
        close_code(payload)


def test_a_long_reason_is_cut_between_characters() -> None:
    sent = close_frame(1008, "\u00e4" * 100)
    assert len(sent) == 2 + 124
    assert sent[4:].decode() == "\u00e4" * 61


def test_the_frame_of_a_short_text_is_shared() -> None:
    text = "x" * 100
    assert text_frame(text) is text_frame(text)
    long = "x" * 100_000
    assert text_frame(long) is not text_frame(long)
    assert text_frame("\u00e4") == b"\x81\x02\xc3\xa4"
