"""The port's batches: what one system call may carry, and what happens when the kernel says no."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any, cast

import pytest

from sfu.transport.port import MAX_SEGMENTS, MediaPort, PortError, UdpPath, UdpSocket, _run_end

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        ([100], [1]),
        ([100, 100, 100], [3]),
        ([100, 100, 40], [3]),
        ([100, 40, 100], [2, 1]),
        ([40, 100, 100], [1, 2]),
        ([100, 100, 40, 40], [3, 1]),
        ([10] * (MAX_SEGMENTS + 1), [MAX_SEGMENTS, 1]),
        ([1400] * 50, [46, 4]),
        ([70_000 // 2] * 2, [1, 1]),
    ],
)
def test_a_run_is_equal_sizes_and_then_at_most_one_smaller(sizes: list[int], runs: list[int]) -> None:
    batch = [bytes(size) for size in sizes]
    found, start = [], 0
    while start < len(batch):
        stop = _run_end(batch, start)
        found.append(stop - start)
        start = stop
    assert found == runs


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
    media.open(["127.0.0.1"], 0)
    yield media
    media.close()


BATCH = [bytes([number]) * 500 for number in range(5)] + [b"tail"]


async def send(port: MediaPort, receiver: socket.socket) -> UdpSocket:
    udp = port._sockets[0]
    path = UdpPath(udp, receiver.getsockname())
    for data in BATCH:
        path.send(data)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return udp


async def test_a_batch_arrives_as_the_datagrams_that_it_is_made_of(port: MediaPort, receiver: socket.socket) -> None:
    await send(port, receiver)
    assert [receiver.recv(2048) for _ in BATCH] == BATCH
    assert not port.drops


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL])
async def test_refused_segmentation_is_remembered_and_nothing_is_lost(
    port: MediaPort, receiver: socket.socket, code: int
) -> None:
    udp = port._sockets[0]
    udp.sock = cast("socket.socket", RefusingSocket(udp.sock, segments=code))
    await send(port, receiver)
    assert [receiver.recv(2048) for _ in BATCH] == BATCH
    assert not udp.segmentation
    assert not port.drops


async def test_a_full_buffer_loses_whole_runs_and_counts_them(port: MediaPort, receiver: socket.socket) -> None:
    udp = port._sockets[0]
    udp.sock = cast("socket.socket", RefusingSocket(udp.sock, segments=errno.EAGAIN, single=errno.EAGAIN))
    await send(port, receiver)
    assert port.drops == {"send_buffer_full": len(BATCH)}
    assert udp.segmentation


async def test_an_unreachable_address_is_counted(port: MediaPort, receiver: socket.socket) -> None:
    udp = port._sockets[0]
    udp.segmentation = False
    udp.sock = cast("socket.socket", RefusingSocket(udp.sock, single=errno.ENETUNREACH))
    await send(port, receiver)
    assert port.drops == {"send_unreachable": len(BATCH)}


async def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(PortError, match=r"cannot open UDP 192\.0\.2\.250 port any"):
        MediaPort().open(["192.0.2.250"], 0)
