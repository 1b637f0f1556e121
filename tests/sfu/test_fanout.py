"""The fan-out's one pass: every viewer gets the same packets with its own keys, and its trouble is its own."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from pylibsrtp import Policy, Session

from sfu.rtp.batch import divide
from sfu.rtp.packet import build_packet
from sfu.transport import fanout as module
from sfu.transport.fanout import VIEWERS_PER_CALL, Fanout, Outlet
from sfu.transport.port import MediaPort
from sfu.transport.udp import UdpPath

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sfu.transport.dtls import MediaTransport

PROFILES = {
    Policy.SRTP_PROFILE_AEAD_AES_128_GCM: (28, 16),
    Policy.SRTP_PROFILE_AES128_CM_SHA1_80: (30, 10),
}


class Viewer:
    """A socket, and the keys to read what comes."""

    def __init__(self, host: str, profile: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.settimeout(5)
        key_bytes, self.tag_bytes = PROFILES[profile]
        key = os.urandom(key_bytes)
        self._receiver = Session(Policy(key, Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
        self.sender = Session(Policy(key, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        self.drops: Counter[str] = Counter()

    def outlet(self, port: MediaPort) -> Outlet:
        family = self.sock.family
        udp = next(udp for udp in port._sockets if udp.sock.family == family)
        transport = SimpleNamespace(tx_session=self.sender._srtp[0], tag_bytes=self.tag_bytes, drops=self.drops)
        return Outlet(UdpPath(udp, self.sock.getsockname()), cast("MediaTransport", transport))

    def read(self) -> bytes:
        return self._receiver.unprotect(self.sock.recv(2048))


@pytest.fixture
async def port() -> AsyncIterator[MediaPort]:
    media = MediaPort()
    await media.open(["127.0.0.1", "::1"], 0, tcp=False)
    yield media
    media.close()


@pytest.fixture
def viewers() -> Iterator[list[Viewer]]:
    profiles = list(PROFILES)
    made = [Viewer("::1" if number % 5 == 4 else "127.0.0.1", profiles[number % 2]) for number in range(40)]
    yield made
    for viewer in made:
        viewer.sock.close()


def packets(sizes: list[int]) -> list[bytes]:
    return [
        build_packet(
            payload_type=96,
            sequence_number=100 + number,
            timestamp=7,
            ssrc=1,
            marker=False,
            extensions=b"",
            payload=os.urandom(size),
        )
        for number, size in enumerate(sizes)
    ]


class ReluctantKernel:
    """Say no to some calls of sendmmsg, and hand the others on: the real kernel cannot be made to refuse on demand."""

    def __init__(self, real: Any, answers: list[int | None]) -> None:
        self.real = real
        self.answers = answers

    def sendmmsg(self, *arguments: Any) -> int:
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            return cast("int", self.real.sendmmsg(*arguments))
        module._ffi.errno = answer
        return -1


async def test_each_viewer_reads_the_same_packets_with_its_own_keys(port: MediaPort, viewers: list[Viewer]) -> None:
    assert len(viewers) > VIEWERS_PER_CALL
    fanout = Fanout(port.drops)
    sent = packets([900, 900, 900, 400, 100])
    short = fanout.send(divide(sent), [viewer.outlet(port) for viewer in viewers])
    assert short == {}
    for viewer in viewers:
        assert [viewer.read() for _ in sent] == sent
    assert not port.drops


async def test_refused_segmentation_is_remembered_and_nothing_is_lost(port: MediaPort, viewers: list[Viewer]) -> None:
    fanout = Fanout(port.drops)
    fanout._library = ReluctantKernel(fanout._library, [errno.EIO] * 100)
    sent = packets([900, 900, 400])
    outlets = [viewer.outlet(port) for viewer in viewers]
    assert fanout.send(divide(sent), outlets) == {}
    for viewer in viewers:
        assert [viewer.read() for _ in sent] == sent
    assert not any(outlet.socket.segmentation for outlet in outlets)
    assert not port.drops


async def test_a_full_buffer_costs_those_it_meets_the_rest_of_the_batch(port: MediaPort, viewers: list[Viewer]) -> None:
    some = [viewer for viewer in viewers if viewer.sock.family == socket.AF_INET][:3]
    fanout = Fanout(port.drops)
    fanout._library = ReluctantKernel(fanout._library, [None, errno.EAGAIN])
    sent = packets([900, 900, 400, 800])
    runs = divide(sent)
    assert [len(run) for run in runs] == [3, 1]
    short = fanout.send(runs, [viewer.outlet(port) for viewer in some])
    assert short == {0: 3, 1: 3, 2: 3}
    assert port.drops == {"send_buffer_full": 3}
    for viewer in some:
        assert [viewer.read() for _ in range(3)] == sent[:3]


async def test_an_unreachable_viewer_costs_the_others_nothing(port: MediaPort, viewers: list[Viewer]) -> None:
    some = [viewer for viewer in viewers if viewer.sock.family == socket.AF_INET][:3]
    fanout = Fanout(port.drops)
    fanout._library = ReluctantKernel(fanout._library, [errno.ENETUNREACH])
    sent = packets([900, 900])
    short = fanout.send(divide(sent), [viewer.outlet(port) for viewer in some])
    assert short == {0: 0}
    assert port.drops == {"send_unreachable": 2}
    for viewer in some[1:]:
        assert [viewer.read() for _ in sent] == sent


async def test_a_packet_that_srtp_refuses_is_counted_and_skipped(port: MediaPort, viewers: list[Viewer]) -> None:
    fanout = Fanout(port.drops)
    good = packets([500])
    assert fanout.send([[b"\x80"], good], [viewers[0].outlet(port)]) == {}
    assert viewers[0].drops == {"srtp_protect": 1}
    assert viewers[0].read() == good[0]
