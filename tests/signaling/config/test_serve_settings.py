"""`aiosfu serve` with a file of settings, SIGHUP, https with a certificate of its own, and the limit of open files."""

from __future__ import annotations

import asyncio
import re
import resource
import signal
from typing import TYPE_CHECKING

import aiohttp

from signaling.app import own_version
from signaling.client import Viewer
from signaling.config import reloading
from signaling.config.model import ServerConfig, extra
from tests.helpers.server import ProtocolClient
from tests.signaling.test_serve import FREE_PORTS, Process, aiosfu

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "x" * 32


def test_what_a_running_server_takes_over() -> None:
    old = ServerConfig(auth_secret=SECRET, max_rooms=1, port=1)
    plan = reloading.plan(old, ServerConfig(auth_secret="y" * 32, max_rooms=2, port=2))
    assert (plan.changed, plan.refused) == (("auth_secret", "max_rooms"), ("port",))
    assert plan.settings == ServerConfig(auth_secret="y" * 32, max_rooms=2, port=1)
    for before, after in ((old, ServerConfig(port=1)), (ServerConfig(port=1), old)):
        plan = reloading.plan(before, after)
        assert plan.refused == ("auth_secret",), "auth is turned on and off by a restart only"
        assert plan.changed == ("max_rooms",)
    plan = reloading.plan(ServerConfig(), ServerConfig(tls_cert="a", tls_key="b"))
    assert (plan.changed, plan.refused) == ((), ("tls_cert", "tls_key"))
    assert reloading.plan(old, old).changed == ()


def test_every_setting_that_can_be_reloaded_is() -> None:
    """The fields that are marked are those that `Server` hands on; a new mark takes a line there."""
    handed_on = {
        *("tls_cert", "tls_key", "trusted_proxy", "ice_server", "turn_url", "turn_secret", "turn_secret_file"),
        *("turn_ttl", "log_level", "auth_secret", "auth_secret_file", "auth_public_key_file", "auth_audience"),
        *("auth_leeway", "auth_timeout", "allowed_origin", "max_sockets_per_address", "max_handshakes"),
        *("max_pending_connections", "request_timeout", "max_rooms", "max_rooms_per_client", "max_members_per_room"),
        *("max_feeds", "max_subscriptions_per_client", "rate_limit_per_second", "rate_limit_burst"),
        *("invitation_timeout", "stop_grace", "admin_network", "metrics_network"),
    }
    assert {name for name in ServerConfig.model_fields if extra(name).get("reload")} == handed_on


async def logged(server: Process, event: str) -> str:
    """Return the next log line with an event."""
    assert server.process.stderr is not None
    async with asyncio.timeout(10):
        while True:
            line = (await server.process.stderr.readline()).decode()
            assert line, f"the server ended before {event}"
            if event in line:
                return line


async def test_sighup_takes_over_what_needs_no_restart(tmp_path: Path) -> None:
    file = tmp_path / "aiosfu.toml"
    file.write_text('port = 0\nmedia_port = 0\nmax_rooms = 1\nlog_level = "info"\n')
    async with aiosfu("serve", "--config", str(file)) as server:
        url = (await server.ready()).replace("http", "ws", 1)
        granted = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert f"granted={granted}" in await logged(server, "file_limit")
        assert f"version={own_version()}" in await logged(server, "server_ready")
        server.process.send_signal(signal.SIGHUP)
        await logged(server, "settings_unchanged")
        async with ProtocolClient(f"{url}/ws/connect/WEB/1/t") as web:
            await web.send("create_room")
            await web.expect("room_created")
            await web.send("create_room")
            await web.expect_error("bad_state")
            file.write_text('port = 0\nmedia_port = 9\nmax_rooms = 2\nice_server = ["stun:h"]\nlog_level = "info"\n')
            server.process.send_signal(signal.SIGHUP)
            assert "setting=media_port" in await logged(server, "setting_needs_restart")
            assert "ice_server,max_rooms" in await logged(server, "settings_reloaded")
            await web.send("create_room")
            await web.expect("room_created")
            async with ProtocolClient(f"{url}/ws/connect/WEB/2/t") as newer:
                assert (await newer.expect("welcome"))["ice_servers"] == [{"urls": "stun:h"}]
            file.write_text("max_rooms = 0\n")
            server.process.send_signal(signal.SIGHUP)
            assert f"{file}, line 1: max_rooms: got '0'" in await logged(server, "reload_refused")
            await web.send("create_room")
            await web.expect_error("bad_state")


async def test_https_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    words = ("serve", *FREE_PORTS, "--demo", "--tls-self-signed")
    async with aiosfu(*words, XDG_STATE_HOME=str(tmp_path)) as server:
        assert server.process.stdout is not None
        async with asyncio.timeout(20):
            ready = (await server.process.stdout.readline()).decode()
            told = (await server.process.stdout.readline()).decode()
        match = re.match(r"aiosfu is ready: open (https://127\.0\.0\.1:\d+)/ ", ready)
        assert match is not None, ready
        fingerprint = told.rpartition(" ")[2].strip()
        pinned = aiohttp.Fingerprint(bytes.fromhex(fingerprint.replace(":", "")))
        async with aiohttp.ClientSession() as http, http.get(f"{match[1]}/", ssl=pinned) as response:
            assert response.status == 200
            assert "connect-src 'self'" in response.headers["Content-Security-Policy"]
        async with Viewer(match[1].replace("https", "wss"), tls_fingerprint=fingerprint) as viewer:
            feed = await viewer.next_feed(20)
            assert feed.device == "demo"
            assert feed.video is not None
            await feed.video.recv()
    assert (tmp_path / "aiosfu" / "self-signed-key.pem").stat().st_mode & 0o077 == 0
