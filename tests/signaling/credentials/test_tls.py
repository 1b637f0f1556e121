"""https and wss: the certificate in files and in use, the server's own one, and the handshake's limits."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvloop

from signaling.app import GUARD, Server, ServerStartError
from signaling.client import Device, Viewer
from signaling.client.errors import ConnectError
from signaling.client.sources import open_source
from signaling.config.model import ServerConfig
from signaling.credentials import self_signed as tls_self_signed
from signaling.credentials.tls import TlsError, TlsFiles, describe_file
from signaling.sockets.listener import WRITE_BUFFER_BYTES
from tests.helpers.certificates import client_context, encrypt_key, make_pair
from tests.helpers.server import ProtocolClient, RunningServer, running_server, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def remove(path: Path) -> None:
    path.unlink()


def garble(path: Path) -> None:
    path.write_text("-----BEGIN NOTHING-----")


def change(path: Path) -> None:
    other = make_pair(path.parent / "other")
    path.write_bytes((other.cert if "cert" in path.name else other.key).read_bytes())


@pytest.mark.parametrize(
    ("which", "do", "says"),
    [
        ("cert", remove, "cannot read the TLS certificate .*: No such file"),
        ("key", remove, "cannot read the TLS key .*: No such file"),
        ("cert", garble, "expected PEM files with a certificate in .* and its key in"),
        ("key", garble, "expected PEM files with a certificate in .* and its key in"),
        ("key", change, "the TLS key .* is not that of the certificate"),
        ("key", encrypt_key, "is encrypted; `openssl pkey"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, which: str, do: Any, says: str) -> None:
    pair = make_pair(tmp_path)
    do(getattr(pair, which))
    with pytest.raises(TlsError, match=says):
        TlsFiles(str(pair.cert), str(pair.key))
    config = ServerConfig(tls_cert=str(pair.cert), tls_key=str(pair.key))
    with pytest.raises(ServerStartError, match=says):
        Server(config)


def test_a_certificate_near_its_end_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pair = make_pair(tmp_path, age_days=360)
    TlsFiles(str(pair.cert), str(pair.key))
    assert "tls_certificate_expires" in caplog.text
    assert "days=5" in caplog.text


def test_the_servers_own_certificate_is_kept_while_it_fits(tmp_path: Path) -> None:
    now = time.time()
    first = tls_self_signed.obtain(tmp_path / "a" / "b", ["localhost", "192.0.2.1", "2001:db8::1"], now)
    info = describe_file(first.cert)
    assert info.names == ("localhost", "192.0.2.1", "2001:db8::1")
    assert info.is_self_signed
    assert 364 < info.days_left(now) <= 365
    assert first.key.stat().st_mode & 0o777 == 0o600
    content = first.cert.read_bytes()
    assert tls_self_signed.obtain(first.cert.parent, ["192.0.2.1"], now).cert.read_bytes() == content
    assert tls_self_signed.obtain(first.cert.parent, ["localhost"], now + 340 * 86_400).cert.read_bytes() != content
    before = first.cert.read_bytes()
    assert tls_self_signed.obtain(first.cert.parent, ["192.0.2.2"], now).cert.read_bytes() != before
    first.key.write_text("spoilt")
    mended = tls_self_signed.obtain(first.cert.parent, ["192.0.2.2"], now)
    TlsFiles(str(mended.cert), str(mended.key))


def test_where_the_servers_own_certificate_is_kept() -> None:
    where = tls_self_signed.state_directory
    assert where({"STATE_DIRECTORY": "/var/lib/aiosfu:/x", "HOME": "/h"}) == Path("/var/lib/aiosfu")
    assert where({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path("/s/aiosfu")
    assert where({"HOME": "/h"}) == Path("/h/.local/state/aiosfu")
    with pytest.raises(TlsError, match="cannot keep a self-signed certificate in /proc/x"):
        tls_self_signed.obtain(Path("/proc/x"), ["localhost"], time.time())


# --- over sockets --------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def tls_server(directory: Path, **settings: Any) -> AsyncIterator[tuple[RunningServer, ssl.SSLContext]]:
    pair = make_pair(directory)
    async with running_server(tls_cert=str(pair.cert), tls_key=str(pair.key), **settings) as server:
        yield server, client_context(pair.cert)


async def shown_fingerprint(server: RunningServer) -> str:
    """Return the fingerprint of what a new client is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    return hashlib.sha256(found).hexdigest()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_pages_and_sockets_over_tls_and_a_certificate_that_is_renewed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, new_loop: Any
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(use_and_renew(tmp_path, caplog))


