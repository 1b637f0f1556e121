"""Access: who may administer this server, and who may scrape it.

With auth on the admin API takes a token with the `admin` grant, from anywhere. With auth off being able to reach it is
the credential, so it answers to this machine and to the networks that `admin_network` names, and to nobody behind a
proxy that is not trusted. A browser makes two more rules necessary there, as any page it has open may send requests:
the page must be this server's own (`Origin`), and the server must be called by an address or `localhost`, since a
foreign name may be made to resolve to a local address (DNS rebinding). A token is not sent along by itself: with auth
on neither is needed.

`/metrics` holds numbers only; it answers to this machine, to `metrics_network`, and to an admin token.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from signaling import tokens
from signaling.auth import UnauthorizedError
from signaling.connect import bearer_token
from signaling.protocol import ErrorCode
from signaling.sockets import proxies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from signaling.auth import Authenticator
    from signaling.sockets.proxies import TrustedProxies

THIS_MACHINE: Final = ("127.0.0.0/8", "::1/128")
"""Always among the networks: an operator on the machine itself can do worse than ask."""

NOBODY_NAMED: Final = "no token"
"""Who administers with auth off."""


class AccessError(Exception):
    """A request that is not granted; `message` says what would be right, and never repeats a token."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class Access:
    """What it takes. `authenticator` is None with auth off. The networks may be replaced while the server runs."""

    authenticator: Authenticator | None
    trusted_proxies: TrustedProxies
    admin_networks: proxies.Networks = field(default_factory=lambda: proxies.Networks(THIS_MACHINE))
    metrics_networks: proxies.Networks = field(default_factory=lambda: proxies.Networks(THIS_MACHINE))

    def reconfigure(self, admin_network: Iterable[str], metrics_network: Iterable[str]) -> None:
        """Answer these networks, and this machine, from the next request on."""
        self.admin_networks = proxies.Networks((*THIS_MACHINE, *admin_network))
        self.metrics_networks = proxies.Networks((*THIS_MACHINE, *metrics_network))

    def check_admin(self, request: web.Request) -> str:
        """Return who administers by `request`, for the log; raise `AccessError`."""
        if self.authenticator is not None:
            return self._check_token(self.authenticator, request)
        if not proxies.is_within(request, self.trusted_proxies, self.admin_networks):
            raise AccessError(
                ErrorCode.FORBIDDEN,
                "with auth off this answers to the server's own machine and to the networks of --admin-network; "
                "or turn auth on and show a token with the admin grant",
            )
        _check_browser(request.headers.get("Origin"), request.headers.get("Host", ""))
        return NOBODY_NAMED

    def check_metrics(self, request: web.Request) -> None:
        """Return when `request` may scrape; raise `AccessError`."""
        if proxies.is_within(request, self.trusted_proxies, self.metrics_networks):
            return
        if self.authenticator is None or "Authorization" not in request.headers:
            raise AccessError(
                ErrorCode.FORBIDDEN,
                "this answers to the server's own machine, to the networks of --metrics-network and, with auth on, "
                "to a token with the admin grant",
            )
        self._check_token(self.authenticator, request)

    def _check_token(self, authenticator: Authenticator, request: web.Request) -> str:
        token = bearer_token(request.headers.get("Authorization", ""))
        try:
            role, client_id = tokens.bearer_of(token)
            grant = authenticator.authenticate(role, client_id, token, time.time())
        except UnauthorizedError as error:
            raise AccessError(ErrorCode.UNAUTHORIZED, f"Authorization: {error}") from None
        if not grant.admin:
            raise AccessError(ErrorCode.FORBIDDEN, "the token does not grant admin; `aiosfu token --admin` makes one")
        return client_id


def _check_browser(origin: str | None, host: str) -> None:
    """Refuse what a foreign page may have a browser send."""
    try:
        called = urlsplit(f"//{host}").hostname or ""
        from_page = None if origin is None else urlsplit(origin).netloc
    except ValueError:
        raise AccessError(ErrorCode.FORBIDDEN, "Host, Origin: unreadable") from None
    if from_page is not None and from_page.lower() != host.lower():
        raise AccessError(ErrorCode.FORBIDDEN, "Origin: with auth off only this server's own pages may ask")
    if not _is_address(called):
        raise AccessError(
            ErrorCode.FORBIDDEN, "Host: with auth off call this server by its address, or localhost, not by a name"
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
