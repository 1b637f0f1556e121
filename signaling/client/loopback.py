"""Let aiortc use 127.0.0.1, which it leaves out when it looks for addresses."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aioice.ice

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "127.0.0.1"

_wrapped: Callable[[bool, bool], list[str]] | None = None


def is_loopback(server: str) -> bool:
    """Return whether a server's URL names this very machine."""
    host = urlsplit(server).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def gather_loopback() -> None:
    """Make ICE agents in this process offer 127.0.0.1 too, besides what they find. Calling it again does nothing more.

    A server on the same machine may have no other address, and the machine no other interface. It is done to the
    whole process, since aioice has no setting for it; a candidate more costs a peer elsewhere nothing.
    """
    global _wrapped  # noqa: PLW0603 - remembers what this process has been given
    inner = aioice.ice.get_host_addresses
    if inner is _wrapped:
        return

    def get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:  # noqa: FBT001 - aioice's signature
        addresses = inner(use_ipv4, use_ipv6)
        if use_ipv4 and LOOPBACK not in addresses:
            addresses.append(LOOPBACK)
        return addresses

    _wrapped = get_host_addresses
    aioice.ice.get_host_addresses = get_host_addresses