async def use_and_renew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "signaling.tls")
    async with tls_server(tmp_path) as (server, context), aiohttp.ClientSession() as http:
        url = f"https://localhost:{server.port}"
        async with http.get(url, ssl=context) as response:
            assert response.status == 200
        async with http.ws_connect(f"wss://127.0.0.1:{server.port}/ws/connect/WEB/1", ssl=context) as ws:
            assert (await ws.receive_json())["event"] == "welcome"
            (session,) = server.service.sessions.values()
            assert session._socket._transport.get_write_buffer_limits()[1] == WRITE_BUFFER_BYTES  # type: ignore[attr-defined]  # a private
            before = await shown_fingerprint(server)
            (tmp_path / "self-signed-key.pem").write_text("half a wri")
            server.server.reload()
            assert await shown_fingerprint(server) == before
            assert caplog.text.count("tls_certificate_unusable") == 1
            pair = make_pair(tmp_path)
            info = describe_file(pair.cert)
            server.server.reload()
            assert await shown_fingerprint(server) == info.fingerprint.replace(":", "").lower() != before
            await ws.send_json({"event": "create_room"})
            assert (await ws.receive_json())["event"] == "room_created", "who is there stays"


def test_a_changed_file_is_noticed_by_itself(tmp_path: Path) -> None:
    now = [0.0]
    pair = make_pair(tmp_path)
    files = TlsFiles(str(pair.cert), str(pair.key), clock=lambda: now[0])
    before = files.info
    make_pair(tmp_path)

    def handshake() -> None:
        ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
        client_side = ssl.create_default_context()
        client_side.check_hostname, client_side.verify_mode = False, ssl.CERT_NONE
        client = client_side.wrap_bio(theirs, ours)
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        server = files.context.wrap_bio(ours, theirs, server_side=True)
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()

    handshake()
    assert files.info == before, "the files are looked at once a second at most"
    now[0] = 1.0
    handshake()
    assert files.info == describe_file(pair.cert) != before


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_what_brings_no_handshake_is_counted_and_closed(tmp_path: Path, new_loop: Any) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(bring_no_handshake(tmp_path))


async def bring_no_handshake(tmp_path: Path) -> None:
    async with tls_server(tmp_path, request_timeout=0.4, max_pending_connections=2) as (server, _context):
        guard = server.app[GUARD]
        connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        await until(lambda: guard.evicted == 1)
        assert len(guard) == 2
        async with asyncio.timeout(5):
            for reader, _ in connections:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
        assert guard.timed_out == 2
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(5):
                await reader.read()
        await until(lambda: guard.handshakes_failed == 4)
        assert len(guard) == 0
        for _, each in [*connections, (reader, writer)]:
            each.close()


async def test_a_server_stops_while_handshakes_are_under_way(tmp_path: Path) -> None:
    async with tls_server(tmp_path) as (server, _context):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await until(lambda: len(server.app[GUARD]) == 1)
    writer.close()


async def test_a_picture_over_wss_by_the_servers_fingerprint(tmp_path: Path) -> None:
    async with tls_server(tmp_path) as (server, _context):
        assert server.server.certificate is not None
        url, fingerprint = f"wss://127.0.0.1:{server.port}", server.server.certificate.fingerprint
        device = Device(
            url,
            id="cam",
            tls_fingerprint=fingerprint,
            media=lambda: open_source("testsrc=640x360@10", audio="none"),
        )
        async with device, Viewer(url, tls_fingerprint=fingerprint) as viewer:
            feed = await viewer.next_feed()
            assert feed.video is not None
            assert (await feed.video.recv()).width == 640
        with pytest.raises(ConnectError, match="another certificate"):
            async with Viewer(url, tls_fingerprint="00" * 32):
                pass
        with pytest.raises(ConnectError, match="not to be trusted"):
            async with Viewer(url):
                pass
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        Viewer(url, tls_fingerprint="00:11")


async def test_plain_tokens_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with running_server(auth_secret="x" * 32, trusted_proxy=["127.0.0.1"]) as server:
        for forwarded in ({"X-Forwarded-For": "192.0.2.1"}, {}):
            async with aiohttp.ClientSession(headers=forwarded) as http, http.ws_connect(server.ws_url("WEB", 1)) as ws:
                assert (await ws.receive_json())["data"]["code"] == "unauthorized"
        async with ProtocolClient(server.ws_url("WEB", 1)) as client:
            await client.expect_error("unauthorized")
    assert caplog.text.count("token_without_tls") == 1
