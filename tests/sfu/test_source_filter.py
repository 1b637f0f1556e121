"""The kernel drops what a blocked source sends, that flow only, and only for as long as it is blocked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from sfu.transport.source_filter import MAX_BLOCKED_FLOWS, SourceFilter
from tests.helpers.peers import until

if TYPE_CHECKING:
    from sfu.transport.source_filter import Flow

RTP = b"\x80\x60 media"
RTCP_FIRST = b"\x80\xc0 rtcp"
RTCP = b"\x81\xc9 rtcp"
RTCP_LAST = b"\xbf\xdf rtcp"
RTP_MARKED = b"\x90\xe0 media"
STUN = b"\x00\x01 check"
DTLS = b"\x16\xfe handshake"
OTHER = b"\xc0\xc9 unknown"
ALL = (RTP, RTCP_FIRST, RTCP, RTCP_LAST, RTP_MARKED, STUN, DTLS, OTHER)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="socket filters are Linux's")


class Peers:
    """One socket that receives and several that send to it, over loopback."""

    def __init__(self, host: str, count: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.stack = contextlib.ExitStack()
        self.receiver = self._open(family, host)
        self.receiver.settimeout(0)
        self.senders = [self._open(family, host) for _ in range(count)]
        for sender in self.senders:
            sender.connect(self.receiver.getsockname())
        self.filter = SourceFilter(self.receiver)

    def _open(self, family: socket.AddressFamily, host: str) -> socket.socket:
        sock = self.stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sock.bind((host, 0))
        return sock

    def arrives(self, number: int) -> list[bytes]:
        """Send one of each kind; return what was not dropped. On loopback a sent datagram is there at once."""
        for data in ALL:
            self.senders[number].send(data)
        came = []
        with contextlib.suppress(BlockingIOError):
            while True:
                came.append(self.receiver.recv(2048))
        return came

    def block(self, number: int, flow: Flow, seconds: float = 60.0) -> None:
        self.filter.block(self.senders[number].getsockname(), flow, time.monotonic() + seconds)


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: Any) -> str:
    if request.param == "::1":
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    return str(request.param)


@pytest.fixture
async def peers(host: str) -> Any:
    made = Peers(host, 3)
    yield made
    made.filter.close()
    made.stack.close()


async def turn() -> None:
    """Let the filter's change, which waits for the end of the turn, happen."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_without_a_block_there_is_no_filter(peers: Peers) -> None:
    assert peers.arrives(0) == list(ALL)
    assert not peers.filter._attached
    assert peers.filter.drops() == 0


async def test_rtcp_alone_is_dropped_and_from_that_source_alone(peers: Peers) -> None:
    peers.block(0, "rtcp")
    await turn()
    assert peers.arrives(0) == [RTP, RTP_MARKED, STUN, DTLS, OTHER]
    assert peers.arrives(1) == list(ALL)
    assert peers.filter.drops() == 3


async def test_media_alone_is_dropped(peers: Peers) -> None:
    peers.block(1, "media")
    await turn()
    assert peers.arrives(1) == [RTCP_FIRST, RTCP, RTCP_LAST, STUN, DTLS, OTHER]
    assert peers.arrives(0) == list(ALL)


async def test_each_source_has_its_own_blocks(peers: Peers) -> None:
    peers.block(0, "media")
    peers.block(0, "rtcp")
    peers.block(2, "rtcp")
    await turn()
    assert peers.arrives(0) == [STUN, DTLS, OTHER]
    assert peers.arrives(1) == list(ALL)
    assert peers.arrives(2) == [RTP, RTP_MARKED, STUN, DTLS, OTHER]


async def test_the_same_port_of_another_address_is_heard() -> None:
    peers = Peers("127.0.0.1", 1)
    with peers.stack:
        other = peers._open(socket.AF_INET, "127.0.0.2")
        other.close()
        number = peers.senders[0].getsockname()[1]
        peers.filter.block(("127.0.0.2", number), "rtcp", time.monotonic() + 60)
        await turn()
        assert peers.filter._attached
        assert peers.arrives(0) == list(ALL)
        peers.filter.close()


async def test_a_block_ends_by_itself(peers: Peers) -> None:
    peers.block(0, "media", 0.05)
    peers.block(1, "rtcp", 60)
    await turn()
    assert len(peers.arrives(0)) == 6
    await until(lambda: len(peers.filter._blocked) == 1)
    assert peers.arrives(0) == list(ALL)
    assert len(peers.arrives(1)) == 5


async def test_an_address_with_a_new_owner_is_heard_at_once(peers: Peers) -> None:
    peers.block(0, "media")
    peers.block(0, "rtcp")
    await turn()
    peers.filter.unblock(peers.senders[0].getsockname())
    peers.filter.unblock(peers.senders[1].getsockname())
    await turn()
    assert peers.arrives(0) == list(ALL)
    assert not peers.filter._attached


async def test_more_blocks_than_a_filter_holds_are_not_taken(host: str) -> None:
    peers = Peers(host, MAX_BLOCKED_FLOWS + 1)
    with peers.stack:
        for number in range(MAX_BLOCKED_FLOWS + 1):
            peers.block(number, "media" if number % 2 else "rtcp")
        await turn()
        assert peers.filter.available  # the kernel takes the longest program
        assert [len(peers.arrives(number)) for number in (0, 1, MAX_BLOCKED_FLOWS - 1)] == [5, 6, 6]
        assert peers.arrives(MAX_BLOCKED_FLOWS) == list(ALL)
        peers.filter.close()


async def test_a_kernel_that_refuses_is_not_asked_again(peers: Peers) -> None:
    class Refusing:
        asked = 0

        def setsockopt(self, *_: Any) -> None:
            self.asked += 1
            raise PermissionError(1, "refused")

    refusing: Any = Refusing()
    peers.filter._sock = refusing
    for _ in range(2):
        peers.block(0, "media")
        await turn()
    assert refusing.asked == 1
    assert peers.arrives(0) == list(ALL)
