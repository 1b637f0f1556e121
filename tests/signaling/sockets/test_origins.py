"""Which pages may connect: the rule as a table, and browsers' headers over real sockets."""

from __future__ import annotations

import aiohttp
import pytest

from signaling.sockets import origins
from tests.helpers.server import RunningServer, running_server
from tests.helpers.tokens import SECRET, token

LAN = "192.168.1.5:8002"
NAMED = ("https://cams.example.org", "http://dev.example.org:3000")


@pytest.mark.parametrize(
    ("origin", "host", "open_", "with_auth", "named"),
    [
        # origin, Host, allowed with auth off, with auth on, with auth off and `NAMED`
        (None, LAN, True, True, True),
        ("http://192.168.1.5:8002", LAN, True, True, True),
        ("https://192.168.1.5", LAN, True, True, True),
        ("http://192.168.1.5:5173", LAN, True, True, True),
        ("http://[fd00::1]:8002", "[fd00::1]:8002", True, True, True),
        ("https://Cams.Example.org", "CAMS.example.org", True, True, True),
        ("http://localhost:5173", "127.0.0.1:8002", True, True, False),
        ("http://127.0.0.1:8002", "localhost:8002", True, True, False),
        ("http://[::1]:5173", LAN, True, True, False),
        ("http://app.localhost:3000", LAN, True, True, False),
        ("https://evil.example", LAN, False, True, False),
        ("https://localhost.evil.example", LAN, False, True, False),
        ("https://192.168.1.5.evil.example", LAN, False, True, False),
        ("http://192.168.1.55:8002", LAN, False, True, False),
        ("null", LAN, False, True, False),
        ("file://", LAN, False, True, False),
        ("", LAN, False, True, False),
        ("https://evil.example#192.168.1.5", LAN, False, True, False),
        ("https://192.168.1.5@evil.example", LAN, False, True, False),
        ("http://[192.168.1.5:8002", LAN, False, True, False),
        ("https://" + "a" * 10_000, LAN, False, True, False),
        ("https://evil.example", "", False, True, False),
        ("https://cams.example.org", LAN, False, True, True),
        ("http://cams.example.org", LAN, False, True, False),
        ("http://dev.example.org:3000", LAN, False, True, True),
        ("http://dev.example.org:3001", LAN, False, True, False),
    ],
)
def test_the_rule(origin: str | None, host: str, open_: bool, with_auth: bool, named: bool) -> None:  # noqa: FBT001
    assert origins.is_allowed(origin, host, (), is_open=True) is open_
    assert origins.is_allowed(origin, host, (), is_open=False) is with_auth
    assert origins.is_allowed(origin, host, NAMED, is_open=True) is named
    assert origins.is_allowed(origin, host, NAMED, is_open=False) is named
    assert origins.is_allowed(origin, host, ("*",), is_open=True)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://Cams.example.org/", "https://cams.example.org"),
        ("https://cams.example.org:443", "https://cams.example.org"),
        ("http://cams.example.org:80", "http://cams.example.org"),
        ("http://cams.example.org:8080", "http://cams.example.org:8080"),
        ("http://[fd00::1]:80", "http://[fd00::1]"),
        ("*", "*"),
    ],
)
def test_origins_are_written_as_browsers_write_them(text: str, read: str) -> None:
    assert origins.read_origin(text) == read


@pytest.mark.parametrize("text", ["", "cams.example.org", "https://", "https://a/b", "https://*.example.org", "null"])
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match="not an origin"):
        origins.read_origin(text)


async def first(server: RunningServer, origin: str, tail: str = "t") -> tuple[str, int | None]:
    """Connect as a page does; return the first event, or the error's code with how the socket was closed."""
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(server.ws_url("WEB", "web", tail), origin=origin) as socket:
            message = await socket.receive_json(timeout=5)
            if message["event"] != "error":
                return message["event"], None
            await socket.receive(timeout=5)
            return message["data"]["code"], socket.close_code


async def test_a_foreign_page_is_refused_with_auth_off() -> None:
    async with running_server() as server:
        assert await first(server, server.http_url) == ("welcome", None)
        assert await first(server, "http://localhost:5173") == ("welcome", None)
        assert await first(server, "https://evil.example") == ("forbidden", 4403)
        assert await first(server, "null") == ("forbidden", 4403)


async def test_pages_may_be_named() -> None:
    async with running_server(allowed_origin="https://cams.example.org") as server:
        assert await first(server, "https://cams.example.org") == ("welcome", None)
        assert await first(server, server.http_url) == ("welcome", None)
        assert await first(server, "http://localhost:5173") == ("forbidden", 4403)


async def test_with_auth_on_the_token_is_what_counts() -> None:
    async with running_server(auth_secret=SECRET) as server:
        assert await first(server, "https://front.example", token()) == ("welcome", None)
        assert await first(server, "https://front.example", "none") == ("unauthorized", 4401)
