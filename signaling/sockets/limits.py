"""How often, and how many. Pure: what needs the time takes `now`, in seconds of any steady clock."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

IPV6_PREFIX_BITS = 64
"""One customer has at least this much of IPv6: counting single addresses would count nothing."""


def address_key(host: str | None) -> str:
    """Return by what an address is counted: itself for IPv4, its /64 for IPv6, "" where there is none."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_PREFIX_BITS), strict=False))


class NoPlaceError(Exception):
    """As many as may are there already; the text says how many that are."""


class Places:
    """Count who is there, by a key, and refuse who would be one too many."""

    def __init__(self, limit: int, what: str) -> None:
        self.limit = limit
        self._what = what
        self._taken: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(self._taken.values())

    def take(self, key: str = "") -> None:
        """Take a place, or raise `NoPlaceError`."""
        taken = self._taken.get(key, 0)
        if taken >= self.limit:
            raise NoPlaceError(f"there are {self.limit} {self._what}, the most that may be; try again later")
        self._taken[key] = taken + 1

    def leave(self, key: str = "") -> None:
        """Give a place back that was taken."""
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]  # no more keys than there are holders

    @contextlib.contextmanager
    def hold(self, key: str = "") -> Iterator[None]:
        """Hold a place for the block, or raise `NoPlaceError`."""
        self.take(key)
        try:
            yield
        finally:
            self.leave(key)


class TokenBucket:
    """Allow `rate` things a second on average and `burst` at once."""

    __slots__ = ("_burst", "_level", "_rate", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._updated = now

    def take(self, now: float) -> bool:
        """Take one token and return True, or return False when there is none. A clock that steps back gives none."""
        self._level = min(self._burst, self._level + max(0.0, now - self._updated) * self._rate)
        self._updated = max(self._updated, now)
        if self._level < 1:
            return False
        self._level -= 1
        return True
