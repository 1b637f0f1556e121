"""The port's batches: what one system call may carry, and what happens when the kernel says no."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any, cast

import pytest

from sfu.rtp.batch import divide
from sfu.transport.port import MediaPort, PortError
from sfu.transport.udp import UdpPath, UdpSocket

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sfu.transport.dtls import MediaTransport, PacketBuffer


class PlainTransport:
    """Stand where encryption is: what is written to the buffer is what came, and a tag of two bytes."""

    tag_bytes = 2

    def protect_run(self, packets: Sequence[bytes], buffer: PacketBuffer) -> tuple[int, int]:
        offset = 0
        for packet in packets:
            data = packet + b"##"
            buffer.view[offset : offset + len(data)] = data
            offset += len(data)
        return len(packets), offset


class RefusingSocket:
    """A socket whose kernel refuses: real ones cannot be made to do so on demand."""

    def __init__(self, real: socket.socket, *, segments: int | None = None, single: int | None = None) -> None:
        self.real = real
        self.segments = segments
        self.single = single

    def sendmsg(self, *arguments: Any) -> int:
        if self.segments is not None:
            raise OSError(self.segments, "refused")
        return self.real.sendmsg(*arguments)

    def sendto(self, *arguments: Any) -> int:
        if self.single is not None:
            raise OSError(self.single, "refused")
        return self.real.sendto(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


@pytest.fixture
async def port() -> Any:
    media = MediaPort()
    await media.open(["127.0.0.1"], 0, tcp=False)
    yield media
    media.close()


BATCH = [bytes([number]) * 500 for number in range(5)] + [b"tail", b"more"]
SENT = [data + b"##" for data in BATCH]


def send(port: MediaPort, receiver: socket.socket) -> tuple[UdpSocket, int]:
    udp = port._sockets[0]
    transport = cast("MediaTransport", PlainTransport())
    return udp, udp.send_media(receiver.getsockname(), transport, divide(BATCH))


async def test_a_batch_arrives_as_the_datagrams_that_it_is_made_of(port: MediaPort, receiver: socket.socket) -> None:
    assert send(port, receiver)[1] == len(BATCH)
    assert [receiver.recv(2048) for _ in BATCH] == SENT
    assert not port.drops


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL])
async def test_refused_segmentation_is_remembered_and_nothing_is_lost(
    port: MediaPort, receiver: socket.socket, code: int
) -> None:
    udp = port._sockets[0]
    udp.sock = cast("socket.socket", RefusingSocket(udp.sock, segments=code))
    assert send(port, receiver)[1] == len(BATCH)
    assert [receiver.recv(2048) for _ in BATCH] == SENT
    assert not udp.segmentation
    assert not port.drops


async def test_after_a_full_buffer_the_rest_is_not_tried(port: MediaPort, receiver: socket.socket) -> None:
    udp = port._sockets[0]
    udp.sock = cast("socket.socket", RefusingSocket(udp.sock, segments=errno.EAGAIN, single=errno.EAGAIN))
    assert send(port, receiver)[1] == 0
    assert port.drops == {"send_buffer_full": 6}
    assert udp.segmentation


async def test_an_unreachable_address_is_counted(port: MediaPort, receiver: socket.socket) -> None:
    udp = port._sockets[0]
    udp.segmentation = False
    udp.sock = cast("socket.socket", RefusingSocket(udp.sock, single=errno.ENETUNREACH))
    assert send(port, receiver)[1] == 0
    assert port.drops == {"send_unreachable": 6}


async def test_what_is_queued_leaves_before_the_turn_ends(port: MediaPort, receiver: socket.socket) -> None:
    path = UdpPath(port._sockets[0], receiver.getsockname())
    for data in BATCH:
        path.send(data)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [receiver.recv(2048) for _ in BATCH] == BATCH


async def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(PortError, match=r"cannot open UDP 192\.0\.2\.250 port any"):
        await MediaPort().open(["192.0.2.250"], 0, tcp=False)
