"""`aiosfu serve` as a user runs it: a process, its output, its signals, its exit status; and its pages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from signaling import app, cli
from tests.helpers.server import ProtocolClient, running_server, until
from tests.helpers.tokens import SECRET, ec_key, public_pem, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

READY = re.compile(r"aiosfu is ready: open (http://127\.0\.0\.1:(\d+)/) \(media on UDP (\d+)\)\n")


class Process:
    """A server of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.line = ""

    async def ready(self) -> str:
        """Return the URL, without its last slash."""
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            self.line = (await self.process.stdout.readline()).decode()
        match = READY.fullmatch(self.line)
        assert match is not None, (self.line, await self.rest())
        return match[1].rstrip("/")

    async def rest(self) -> tuple[str, str, int | None]:
        """Return what else came on stdout and stderr, and the exit status."""
        async with asyncio.timeout(20):
            out, err = await self.process.communicate()
        return out.decode(), err.decode(), self.process.returncode


@contextlib.asynccontextmanager
async def aiosfu(*words: str, **environ: str) -> AsyncIterator[Process]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIOSFU_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "signaling", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean | environ,
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.terminate()  # not kill: a demo device is to go with it
            await process.wait()


FREE_PORTS = ("--port", "0", "--media-host", "127.0.0.1", "--media-port", "0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_serve_says_it_is_ready_and_stops_cleanly(number: signal.Signals) -> None:
    async with aiosfu("serve", *FREE_PORTS) as server:
        url = await server.ready()
        async with aiohttp.ClientSession() as http, http.get(f"{url}/healthz") as response:
            assert response.status == 200
            assert await response.json() == {"status": "ok"}
        ws = url.replace("http", "ws", 1) + "/ws/connect"
        async with ProtocolClient(f"{ws}/WEB/1/t") as web, ProtocolClient(f"{ws}/DEVICE/2/t") as device:
            await web.send("create_room")
            room = (await web.expect("room_created"))["room_id"]
            await device.send("join_as_publisher", {"room_id": room})
            await device.expect("joined_as_publisher")
            loop = asyncio.get_running_loop()
            began = loop.time()
            server.process.send_signal(number)
            assert (await device.expect("stop_streaming"))["reason"] == "shutdown"
            await web.expect_close(1001)
            await device.expect_close(1001)
            assert await server.rest() == ("", "", 0)
            assert loop.time() - began < 2


async def test_settings_come_from_the_environment() -> None:
    names = {"AIOSFU_PORT": "0", "AIOSFU_MEDIA_PORT": "0", "AIOSFU_ICE_SERVER": "stun:192.0.2.1:3478"}
    async with aiosfu("serve", **names) as server:
        url = await server.ready()
        async with ProtocolClient(url.replace("http", "ws", 1) + "/ws/connect/WEB/1") as web:
            assert (await web.expect("welcome"))["ice_servers"] == [{"urls": "stun:192.0.2.1:3478"}]


@pytest.mark.parametrize(
    ("words", "environ", "named"),
    [
        (("--port", "99999"), {}, "--port (AIOSFU_PORT): got '99999'"),
        ((), {"AIOSFU_MEDIA_PORT": "x"}, "--media-port (AIOSFU_MEDIA_PORT): got 'x'"),
        (("--log-level", "loud"), {}, "debug, info, warning or error"),
    ],
)
async def test_a_bad_setting_is_one_line_and_status_2(
    words: tuple[str, ...], environ: dict[str, str], named: str
) -> None:
    async with aiosfu("serve", *words, **environ) as server:
        out, err, status = await server.rest()
        assert (out, status) == ("", 2)
        assert named in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(("kind", "flag"), [(socket.SOCK_STREAM, "--port"), (socket.SOCK_DGRAM, "--media-port")])
async def test_a_port_in_use_is_one_line_and_status_1(kind: socket.SocketKind, flag: str) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = str(taken.getsockname()[1])
        # The later of two equal flags counts.
        async with aiosfu("serve", *FREE_PORTS, flag, port) as server:
            out, err, status = await server.rest()
            assert (out, status) == ("", 1)
            assert port in err
            assert flag in err
            assert err.count("\n") == 1


async def test_an_address_that_is_not_ours_is_one_line_and_status_1() -> None:
    async with aiosfu("serve", *FREE_PORTS, "--media-host", "192.0.2.1") as server:
        out, err, status = await server.rest()
        assert (out, status) == ("", 1)
        assert "192.0.2.1" in err
        assert err.count("\n") == 1


async def test_tokens_are_in_no_log() -> None:
    async with aiosfu("serve", *FREE_PORTS, "--log-level", "debug") as server:
        url = await server.ready()
        ws = url.replace("http", "ws", 1) + "/ws/connect"
        for path in ("WEB/1/hunter2", "NONE/1/hunter2", "WEB/%zz/hunter2"):
            async with ProtocolClient(f"{ws}/{path}") as client:
                await client.send("join_as_publisher", {"room_id": 1})
                await client.expect("error")
        async with aiohttp.ClientSession() as http, http.get(f"{url}/ws/connect/WEB/1/hunter2") as response:
            assert response.status == 426
        server.process.terminate()
        out, err, status = await server.rest()
        assert status == 0
        assert "client_connected role=WEB client=1" in err
        assert "hunter2" not in out + err
        assert "Traceback" not in err


async def made_token(*words: str, **environ: str) -> str:
    async with aiosfu("token", *words, **environ) as command:
        out, err, status = await command.rest()
    assert (err, status) == ("", 0)
    return out.strip()


async def test_a_token_made_by_the_command_opens_the_door_and_sighup_changes_the_lock(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old-" * 8)
    new.write_text("new-" * 8)
    secrets = tmp_path / "secrets"
    secrets.write_text(old.read_text())
    by_old = await made_token("--secret-file", str(old), "--sub", "1", "--role", "WEB", "--rooms", "1,2")
    by_new = await made_token("--sub", "1", "--role", "WEB", "--ttl", "5m", AIOSFU_AUTH_SECRET=new.read_text())
    async with aiosfu("serve", *FREE_PORTS, "--log-level", "debug", "--auth-secret-file", str(secrets)) as server:
        ws = (await server.ready()).replace("http", "ws", 1) + "/ws/connect/WEB/1"
        async with ProtocolClient(f"{ws}/{by_old}") as client:
            await client.expect("welcome")
            await client.send("create_room")
            await client.expect_error("forbidden")
        async with ProtocolClient(f"{ws}/{by_new}") as client:
            await client.expect_error("unauthorized")
        secrets.write_text(new.read_text())
        server.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(5):
            while b"key_file_reloaded" not in (line := await server.process.stderr.readline()):  # type: ignore[union-attr]  # it is a pipe
                assert line
        async with ProtocolClient(ws) as client:
            await client.send("auth", {"token": by_new})
            await client.expect("welcome")
            await client.send("create_room")
            await client.expect("room_created")
        async with ProtocolClient(f"{ws}/{by_old}") as client:
            await client.expect_error("unauthorized")
        server.process.terminate()
        out, err, status = await server.rest()
        assert status == 0
        for secret in (by_old, by_new, old.read_text(), new.read_text(), by_new.rpartition(".")[2]):
            assert secret not in out + err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--secret-file", "/does/not/exist", "--sub", "1", "--role", "WEB"), "cannot read /does/not/exist"),
        (("--sub", "1", "--role", "WEB"), "expected --secret-file"),
        (("--sub", "a b", "--role", "WEB"), "expected 1 to 64 letters"),
        (("--sub", "1", "--role", "ADMIN"), "invalid choice: 'ADMIN'"),
        (("--sub", "1", "--role", "WEB", "--ttl", "soon"), "expected a time such as 90s"),
        (("--sub", "1", "--role", "WEB", "--rooms", "one"), "expected ids separated by commas"),
    ],
)
async def test_a_token_that_cannot_be_made(words: tuple[str, ...], said: str) -> None:
    async with aiosfu("token", *words) as command:
        out, err, status = await command.rest()
        assert (out, status) == ("", 2)
        assert said in err


