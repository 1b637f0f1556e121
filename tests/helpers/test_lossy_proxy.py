"""The lossy proxy loses what it says, the same each time, in order."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import TYPE_CHECKING

import pytest

from .lossy_proxy import MAX_CLIENTS, Link, LossyProxy
from .server import until

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
DATAGRAMS = 4000


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0)
        sock.bind((HOST, 0))
        yield sock


async def survivors(server: socket.socket, link: Link, seed: int = 7) -> list[int]:
    """Send numbered datagrams through a proxy, one after the other's fate is known; return what came."""
    came = []
    with (
        LossyProxy(HOST, server.getsockname(), up=link, down=Link(), seed=seed) as proxy,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        for number in range(0, DATAGRAMS, 200):
            for place in range(number, number + 200):
                client.sendto(place.to_bytes(4, "big"), proxy.address)
            await until(lambda end=number + 200: proxy.counts["up"].total() == end)
            while True:
                try:
                    came.append(int.from_bytes(server.recv(16), "big"))
                except BlockingIOError:
                    break
    return came


@pytest.mark.parametrize("burst", [1, 5])
async def test_loss(server: socket.socket, burst: int) -> None:
    link = Link(loss=0.05, burst=burst)
    came = await survivors(server, link)
    assert came == sorted(came)
    lost = set(range(DATAGRAMS)) - set(came)
    assert 0.03 < len(lost) / DATAGRAMS < 0.07
    runs = [len(list(run)) for missing, run in itertools.groupby(range(DATAGRAMS), lost.__contains__) if missing]
    assert min(runs[:-1]) >= burst
    assert await survivors(server, link) == came
    assert await survivors(server, link, seed=8) != came


async def test_delay_both_ways(server: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    link = Link(delay=0.03)
    with (
        LossyProxy(HOST, server.getsockname(), up=link, down=link) as proxy,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(0)
        client.connect(proxy.address)
        began = loop.time()
        client.send(b"there")
        data, upstream = await loop.sock_recvfrom(server, 100)
        assert data == b"there"
        assert loop.time() - began >= 0.03
        server.sendto(b"and back", upstream)
        assert await loop.sock_recv(client, 100) == b"and back"
        assert loop.time() - began >= 0.06


async def test_clients_are_bounded(server: socket.socket) -> None:
    clients = []
    with LossyProxy(HOST, server.getsockname(), up=Link(), down=Link()) as proxy:
        try:
            for _ in range(MAX_CLIENTS + 1):
                clients.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                clients[-1].sendto(b"x", proxy.address)
            await until(lambda: proxy.refused == 1 and proxy.counts["up"]["forwarded"] == MAX_CLIENTS)
        finally:
            for client in clients:
                client.close()
