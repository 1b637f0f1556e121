"""Tokens over real sockets: three ways to show one, what each refuses, keys that change, what is told to nobody."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING

import aiohttp
import jwt
import pytest

from tests.helpers.server import ProtocolClient, RunningServer, running_server, until
from tests.helpers.tokens import OTHER_SECRET, SECRET, by_hand, claims, ec_key, public_pem, rsa_key, token
from tests.signaling.test_errors import joined_room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running_server(auth_secret=SECRET, auth_timeout=1.0) as running:
        yield running


# --- the three ways ------------------------------------------------------------------------------------------------


class HeaderClient(ProtocolClient):
    """Sends headers with its upgrade."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        super().__init__(url)
        self.headers = headers

    async def open(self) -> None:
        self._http = aiohttp.ClientSession(headers=self.headers)
        self._ws = await self._http.ws_connect(self.url)
        self._reader = asyncio.create_task(self._read(), name="protocol-client")


async def test_a_token_in_the_address(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "web", token())) as client:
        assert (await client.expect("welcome"))["client_id"] == "web"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
async def test_a_token_in_a_header(server: RunningServer, scheme: str) -> None:
    for tail in ("", "/"):
        url = f"{server.server_url}/ws/connect/WEB/web{tail}"
        async with HeaderClient(url, {"Authorization": f"{scheme} {token()}"}) as client:
            await client.expect("welcome")
        await server.wait_empty()


async def test_a_token_in_the_first_message(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("DEVICE", "cam", None)) as client:
        await client.ws.ping()
        await client.send("auth", {"token": token("cam", "DEVICE")}, id=1)
        assert (await client.expect("welcome"))["role"] == "DEVICE"
        # Once is enough, and more does no harm.
        await client.send("auth", {"token": "whatever"})
        assert await client.settle() == []


async def test_a_proxys_own_authorization_is_no_token(server: RunningServer) -> None:
    async with HeaderClient(server.ws_url("WEB", "web", None), {"Authorization": "Basic dTpw"}) as client:
        await client.send("auth", {"token": token()})
        await client.expect("welcome")


async def test_with_auth_off_a_client_that_shows_a_token_is_welcome() -> None:
    async with running_server() as open_server:
        async with ProtocolClient(open_server.ws_url("WEB", "web", None)) as client:
            await client.expect("welcome")
            await client.send("auth", {"token": token()})
            assert await client.settle() == []


@pytest.mark.parametrize(
    "text",
    [
        '{"event":"create_room","data":{}}',
        '{"event":"auth"}',
        '{"event":"auth","data":{"token":5}}',
        '{"event":"auth","data":{"token":""}}',
        '{"event":"auth","data":{"token":"x.y.z"}}',
        '{"event":"dance"}',
        "not json",
        "[" * 50_000,
    ],
)
async def test_nothing_is_handled_before_the_token(server: RunningServer, text: str) -> None:
    async with ProtocolClient(server.ws_url("WEB", "web", None)) as client:
        await client.send_text(text)
        await client.send("auth", {"token": token()})  # too late
        await client.expect_error("unauthorized")
        await client.expect_close(4401)
        assert client.received == []
    assert not server.service.sessions


async def test_a_client_that_shows_nothing_is_closed_in_time(server: RunningServer) -> None:
    began = time.monotonic()
    async with ProtocolClient(server.ws_url("WEB", "web", None)) as client:
        error = await client.expect_error("unauthorized")
        assert "within 1 s" in error["message"]
        await client.expect_close(4401)
    assert 0.9 < time.monotonic() - began < 2


async def test_pings_do_not_hold_the_door_open(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "web", None)) as client:
        for _ in range(16):
            await client.ws.ping()
        await client.expect_error("unauthorized")
        await client.expect_close(4401)


async def test_a_server_stops_while_clients_have_not_shown_their_token() -> None:
    async with running_server(auth_secret=SECRET) as server:
        client = ProtocolClient(server.ws_url("WEB", "web", None))
        await client.open()
        await client.ws.ping()
    await client.close()  # `running_server` holds the stop to its time


