"""TURN credentials: the scheme, checked as coturn checks it, and over a real socket."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Any

from signaling import turn
from tests.helpers.server import ProtocolClient, running_server

if TYPE_CHECKING:
    from pathlib import Path

URLS = ("turn:turn.example.org:3478?transport=udp", "turns:turn.example.org:5349")


def is_good(server: dict[str, str], secret: bytes, now: float) -> bool:
    """Check as coturn does with use-auth-secret: the time, then the HMAC of the whole user name."""
    expiry, _, _ = server["username"].partition(":")
    digest = hmac.new(secret, server["username"].encode(), hashlib.sha1).digest()
    return int(expiry) > now and server["credential"] == base64.b64encode(digest).decode()


def test_a_known_answer() -> None:
    # By: printf %s 1700003600:cam | openssl dgst -sha1 -hmac north -binary | base64
    (server,) = turn.ice_servers(URLS[:1], b"north", "cam", now=1_700_000_000.9, ttl_seconds=3600)
    assert server == {
        "urls": URLS[0],
        "username": "1700003600:cam",
        "credential": "CBXhxQNGzZ7jWVji0SV0UpZHLtE=",
    }


def test_credentials_end() -> None:
    for server in turn.ice_servers(URLS, b"north", "cam", now=1000.0, ttl_seconds=60):
        assert is_good(server, b"north", 1059)
        assert not is_good(server, b"north", 1060)
        assert not is_good(server, b"south", 1059)


async def test_welcome_has_them_beside_other_servers() -> None:
    settings: dict[str, Any] = {
        "turn_url": URLS,
        "turn_secret": "north",
        "turn_ttl": 600,
        "ice_server": "stun:192.0.2.1:3478",
    }
    async with running_server(**settings) as server, ProtocolClient(server.ws_url("DEVICE", "cam")) as client:
        stun, *turns = (await client.expect("welcome"))["ice_servers"]
        assert stun == {"urls": "stun:192.0.2.1:3478"}
        assert [entry["urls"] for entry in turns] == list(URLS)
        for entry in turns:
            assert is_good(entry, b"north", time.time() + 500)
            assert not is_good(entry, b"north", time.time() + 601)
            assert entry["username"].endswith(":cam")


async def test_the_secret_in_a_file_may_change(tmp_path: Path) -> None:
    file = tmp_path / "turn-secret"
    file.write_text("north\n")
    async with running_server(turn_url=URLS[:1], turn_secret_file=str(file)) as server:
        for secret in ("north", "south"):
            file.write_text(f"{secret}\n")
            server.server.reload()
            async with ProtocolClient(server.ws_url("WEB", secret)) as client:
                (entry,) = (await client.expect("welcome"))["ice_servers"]
                assert is_good(entry, secret.encode(), time.time())
        file.unlink()
        server.server.reload()
        async with ProtocolClient(server.ws_url("WEB", "later")) as client:
            (entry,) = (await client.expect("welcome"))["ice_servers"]
            assert is_good(entry, b"south", time.time()), "a file that is gone changes nothing"
