"""Which web pages may connect. Pure.

A browser lets any page open a WebSocket to any server and says in `Origin` which page it is; programs send none and
could send anything. The check matters where being able to reach the server is the credential, that is with auth off:
there a page from the internet, open in the browser of somebody at home, could otherwise watch that home's cameras.
A token is not sent along by itself as a cookie is; with auth on a foreign page has nothing to abuse.

So by default: with auth on, any page. With auth off, pages from the host that they connect to, whatever the port (the
server's own pages, on a LAN too, behind a TLS proxy too), and pages from this very machine (`localhost`, which is
where development servers are). What else is wanted is named.

With auth off this does not stop DNS rebinding (a foreign name that resolves to a local address): that takes a token.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

ANY = "*"
MAX_ORIGIN_CHARS = 300
"""A host name has at most 253 characters."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?")


def read_origin(text: str) -> str:
    """Return an origin (RFC 6454) such as `https://cams.example.org` as browsers write it; raise `ValueError`."""
    origin = text.strip().lower().rstrip("/")
    if origin != ANY and not _ORIGIN.fullmatch(origin):
        raise ValueError("not an origin")
    scheme, _, rest = origin.partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme)
    return f"{scheme}://{rest.removesuffix(default)}" if default else origin


def is_allowed(origin: str | None, host: str, allowed: Collection[str], *, is_open: bool) -> bool:
    """Return whether a page from `origin` may connect to `host`, the request's `Host`.

    `allowed` is what the operator named; `is_open` tells that auth is off. None is a program and always may.
    """
    if origin is None or ANY in allowed or (not allowed and not is_open):
        return True
    origin = origin[: MAX_ORIGIN_CHARS + 1].lower()
    if len(origin) > MAX_ORIGIN_CHARS or not _ORIGIN.fullmatch(origin):
        return False  # "null", too: a sandboxed frame of any page has it
    if origin in allowed:
        return True
    page = _hostname(origin)
    return page is not None and (page == _hostname(f"//{host.lower()}") or (not allowed and _is_this_machine(page)))


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
