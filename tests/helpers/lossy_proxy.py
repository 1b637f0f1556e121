"""LossyProxy: a UDP proxy that delays and loses datagrams both ways, repeatably. Kernels without netem need one."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CLIENTS = 64
"""Addresses that may use one proxy; datagrams of more are dropped and counted."""
MAX_IN_FLIGHT = 20_000
"""Datagrams delayed at once in one direction: far beyond what a benchmark's delay and rate can hold."""
MAX_DATAGRAMS_PER_TURN = 128
MAX_DATAGRAM_BYTES = 2048
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Link:
    """How one direction treats datagrams."""

    delay: float = 0.0
    """Seconds."""
    loss: float = 0.0
    """The part of all datagrams that is lost, 0 to below 1, whatever the burst."""
    burst: int = 1
    """Datagrams that are lost in a row."""

    @property
    def start_probability(self) -> float:
        """Probability that a datagram outside of a burst begins one, so that `loss` comes out over time."""
        return self.loss / (self.burst * (1 - self.loss) + self.loss)


class _Direction:
    """One way through the proxy, for all clients together."""

    def __init__(self, link: Link, seed: int) -> None:
        self.link = link
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._burst_left = 0
        self._queue: deque[tuple[float, Callable[[bytes], object], bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def take(self, data: bytes, send: Callable[[bytes], object]) -> None:
        """Lose the datagram or have it sent later; order stays."""
        if self._loses():
            self.counts["lost"] += 1
        elif len(self._queue) >= MAX_IN_FLIGHT:
            self.counts["overflow"] += 1
        else:
            self._queue.append((self._loop.time() + self.link.delay, send, data))
            if self._timer is None:
                self._release()

    def close(self) -> None:
        """Forget what is under way."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _loses(self) -> bool:
        if self._burst_left:
            self._burst_left -= 1
            return True
        if self._random.random() >= self.link.start_probability:
            return False
        self._burst_left = self.link.burst - 1
        return True

    def _release(self) -> None:
        """Send what is due, then wait for the next."""
        self._timer = None
        now = self._loop.time()
        while self._queue and self._queue[0][0] <= now:
            _, send, data = self._queue.popleft()
            self.counts["forwarded"] += 1
            with contextlib.suppress(OSError):  # the other end has gone, as on any network
                send(data)
        if self._queue:
            self._timer = self._loop.call_at(self._queue[0][0], self._release)


class LossyProxy:
    """Stand between clients and one UDP server: clients send to `address`; each has a socket of its own to the server.

    `up` is from client to server. Links may be exchanged at any time by `set_links`.
    """

    def __init__(self, host: str, target: tuple[str, int], *, up: Link, down: Link, seed: int = 1) -> None:
        self._target = target
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._up = _Direction(up, seed)
        self._down = _Direction(down, seed + 1)
        self._clients: dict[tuple[str, int], socket.socket] = {}
        self.refused = 0
        """Datagrams of clients beyond `MAX_CLIENTS`."""
        self._sock = _open(host)
        self._loop.add_reader(self._sock.fileno(), self._from_clients)
        self.address: tuple[str, int] = self._sock.getsockname()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def set_links(self, *, up: Link, down: Link) -> None:
        """Let both directions behave otherwise from now on."""
        self._up.link, self._down.link = up, down

    @property
    def counts(self) -> dict[str, Counter[str]]:
        """Datagrams by fate, for each direction."""
        return {"up": self._up.counts, "down": self._down.counts}

    def close(self) -> None:
        """Close every socket. Idempotent."""
        for direction in (self._up, self._down):
            direction.close()
        for sock in (self._sock, *self._clients.values()):
            if sock.fileno() >= 0:
                self._loop.remove_reader(sock.fileno())
                sock.close()
        self._clients.clear()

    def _from_clients(self) -> None:
        with contextlib.suppress(OSError):
            for _ in range(MAX_DATAGRAMS_PER_TURN):
                data, client = self._sock.recvfrom(MAX_DATAGRAM_BYTES)
                upstream = self._clients.get(client) or self._admit(client)
                if upstream is not None:
                    self._up.take(data, upstream.send)

    def _admit(self, client: tuple[str, int]) -> socket.socket | None:
        if len(self._clients) >= MAX_CLIENTS:
            self.refused += 1
            return None
        upstream = _open(self._host)
        upstream.connect(self._target)
        self._clients[client] = upstream

        def back(data: bytes) -> None:
            self._sock.sendto(data, client)

        def readable() -> None:
            with contextlib.suppress(OSError):
                for _ in range(MAX_DATAGRAMS_PER_TURN):
                    self._down.take(upstream.recv(MAX_DATAGRAM_BYTES), back)

        self._loop.add_reader(upstream.fileno(), readable)
        return upstream


def _open(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)  # noqa: FBT003  the standard library's signature
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    sock.bind((host, 0))
    return sock
