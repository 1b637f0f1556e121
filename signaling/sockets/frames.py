"""WebSocket frames as a server reads and writes them (RFC 6455 section 5); no extension. Pure.

An idle client's reader holds no buffer: with ten thousand of them that is what counts.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

MAX_CONTROL_PAYLOAD_BYTES = 125
"""RFC 6455 section 5.5."""
MAX_FRAGMENTS = 4096
"""Of one message: empty ones would go on for ever without making it too big."""
MAX_FRAMES_PER_STEP = 16
"""Looked at in search of one message: a client may send 40,000 empty fragments in what one read of a socket brings."""
MAX_SHARED_TEXT_CHARS = 4096
"""What is told to thousands is short; its frame is made once."""

PROTOCOL_ERROR = 1002
INVALID_TEXT = 1007
MESSAGE_TOO_BIG = 1009
NO_STATUS = 1005
"""A close frame without a code; never sent (RFC 6455 section 7.4.1)."""

_FIN = 0x80
_RESERVED = 0x70
_MASKED = 0x80
_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


class Opcode(IntEnum):
    """What a frame is; from `CLOSE` on they are control frames."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_OPCODES: dict[int, Opcode] = {int(opcode): opcode for opcode in Opcode}


class Message(NamedTuple):
    """One whole message or control frame; `payload` is unmasked, that of a text is UTF-8."""

    opcode: Opcode
    payload: bytes
    text: str = ""


UNFINISHED = Message(Opcode.CONTINUATION, b"")
"""Stands for a message that may be there: so many frames were looked at that others are to have their turn first."""


class FrameError(Exception):
    """The client broke the framing; `code` is the close code that says how. Nothing after it can be read."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class FrameReader:
    """Take a client's bytes as they come, give its messages."""

    __slots__ = ("_at", "_buffer", "_fragments", "_max_bytes", "_opcode", "_parts")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer: bytes | bytearray = b""
        self._at = 0
        """Where in the buffer the next frame begins."""
        self._opcode: Opcode | None = None
        """Of the message whose fragments are coming."""
        self._parts: bytearray | None = None
        self._fragments = 0

    @property
    def held(self) -> int:
        """How many bytes wait for the rest of their message."""
        return len(self._buffer) - self._at + (len(self._parts) if self._parts else 0)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._at == len(self._buffer):
            self._buffer, self._at = data, 0
            return
        if isinstance(self._buffer, bytes):
            self._buffer = bytearray(self._buffer[self._at :])
        else:
            del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def next(self) -> Message | None:
        """Return the next message that has come whole, `UNFINISHED`, or None; raise `FrameError`."""
        for _ in range(MAX_FRAMES_PER_STEP):
            frame = self._next_frame()
            if frame is None:
                return None
            is_final, opcode, payload = frame
            if opcode >= Opcode.CLOSE:
                return Message(opcode, payload)
            message = self._join(opcode, payload, is_final=is_final)
            if message is not None:
                return message
        return UNFINISHED

    def _next_frame(self) -> tuple[bool, Opcode, bytes] | None:
        buffer, at = self._buffer, self._at
        have = len(buffer) - at
        if have < 2:
            self._drop_read()
            return None
        first, second = buffer[at], buffer[at + 1]
        opcode = _OPCODES.get(first & 0x0F)
        length, header = second & 0x7F, 6
        if length == 126:
            header = 8
        elif length == 127:
            header = 14
        if opcode is None or first & _RESERVED or not second & _MASKED:
            raise FrameError(PROTOCOL_ERROR, "expected masked frames without extensions")
        if opcode >= Opcode.CLOSE and (length > MAX_CONTROL_PAYLOAD_BYTES or not first & _FIN):
            raise FrameError(PROTOCOL_ERROR, f"a control frame is whole, of {MAX_CONTROL_PAYLOAD_BYTES} bytes at most")
        if have < header:
            self._drop_read()
            return None
        start = at + header
        if header > 6:
            length = int.from_bytes(buffer[at + 2 : start - 4], "big")
        if length + (len(self._parts) if self._parts else 0) > self._max_bytes:
            raise FrameError(MESSAGE_TOO_BIG, f"a message has at most {self._max_bytes} bytes")
        if have < header + length:
            self._drop_read()
            return None
        self._at = start + length
        payload = unmask(bytes(buffer[start : self._at]), bytes(buffer[start - 4 : start]))
        if self._at == len(buffer):
            self._buffer, self._at = b"", 0
        return bool(first & _FIN), opcode, payload

    def _drop_read(self) -> None:
        """Keep of a long buffer only what is not read yet."""
        if self._at:
            self._buffer, self._at = bytearray(self._buffer[self._at :]), 0

    def _join(self, opcode: Opcode, payload: bytes, *, is_final: bool) -> Message | None:
        if (opcode is Opcode.CONTINUATION) is (self._opcode is None):
            raise FrameError(PROTOCOL_ERROR, "a message's fragments are its first frame and continuations")
        if self._opcode is None:
            if is_final:
                return _message(opcode, payload)
            self._opcode, self._parts, self._fragments = opcode, bytearray(), 0
        if self._parts is None:
            raise AssertionError("a fragmented message without its parts")
        self._parts += payload
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS:
            raise FrameError(MESSAGE_TOO_BIG, f"a message has at most {MAX_FRAGMENTS} fragments")
        if not is_final:
            return None
        message = _message(self._opcode, bytes(self._parts))
        self._opcode = self._parts = None
        return message


def _message(opcode: Opcode, payload: bytes) -> Message:
    if opcode is not Opcode.TEXT:
        return Message(opcode, payload)
    try:
        return Message(opcode, payload, payload.decode())
    except UnicodeDecodeError:
        raise FrameError(INVALID_TEXT, "the message is not UTF-8") from None


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Return `payload` with the four bytes of `mask` applied, again and again; the same way back."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")


def close_code(payload: bytes) -> int:
    """Return the code of a close frame, `NO_STATUS` without one; raise `FrameError` for one that may not be sent."""
    if not payload:
        return NO_STATUS
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (code in _CLOSE_CODES or 3000 <= code <= 4999):
        raise FrameError(PROTOCOL_ERROR, "expected a close code that may be sent")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_TEXT, "the reason of a close frame is not UTF-8") from None
    return code


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """Return a server's frame: whole, unmasked."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 65536:
        return bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def text_frame(text: str) -> bytes:
    """Return the frame of a text message; that of a short text which goes to thousands in a row is made once."""
    return _shared_frame(text) if len(text) <= MAX_SHARED_TEXT_CHARS else frame(Opcode.TEXT, text.encode())


@lru_cache(maxsize=8)
def _shared_frame(text: str) -> bytes:
    return frame(Opcode.TEXT, text.encode())


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame; a reason that is too long for it is cut."""
    words = reason.encode()[: MAX_CONTROL_PAYLOAD_BYTES - 2].decode(errors="ignore").encode()
    return frame(Opcode.CLOSE, code.to_bytes(2, "big") + words)
