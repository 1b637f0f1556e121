"""Who a request is from: behind a reverse proxy that is in a header, which counts when it is a trusted proxy's only.

Anybody may write `X-Forwarded-For`. A proxy appends the address that it saw, so the header is read from its end for as
long as the hops are proxies that we trust; the first that is none is the client.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_HOPS = 16
"""Read of a header; real chains have two or three."""

_FORWARDING_HEADERS = ("X-Forwarded-For", "X-Real-IP", "Forwarded")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Networks:
    """A set of networks; IPv4 addresses in IPv6's clothes (`::ffff:192.0.2.1`) count as what they are."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(ipaddress.ip_network(network, strict=False) for network in networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


class TrustedProxies:
    """Read what trusted proxies say of a request. Its networks may be replaced while the server runs."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self.networks = Networks(networks)

    def client(self, peer: Address | None, forwarded_for: Sequence[str]) -> Address | None:
        """Return the client of a connection from `peer` with these `X-Forwarded-For` headers.

        Where a hop is unreadable that is the proxy which passed it on: its clients are then counted as one.
        """
        hops = [hop for header in forwarded_for for hop in header.split(",")]
        for hop in reversed(hops[-MAX_HOPS:]):
            if peer not in self.networks:
                break
            named = _read_hop(hop)
            if named is None:
                break
            peer = named
        return peer

    def is_secure(self, peer: Address | None, forwarded_proto: Sequence[str], *, over_tls: bool) -> bool:
        """Return whether the client's own connection is encrypted."""
        if not forwarded_proto or peer not in self.networks:
            return over_tls
        return forwarded_proto[-1].rpartition(",")[2].strip().lower() in {"https", "wss"}


PROXIES = web.AppKey("proxies", TrustedProxies)


def read_address(text: str | None) -> Address | None:
    """Return an address, or None for what is none."""
    try:
        address = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def client_of(request: web.BaseRequest, proxies: TrustedProxies) -> Address | None:
    """Return the address of whoever made `request`; None where there is none, as over a Unix socket."""
    return proxies.client(read_address(request.remote), request.headers.getall("X-Forwarded-For", []))


def is_secure(request: web.BaseRequest, proxies: TrustedProxies) -> bool:
    """Return whether `request` left its client encrypted, as far as we and trusted proxies know."""
    forwarded = request.headers.getall("X-Forwarded-Proto", [])
    return proxies.is_secure(read_address(request.remote), forwarded, over_tls=request.secure)


def is_within(request: web.BaseRequest, proxies: TrustedProxies, networks: Networks) -> bool:
    """Return whether `request` is from one of `networks`, or from this machine where there are none.

    A request through a proxy that is not trusted is from nowhere: the proxy's own address, often this machine's, says
    nothing about who asks.
    """
    peer, client = read_address(request.remote), client_of(request, proxies)
    if client is None:
        return False
    if peer not in proxies.networks and any(name in request.headers for name in _FORWARDING_HEADERS):
        return False
    return client in networks if networks else client.is_loopback


def _read_hop(text: str) -> Address | None:
    """Return a hop's address: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`."""
    hop = text.strip().strip('"')
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return read_address(hop)