# --- refusals ------------------------------------------------------------------------------------------------------


async def refused(server: RunningServer, text: str) -> str:
    """Show `text` in all three ways; return the message, which is the same each time."""
    messages: set[str] = set()
    for form in ("path", "header", "frame"):
        url = server.ws_url("WEB", "web", text if form == "path" else None)
        headers = {"Authorization": f"Bearer {text}"} if form == "header" else {}
        async with HeaderClient(url, headers) as client:
            if form == "frame":
                await client.send("auth", {"token": text})
            message = (await client.expect_error("unauthorized"))["message"]
            messages.add(re.sub(r"\d\d s\b", "__ s", message))  # of a time ago, the last seconds pass between two ways
            await client.expect_close(4401)
    (message,) = messages
    assert text not in message
    assert text.rpartition(".")[2] not in message
    return message


# Made when the test runs: one made at collection has aged by then, and two workers would name their tests differently.
BAD_TOKENS: dict[str, tuple[Callable[[], str], str]] = {
    "expired": (lambda: token(exp=int(time.time()) - 3600), "exp: it expired 36"),
    "early": (lambda: token(nbf=int(time.time()) + 3600), "nbf: it is valid only in 3"),
    "other-client": (lambda: token("other"), "sub:"),
    "other-role": (lambda: token(role="DEVICE"), "role:"),
    "endless": (lambda: token(exp=None), "exp: it has none"),
    "other-secret": (lambda: token(secret=OTHER_SECRET), "its signature is by no key"),
    "alg-none": (lambda: by_hand({"alg": "none"}, claims()) + "AAAA", "alg: expected HS256"),
    "alg-rs256": (lambda: jwt.encode(claims(), rsa_key(), "RS256"), "alg: expected HS256"),
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_bad_token_is_refused_in_every_way(server: RunningServer, kind: str) -> None:
    make, named = BAD_TOKENS[kind]
    text = make()
    assert f"token: {named}" in await refused(server, text)


async def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    file.write_text(public_pem(rsa_key()) + public_pem(ec_key()))
    async with running_server(auth_public_key_file=str(file)) as server:
        for name, key in (("RS256", rsa_key()), ("ES256", ec_key())):
            text = jwt.encode(claims(f"as-{name}"), key, name)
            async with ProtocolClient(server.ws_url("WEB", f"as-{name}", text)) as client:
                await client.expect("welcome")
            forged = by_hand({"alg": "HS256"}, claims(), public_pem(key).encode())
            assert "alg: expected ES256 or RS256" in await refused(server, forged)


async def test_a_skewed_clock_is_allowed_for(server: RunningServer) -> None:
    now = int(time.time())
    for text in (token(iat=now + 20, nbf=now + 20), token(exp=now - 20)):
        async with ProtocolClient(server.ws_url("WEB", "web", text)) as client:
            await client.expect("welcome")
        await server.wait_empty()


async def test_the_newest_socket_of_a_client_wins(server: RunningServer) -> None:
    async with ProtocolClient(server.ws_url("WEB", "web", token())) as older:
        await older.expect("welcome")
        async with ProtocolClient(server.ws_url("WEB", "web", token())) as newer:
            await newer.expect("welcome")
            await older.expect_close(4409)
            await joined_room(newer)


async def test_an_expired_token_ends_no_session_but_opens_none() -> None:
    async with running_server(auth_secret=SECRET, auth_leeway=0) as server:
        expiring = token(exp=time.time() + 1.0)
        async with ProtocolClient(server.ws_url("WEB", "web", expiring)) as client:
            await client.expect("welcome")
            grant = next(iter(server.service.sessions.values())).grant
            await until(lambda: time.time() > (grant.expires or 0))
            await joined_room(client)
            async with ProtocolClient(server.ws_url("WEB", "web", expiring)) as later:
                await later.expect_error("unauthorized")
            await joined_room(client)


# --- keys that change ----------------------------------------------------------------------------------------------


async def is_welcome(server: RunningServer, text: str) -> bool:
    async with ProtocolClient(server.ws_url("WEB", "web", text)) as client:
        await until(lambda: client.received)
        return bool(client.received[0]["event"] == "welcome")


async def test_secrets_rotate_without_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "secrets"
    file.write_text(SECRET)
    old, new = token(), token(secret=OTHER_SECRET)
    with caplog.at_level(logging.DEBUG):
        async with running_server(auth_secret_file=str(file)) as server:
            assert (await is_welcome(server, old), await is_welcome(server, new)) == (True, False)
            file.write_text(f"{OTHER_SECRET}\n{SECRET}\n")
            server.server.reload()  # what SIGHUP does
            assert (await is_welcome(server, old), await is_welcome(server, new)) == (True, True)
            file.write_text(f"{OTHER_SECRET}\n")
            server.server.reload()
            assert (await is_welcome(server, old), await is_welcome(server, new)) == (False, True)
            file.write_text("half a wri")
            server.server.reload()
            assert (await is_welcome(server, old), await is_welcome(server, new)) == (False, True)
    assert "key_file_unusable" in caplog.text
    assert "half a wri" not in caplog.text
    for secret in (SECRET, OTHER_SECRET, old, new):
        assert secret not in caplog.text


# --- what must be nowhere ------------------------------------------------------------------------------------------


async def test_no_token_and_no_secret_is_in_any_log_or_error(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [token(), token("other"), token(secret=OTHER_SECRET), token(role="DEVICE"), "hunter2.hunter2.hunter2"]
    with caplog.at_level(logging.DEBUG):
        for text in texts:
            for form in ("path", "header", "frame"):
                headers = {"Authorization": f"Bearer {text}"} if form == "header" else {}
                url = server.ws_url("WEB", "web", text if form == "path" else None)
                async with HeaderClient(url, headers) as client:
                    if form == "frame":
                        await client.send("auth", {"token": text})
                    await until(lambda seen=client: seen.received)
                    assert text not in str(client.received)
    refused = [record for record in caplog.records if "connection_refused" in record.getMessage()]
    assert len(refused) == len(texts) * 3 - 3, "one token of five is good"
    assert all("address=127.0.0.1 role=WEB client=web" in record.getMessage() for record in refused)
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("asyncio"))
    for secret in (*texts, SECRET, *(text.split(".")[2] for text in texts)):
        assert secret not in ours


@pytest.mark.parametrize(
    "broken",
    [
        ("GET", "{path}", "HTTP/9.9", ""),
        ("G@T", "{path}", "HTTP/1.1", ""),
        ("GET", "{path}\1", "HTTP/1.1", ""),
        ("GET", "{path} x", "HTTP/1.1", ""),
        ("GET", "{path}" + "A" * 9000, "HTTP/1.1", ""),
        ("GET", "http://x:99999999{path}", "HTTP/1.1", ""),
        ("GET", "/ws/connect/WEB/web", "HTTP/1.1", "Authorization: Bearer {token}\0\r\n"),
        ("GET", "/ws/connect/WEB/web", "HTTP/1.1", "Authorization: Bearer {token}" + "A" * 9000 + "\r\n"),
    ],
    ids=["version", "method", "address", "words", "long-address", "port", "header", "long-header"],
)
async def test_a_request_that_is_no_http_is_answered_without_repeating_its_token(
    server: RunningServer, caplog: pytest.LogCaptureFixture, broken: tuple[str, ...]
) -> None:
    text = token()
    path = f"/ws/connect/WEB/web/{text}"
    method, target, version, header = (part.format(path=path, token=text) for part in broken)
    with caplog.at_level(logging.DEBUG):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"{method} {target} {version}\r\nHost: x\r\n{header}\r\n".encode())
        async with asyncio.timeout(5):
            answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    assert answer.split()[1] == "400"
    assert "cannot be read as HTTP" in answer
    (line,) = (record for record in caplog.records if "bad_request" in record.getMessage())
    assert line.levelno == logging.INFO
    for part in text.split("."):
        assert part not in caplog.text
        assert part not in answer