@pytest.mark.parametrize("content", [None, "short", "-----BEGIN PUBLIC KEY-----\n"])
async def test_a_key_file_that_cannot_be_used_is_one_line_and_status_1(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "secrets"
    if content is not None:
        file.write_text(content)
    async with aiosfu("serve", *FREE_PORTS, "--auth-secret-file", str(file)) as server:
        out, err, status = await server.rest()
        assert (out, status) == ("", 1)
        assert str(file) in err
        assert err.count("\n") == 1


async def test_a_server_for_others_without_auth_says_so() -> None:
    async with aiosfu("serve", *FREE_PORTS, "--host", "127.0.0.1") as server:
        await server.ready()
        server.process.terminate()
        assert "auth_off" not in (await server.rest())[1]
    async with aiosfu("serve", *FREE_PORTS, "--host", "0.0.0.0") as server:  # noqa: S104  on purpose
        await server.ready()
        server.process.terminate()
        assert "auth_off" in (await server.rest())[1]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux' /proc to see the device's process")
async def test_a_demo_device_comes_and_goes_with_the_server() -> None:
    async with aiosfu("serve", *FREE_PORTS, "--demo") as server:
        url = await server.ready()
        async with ProtocolClient(url.replace("http", "ws", 1) + "/ws/connect/WEB/1") as web:
            await web.send("create_room")
            room = (await web.expect("room_created"))["room_id"]
            await web.send("join_as_publisher", {"room_id": room})
            async with asyncio.timeout(20):
                invited: list[str] = []
                while not invited:
                    await web.send("invite_devices", {"room_id": room})
                    invited = (await web.expect("devices_invited"))["invited"]
                    await asyncio.sleep(0.1)  # between questions: there is no event for a device that comes
            assert invited == ["demo"]
            assert (await web.expect("start_listening", 20))["device"] == "demo"
            (device,) = children(server.process.pid)
            began = asyncio.get_running_loop().time()
            server.process.terminate()
            assert await server.rest() == ("", "", 0)
            assert asyncio.get_running_loop().time() - began < 2
            with pytest.raises(ProcessLookupError):
                os.kill(device, 0)


async def test_a_demo_device_gets_a_token_where_auth_is_on(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text(SECRET)
    async with aiosfu("serve", *FREE_PORTS, "--demo", "--auth-secret-file", str(secrets)) as server:
        url = await server.ready()
        async with ProtocolClient(url.replace("http", "ws", 1) + f"/ws/connect/WEB/web/{token()}") as web:
            await web.send("list_devices")
            if (await web.expect("devices"))["devices"] == []:
                assert await web.expect("device_online", 20) == {"device": "demo"}


async def test_a_demo_device_needs_a_secret_to_have_a_token(tmp_path: Path) -> None:
    keys = tmp_path / "keys.pem"
    keys.write_text(public_pem(ec_key()))
    async with aiosfu("serve", *FREE_PORTS, "--demo", "--auth-public-key-file", str(keys)) as server:
        out, err, status = await server.rest()
        assert (out, status) == ("", 1)
        assert "--auth-secret-file" in err


async def test_a_demo_device_that_ends_by_itself_is_logged() -> None:
    async with aiosfu("serve", *FREE_PORTS, "--demo") as server:
        await server.ready()
        await until(lambda: children(server.process.pid))
        (device,) = children(server.process.pid)
        os.kill(device, signal.SIGKILL)
        assert server.process.stderr is not None
        async with asyncio.timeout(10):
            line = (await server.process.stderr.readline()).decode()
        assert "demo_device_ended status=-9" in line
        server.process.terminate()
        assert await server.rest() == ("", "", 0)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux to see the end of another's child")
async def test_a_demo_device_goes_with_a_server_that_is_killed() -> None:
    async with aiosfu("serve", *FREE_PORTS, "--demo") as server:
        await server.ready()
        await until(lambda: children(server.process.pid))
        (device,) = children(server.process.pid)
        ended = os.pidfd_open(device)
        try:
            server.process.kill()
            over, _, _ = await asyncio.to_thread(select.select, [ended], [], [], 10)
            assert over == [ended], "the device goes on"
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(ended, signal.SIGKILL)
            os.close(ended)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--version"], 0, f"aiosfu {app.own_version()}, protocol 1, Python 3."),
        (["serve", "--prot", "1"], 2, "'--prot' is no option of aiosfu serve; did you mean --port?"),
        (["doctor", "--secnds=1"], 2, "'--secnds=1' is no option of aiosfu doctor; did you mean --seconds?"),
        (["config", "aiosfu.toml"], 2, "'aiosfu.toml' is no option of aiosfu config; `aiosfu config --help` shows"),
        (["serve", "--port"], 2, "argument --port: expected one argument"),
    ],
)
def test_a_command_line_is_answered_in_two_lines(
    words: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    shown = capsys.readouterr()
    assert ended.value.code == status
    assert says in (shown.err if status else shown.out)
    assert (shown.err + shown.out).count("\n") <= 2, "what is wrong is not buried under a list of sixty options"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for name in ("serve", "device", "view", "token"):
        assert name in out


# --- pages ---------------------------------------------------------------------------------------------------------


async def test_pages_are_served_with_strict_headers() -> None:
    async with running_server() as server, aiohttp.ClientSession(server.http_url) as http:
        for path, kind in (("/", "html"), ("/device", "html"), ("/static/js/aiosfu.js", "javascript")):
            async with http.get(path) as response:
                assert response.status == 200, path
                # JavaScript is text/ or application/, by the version of Python; a browser takes both for a module.
                assert response.content_type.split("/")[1] == kind
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'self'" in policy
                assert "unsafe" not in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Referrer-Policy"] == "no-referrer"
                assert "camera=(self)" in response.headers["Permissions-Policy"]
                assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/nothing", "/static/", "/static/../pyproject.toml", "/static/%2e%2e/pyproject.toml", "/static/%00"]
)
async def test_nothing_else_is_served(path: str) -> None:
    async with running_server() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        status = (await reader.readline()).split()[1]
        writer.close()
        await writer.wait_closed()
        assert status in {b"400", b"403", b"404"}
