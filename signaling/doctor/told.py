"""What a running server tells of itself: a client's `welcome`, and `/metrics`. Its settings may not be those given."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from signaling import tokens
from signaling.auth import UnauthorizedError
from signaling.credentials.keyfiles import KeyFileError, KeyRing
from signaling.protocol import Role

from .network import HTTP_TIMEOUT_SECONDS, client_tls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signaling.config.model import ServerConfig

    from .findings import Subject

TOKEN_SECONDS = 120.0
NO_TOKEN = "none"  # noqa: S105  it is none
"""Shown where there is none: a server that asks for tokens then refuses at once, and one that does not takes it."""
MAX_WELCOME_BYTES = 64 * 1024
"""It has some hundred bytes for each STUN and TURN server."""
MAX_METRICS_BYTES = 1024 * 1024
"""A server's have 40 kB, and do not grow with its clients."""

_SAMPLE = re.compile(r"^([a-z_]+(?:\{[^}\n]*\})?) ([0-9.e+-]+)$", re.MULTILINE)


class UntoldError(Exception):
    """The server did not tell; the text says why, and holds no token."""

    def __init__(self, text: str, *, wants_token: bool = False) -> None:
        super().__init__(text)
        self.wants_token = wants_token
        """Whether it would have told somebody with a token, or with another one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom to connect, and what to show for it."""

    role: Role
    client_id: str
    token: str

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes along with the request."""
        return {"Authorization": f"Bearer {self.token or NO_TOKEN}"}


def issue_token(settings: ServerConfig, role: Role, client_id: str, *, admin: bool = False) -> str | None:
    """Return a token by a secret of the settings: "" where none are asked for, None where none can be made.

    Raises `KeyFileError`.
    """
    ring = KeyRing(settings.auth_secret, settings.auth_secret_file, settings.auth_public_key_file)
    if not ring:
        return ""
    key = next((key for key in ring.current() if key.algorithm == "HS256"), None)
    if key is None:
        return None
    now, audience = time.time(), settings.auth_audience
    return tokens.issue(
        key, client_id=client_id, role=role, now=now, ttl_seconds=TOKEN_SECONDS, audience=audience, admin=admin
    )


def _identity(subject: Subject, *, admin: bool = False) -> Identity:
    """Return whose token was given, or one of our own making."""
    if subject.token:
        try:
            role, client_id = tokens.bearer_of(subject.token)
        except UnauthorizedError as error:
            raise UntoldError(f"the token given is none: {error}", wants_token=True) from None
        return Identity(role, client_id, subject.token)
    name = _own_name()
    # Whoever may be listening on the way must not learn how to administer the server.
    is_private = subject.is_local or subject.url.startswith("https:")
    try:
        token = issue_token(subject.settings, Role.WEB, name, admin=admin and is_private)
    except KeyFileError as error:
        raise UntoldError(str(error)) from None
    return Identity(Role.WEB, name, token or "")


async def ask_ice_servers(subject: Subject) -> list[dict[str, str]]:
    """Return the STUN and TURN servers that `welcome` names, as a client gets them; raise `UntoldError`."""
    welcome = await _welcome(subject, _identity(subject))
    servers = welcome.get("ice_servers")
    if not isinstance(servers, list):
        raise UntoldError("its welcome names no ice_servers, not even none")
    return [
        {name: str(value) for name, value in server.items()}
        for server in servers
        if isinstance(server, dict) and isinstance(server.get("urls"), str)
    ]


async def welcomes_strangers(subject: Subject) -> bool:
    """Return whether the server lets in a client without a token; raise `UntoldError` where none gets in for others."""
    try:
        await _welcome(subject, Identity(Role.WEB, _own_name(), ""))
    except UntoldError as error:
        if error.wants_token:
            return False
        raise
    return True


def _own_name() -> str:
    return f"doctor-{secrets.token_hex(4)}"


async def _welcome(subject: Subject, who: Identity) -> dict[str, Any]:
    """Connect as a client and return what the server says first."""
    url = f"{subject.url}/ws/connect/{who.role}/{who.client_id}"
    timeout = aiohttp.ClientTimeout(total=HTTP_TIMEOUT_SECONDS)
    closing = aiohttp.ClientWSTimeout(ws_close=HTTP_TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.ws_connect(
                url, ssl=client_tls(subject), headers=who.headers, max_msg_size=MAX_WELCOME_BYTES, timeout=closing
            ) as socket,
        ):
            event = json.loads(await socket.receive_str(timeout=HTTP_TIMEOUT_SECONDS))
            name, data = event["event"], event["data"]
            if name == "welcome" and isinstance(data, dict):
                return data
            code, text = str(data["code"]), str(data["message"])
    except (aiohttp.ClientError, TimeoutError, OSError):  # their texts repeat the URL
        raise UntoldError("it does not welcome a client") from None
    except (KeyError, TypeError, ValueError):
        raise UntoldError("what it says first is not aiosfu's protocol") from None
    if code == "unauthorized" and not who.token:
        text = "the server asks for tokens, and none was given"
    raise UntoldError(text, wants_token=code == "unauthorized")


async def ask_metrics(subject: Subject) -> dict[str, float]:
    """Return the samples of `/metrics` by name and labels, as they stand there; raise `UntoldError`."""
    who = _identity(subject, admin=True)
    timeout = aiohttp.ClientTimeout(total=HTTP_TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(
                f"{subject.url}/metrics", ssl=client_tls(subject), headers=who.headers, allow_redirects=False
            ) as response,
        ):
            text = (await _body(response)).decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        raise UntoldError("/metrics does not answer") from None
    if response.status in {401, 403}:
        raise UntoldError("/metrics is not for us", wants_token=True)
    found = {name: float(value) for name, value in _SAMPLE.findall(text)}
    if response.status != 200 or not found:
        raise UntoldError(f"/metrics has no metrics (status {response.status})")
    return found


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_METRICS_BYTES:
            break  # what is there is looked at; a metric that is not is told of as missing
    return bytes(body)
