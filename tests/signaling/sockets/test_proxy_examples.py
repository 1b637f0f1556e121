"""The examples under `deploy/` for nginx and Caddy, really run where they are installed: a stream through wss."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from signaling.client import Device, Viewer
from signaling.client.sources import open_source
from signaling.credentials.tls import describe_file
from tests.helpers.certificates import client_context, make_pair
from tests.helpers.ports import free_port
from tests.helpers.server import RunningServer, running_server, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from signaling.client.sources import Media
    from signaling.credentials.self_signed import Pair

DEPLOY = Path(__file__).parents[3] / "deploy"
PATHS = os.environ.get("PATH", "") + ":/usr/sbin"
"""Debian has nginx where only root's shell looks."""


class Proxy:
    """One proxy's command and configuration."""

    def __init__(self, directory: Path, pair: Pair, upstream: int) -> None:
        self.directory = directory
        self.pair = pair
        self.upstream = upstream
        self.port = free_port()

    def example(self, name: str, changes: Sequence[tuple[str, str]]) -> str:
        """Return an example with other values; each old one must be in it."""
        text = (DEPLOY / name).read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        return text

    def nginx(self) -> tuple[str, ...]:
        site = self.example(
            "nginx/aiosfu.conf",
            [
                ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
                ("listen 443 ssl http2;", f"listen 127.0.0.1:{self.port} ssl http2;"),
                ("server 127.0.0.1:8002;", f"server 127.0.0.1:{self.upstream};"),
                ("/etc/letsencrypt/live/cams.example.org/fullchain.pem", str(self.pair.cert)),
                ("/etc/letsencrypt/live/cams.example.org/privkey.pem", str(self.pair.key)),
                ("/var/log/nginx/aiosfu.log", str(self.directory / "access.log")),
                ("cams.example.org", "localhost"),
            ],
        )
        (self.directory / "aiosfu.conf").write_text(site)
        temporary = "".join(
            f"{name}_temp_path {self.directory}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.directory / "nginx.conf").write_text(
            f"daemon off;\nmaster_process off;\npid {self.directory}/pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\n{temporary}include aiosfu.conf;\n}}\n"
        )
        return ("nginx", "-p", str(self.directory), "-c", "nginx.conf", "-e", "stderr")

    def caddy(self) -> tuple[str, ...]:
        site = self.example(
            "caddy/Caddyfile",
            [
                ("cams.example.org {\n", f"localhost:{self.port} {{\n\ttls {self.pair.cert} {self.pair.key}\n"),
                ("127.0.0.1:8002", f"127.0.0.1:{self.upstream}"),
            ],
        )
        # No admin port, no redirect from port 80, no HTTP/3: those are the machine's.
        options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {\n\t\tprotocols h1 h2\n\t}\n}\n"
        (self.directory / "Caddyfile").write_text(options + site)
        return ("caddy", "run", "--config", str(self.directory / "Caddyfile"), "--adapter", "caddyfile")

    @contextlib.asynccontextmanager
    async def run(self, name: str) -> AsyncIterator[None]:
        words = getattr(self, name)()
        program = shutil.which(name, path=PATHS)
        assert program is not None
        homes = {name: str(self.directory) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        process = await asyncio.create_subprocess_exec(
            program,
            *words[1:],
            env=os.environ | homes,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await self._listens(process)
            yield
        finally:
            process.terminate()
            await process.communicate()

    async def _listens(self, process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(ConnectionError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                if process.returncode is not None:
                    raise AssertionError((await process.communicate())[1].decode())
                await asyncio.sleep(0.05)


async def pattern() -> Media:
    return await asyncio.to_thread(open_source, "testsrc=640x360@10", audio="none")


async def counts_by_client(proxy: Proxy, server: RunningServer) -> None:
    """Two sockets of one address are one too many; another address has a place of its own; the tokens stay secret."""

    async def connect(http: aiohttp.ClientSession, client: int) -> aiohttp.ClientWebSocketResponse:
        url = f"wss://localhost:{proxy.port}/ws/connect/WEB/{client}/hunter2"
        return await http.ws_connect(url, headers={"X-Forwarded-For": f"192.0.2.{client}"})

    def session(address: str) -> aiohttp.ClientSession:
        context = client_context(proxy.pair.cert)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(local_addr=(address, 0), ssl=context, family=socket.AF_INET)
        )

    async with session("127.0.0.5") as five, session("127.0.0.6") as six:
        async with five.get(f"https://localhost:{proxy.port}/") as page:
            assert page.status == 200
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        async with await connect(five, 1) as first, await connect(five, 2) as second, await connect(six, 3) as third:
            assert (await first.receive_json())["event"] == "welcome"
            assert (await second.receive_json())["data"]["code"] == "server_full"
            assert (await third.receive_json())["event"] == "welcome"
    await until(lambda: not server.service.sessions)


@pytest.mark.parametrize("name", ["nginx", "caddy"])
async def test_a_stream_through_wss(tmp_path: Path, name: str) -> None:
    if shutil.which(name, path=PATHS) is None:
        pytest.skip(f"{name} is not installed")
    pair = make_pair(tmp_path / "tls")
    async with running_server(trusted_proxy=["127.0.0.1"], max_sockets_per_address=1) as server:
        proxy = Proxy(tmp_path, pair, server.port)
        async with proxy.run(name):
            await counts_by_client(proxy, server)
            server.server.reload(server.server.config.model_copy(update={"max_sockets_per_address": 9}))
            url, fingerprint = f"wss://localhost:{proxy.port}", describe_file(pair.cert).fingerprint
            device = Device(url, id="cam", tls_fingerprint=fingerprint, media=pattern)
            async with device, Viewer(url, tls_fingerprint=fingerprint) as viewer:
                feed = await viewer.next_feed()
                assert feed.video is not None
                assert (await feed.video.recv()).width == 640
    if name == "nginx":  # Caddy's example has no access log
        log = (tmp_path / "access.log").read_text()
        assert "127.0.0.5 " in log
        assert "hunter2" not in log
