"""Fuzz connectivity checks, as the media port takes them: STUN from anybody who knows the port."""

from __future__ import annotations

import copy
import struct
from typing import TYPE_CHECKING, Literal
from unittest import mock

from aioice import stun
from hypothesis import strategies as st

from sfu.transport.ice import UFRAG_BYTES, IceLite
from sfu.transport.port import MediaPort

from .harness import StrictFaults, Target
from .mutators import mutate_bytes, pick

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from sfu.rtp.batch import Run
    from sfu.transport.dtls import MediaTransport
    from sfu.transport.fanout import Outlet
    from sfu.transport.path import Endpoint, Path
    from sfu.transport.source_filter import Flow

UFRAG, PASSWORD, REMOTE_UFRAG = "localufr", "p" * 24, "remo"
MAX_AMPLIFICATION = 2.5
"""Bytes sent back for each that came: 20 bytes of header may bring an error with reason and fingerprint."""
KINDS = (
    *(0x0001, 0x0003, 0x0004, 0x0005, 0x0006, 0x0008, 0x0009, 0x000C, 0x000D, 0x0012, 0x0013, 0x0014, 0x0015),
    *(0x0016, 0x0019, 0x0020, 0x0024, 0x0025, 0x8022, 0x8028, 0x8029, 0x802A, 0x802B, 0x802C, 0xC057, 0x0007),
)
VALUES = (
    *(
        b"",
        b"\0",
        b"\0\0\0\1",
        b"\0\1\0\1\x7f\0\0\1",
        b"\0\2" + bytes(18),
        bytes(8),
        bytes(20),
        b"\xff" * 4,
        bytes(300),
    ),
    *(f"{UFRAG}:{REMOTE_UFRAG}".encode(), f"{UFRAG}:".encode(), UFRAG.encode(), b"\xff\xfe:", b":", b"x" * 520),
)


class FakePath:
    """A path that keeps what is sent."""

    protocol: Literal["udp", "tcp"] = "udp"

    def __init__(self, remote: tuple[str, int] = ("127.0.0.1", 50000)) -> None:
        self.remote = remote
        self.endpoint: Endpoint | None = None
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def send_media(self, transport: MediaTransport, runs: Sequence[Run]) -> int:
        raise NotImplementedError

    def outlet(self, transport: MediaTransport) -> Outlet | None:
        raise NotImplementedError

    def block(self, flow: Flow, until: float) -> None:
        raise NotImplementedError

    def attach(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def detach(self) -> None:
        self.endpoint = None


def _known_agent() -> IceLite[Path]:
    """Return an agent whose credentials are no secret."""
    with mock.patch("secrets.token_urlsafe", lambda size: UFRAG if size == UFRAG_BYTES else PASSWORD):
        agent: IceLite[Path] = IceLite()
    agent.remote_ufrag = REMOTE_UFRAG
    assert (agent.local_ufrag, agent.local_password) == (UFRAG, PASSWORD)
    return agent


_ICE = _known_agent()


class FakeEndpoint:
    """A peer whose credentials are known, and what reached it."""

    def __init__(self) -> None:
        self.ice = copy.deepcopy(_ICE)
        self.checks = 0
        self.packets = 0

    def authentic_check(self, now: float) -> None:  # noqa: ARG002  the protocol's signature
        self.checks += 1

    def crashed(self, error: Exception) -> None:
        raise error

    def handle_dtls(self, data: bytes) -> None:
        assert 20 <= data[0] <= 63
        self.packets += 1

    def handle_srtp(self, datagrams: Sequence[bytes], now: float) -> None:  # noqa: ARG002  the protocol's signature
        assert all(128 <= data[0] <= 191 for data in datagrams)
        self.packets += len(datagrams)


def one_input(data: bytes) -> None:
    """Take a datagram from a stranger, then once more. Nothing is raised; each is proved or counted."""
    port, endpoint, path = MediaPort.__new__(MediaPort), FakeEndpoint(), FakePath()
    port.drops, port.faults, port._endpoints = _PORT.drops, StrictFaults(), {UFRAG: endpoint}
    before = port.drops.total()
    port.dispatch_unknown(path, data, 1.0)
    assert port.drops.total() - before == 1 - endpoint.checks, "a datagram is either authentic or counted"
    assert (path.endpoint is endpoint) is (endpoint.checks == 1)
    if endpoint.checks:
        assert endpoint.ice.selected is path
        assert _integrity(data), "no password, no path"
    port.dispatch(path, data, 1.0)
    for response in path.sent:
        assert len(response) <= MAX_AMPLIFICATION * len(data) + 64, f"{len(data)} bytes bring {len(response)}"
        message = stun.parse_message(response)
        assert message.transaction_id == data[8:20]


_PORT = MediaPort()
"""Made once: its buffers are large."""


def _integrity(data: bytes) -> bool:
    return stun.parse_message(data).check_message_integrity(PASSWORD.encode())


def sign(data: bytes) -> bytes:
    """Append MESSAGE-INTEGRITY and FINGERPRINT with the right password, so that what is in front gets through."""
    body = data[20:]
    head = struct.pack("!HHI", struct.unpack_from("!H", data)[0], len(body), stun.COOKIE) + data[8:20]
    digest = stun.message_integrity(head + body, PASSWORD.encode())
    signed = stun.set_body_length(head + body, len(body) + 24) + struct.pack("!HH", 8, 20) + digest
    longer = stun.set_body_length(signed, len(body) + 32)
    return longer + struct.pack("!HHI", 0x8028, 4, stun.message_fingerprint(longer))


def message(kind: int, transaction: bytes, attributes: Sequence[tuple[int, bytes]]) -> bytes:
    """Return an unsigned STUN message of raw attributes."""
    body = b"".join(
        struct.pack("!HH", number, len(value)) + value + bytes(-len(value) % 4) for number, value in attributes
    )
    return struct.pack("!HHI12s", kind, len(body) & 0xFFFF, stun.COOKIE, transaction) + body


def attributes(data: bytes) -> list[tuple[int, bytes]]:
    """Return the raw attributes of a message, as far as they can be read."""
    found, position = [], 20
    while position + 4 <= len(data):
        kind, size = struct.unpack_from("!HH", data, position)
        found.append((kind, data[position + 4 : position + 4 + size]))
        position += 4 + size + (-size % 4)
    return found


def mutate(rng: Random, corpus: list[bytes]) -> bytes:
    """Change attributes of a check and sign it, or change its bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, corpus)
    data = pick(rng, corpus)
    parts = attributes(data)
    if parts and rng.random() < 0.9:
        parts = [part for part in parts if part[0] not in {0x0008, 0x8028}]
    for _ in range(int(rng.random() * 4)):
        at = int(rng.random() * (len(parts) + 1))
        parts[at : at + int(rng.random() * 2)] = [(pick(rng, KINDS), pick(rng, VALUES))]
    kind = 1 if rng.random() < 0.9 else int(rng.random() * 0x10000)
    made = message(kind, data[8:20].ljust(12, b"t"), parts)
    if rng.random() < 0.8 and len(made) < 60_000:
        made = sign(made)
    return mutate_bytes(rng, [made], most=1) if rng.random() < 0.2 else made


_messages = st.builds(
    message,
    st.sampled_from((1, 0x0101, 0x0111, 0x0011, 3)) | st.integers(0, 0xFFFF),
    st.binary(min_size=12, max_size=12),
    st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(VALUES) | st.binary(max_size=40)), max_size=6),
)
TARGET = Target("stun", one_input, mutate, _messages | _messages.map(sign) | st.binary(max_size=60))
