"""`aiosfu doctor` on a healthy server and on broken ones: what it finds, and what it says to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import shutil
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from signaling import doctor
from signaling.config.model import ServerConfig
from signaling.doctor import network, relays, security, stream, system
from signaling.doctor.findings import Finding, Subject
from signaling.doctor.told import issue_token
from signaling.protocol import Role
from tests.helpers.certificates import make_pair
from tests.helpers.ports import free_port
from tests.helpers.server import RunningServer, running_server, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

SECRET = "x" * 32
TURN_SECRET = "north"  # noqa: S105  of the test's own server
MACHINE = {"udp", "files", "clock", "versions"}
"""What the machine of the tests is like is not for them to say."""


def subject_of(server: RunningServer, *, seconds: float = 0.0, timeout: float = 5.0, **settings: Any) -> Subject:
    """Return a running server as the doctor sees it, by settings that may differ from its own."""
    ports = {"port": server.port, "media_port": server.engine.port}
    certificate = server.server.certificate
    return Subject(
        server.server.config.model_copy(update=ports | settings),
        server.server.url.rstrip("/"),
        is_local=True,
        fingerprint="" if certificate is None else certificate.fingerprint,
        stream_seconds=seconds,
        stream_timeout_seconds=timeout,
    )


def subject(**settings: Any) -> Subject:
    """Return a server that does not run."""
    given = ServerConfig.model_validate({"port": free_port(), "media_host": "127.0.0.1", "media_port": 0} | settings)
    return Subject(given, given.local_url(given.port).rstrip("/"), is_local=True)


def only(findings: Sequence[Finding], level: str, check: str) -> Finding:
    """Return the one finding of a level and check; each that is no "ok" has to say what to do."""
    assert all(finding.advice for finding in findings if finding.level in {"warn", "fail"})
    (found,) = [finding for finding in findings if (finding.level, finding.check) == (level, check)]
    return found


@contextlib.asynccontextmanager
async def turn_server(directory: Path) -> AsyncIterator[str]:
    """Run coturn where it is installed, and return its URL."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(program, "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}"),
        *("--use-auth-secret", f"--static-auth-secret={TURN_SECRET}", "--realm=test", "--no-tls", "--no-dtls"),
        *("--no-cli", "--log-file=stdout", f"--pidfile={directory}/pid", f"--userdb={directory}/db"),
        *("--allow-loopback-peers", "--relay-threads=1", "--min-port=49160", "--max-port=49200"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        await until(listens, 10)
        yield f"turn:127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def test_a_healthy_server(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    settings = {"tls_cert": str(pair.cert), "tls_key": str(pair.key), "auth_secret": SECRET}
    async with running_server(**settings) as server:  # type: ignore[arg-type]  # they are settings, all of them
        found = await doctor.examine(subject_of(server, seconds=1.0))
    assert {finding.level for finding in found if finding.check not in MACHINE} <= {"ok", "note"}, found
    assert "answers in" in only(found, "ok", "server").text
    assert "taken by the server" in only(found, "ok", "ports").text
    assert "good until" in only(found, "ok", "tls").text
    assert "1 keys, HS256" in only(found, "ok", "tokens").text
    assert "first picture after" in only(found, "ok", "stream").text
    assert " 0 of " in only(found, "ok", "stream").text
    text = doctor.as_text(found)
    assert text.count("\n") >= len(found) + 1
    assert SECRET not in text + json.dumps(doctor.as_values(found))


async def test_nothing_listens() -> None:
    found = await doctor.examine(subject())
    assert "nothing listens" in only(found, "fail", "server").text
    assert "aiosfu serve" in only(found, "fail", "server").advice
    assert not [finding for finding in found if finding.check == "stream"], "there is nothing to stream through"


async def test_something_else_listens() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)  # a request, or the beginning of a TLS handshake
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        found = await doctor.examine(subject(port=port))
        assert "no aiosfu server" in only(found, "fail", "server").text
        other.close()


async def test_ports_that_are_taken_or_not_ours() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        found = await network.check_ports(subject(media_port=taken.getsockname()[1]))
        assert "not by a running server" in only(found, "fail", "ports").text
        assert "--media-port" in only(found, "fail", "ports").advice
    found = await network.check_ports(subject(media_port=9, media_host="192.0.2.1"))
    assert "not an address of this machine" in only(found, "fail", "ports").text


async def test_media_does_not_arrive() -> None:
    async with running_server(check_tasks=False) as server:
        examined = subject_of(server, seconds=1.0, timeout=2.0)
        server.engine._port.close()  # signalling goes on
        found = await doctor.examine(examined)
        assert "not with media on UDP" in only(found, "fail", "ports").text
        missing = only(found, "fail", "stream")
        assert "signalling works, but no picture came" in missing.text
        assert f"UDP {examined.settings.media_port}" in missing.advice


def test_behind_nat_a_missing_picture_may_be_the_routers_doing() -> None:
    missing = stream.no_picture(subject(announce="203.0.113.7"), "no media within 15 s")
    assert missing.level == "warn"
    assert "clients are told of 203.0.113.7 only" in missing.text
    assert "from another network" in missing.advice
    for sure in (subject(), subject(announce="203.0.113.7,127.0.0.1")):
        assert stream.no_picture(sure, "no media within 15 s").level == "fail"


async def test_the_wrong_secret() -> None:
    async with running_server(auth_secret=SECRET) as server:
        found = await doctor.examine(subject_of(server, seconds=1.0, auth_secret="y" * 32))
        assert "refuses our token" in only(found, "fail", "stream").text
        assert "--auth-secret-file" in only(found, "fail", "stream").advice


async def test_a_server_that_asks_for_no_tokens_though_it_should() -> None:
    async with running_server() as server:
        found = await security.check_tokens(subject_of(server, auth_secret=SECRET))
        assert "lets clients in without" in only(found, "fail", "tokens").text


async def test_a_server_that_is_about_to_end() -> None:
    async with running_server() as server:
        await server.server.drain()
        found = await network.check_server(subject_of(server))
        assert "takes no new clients: draining" in only(found, "warn", "server").text


async def test_certificates(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, age_days=364.9)
    settings = {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}
    async with running_server(**settings) as server:  # type: ignore[arg-type]  # they are settings, all of them
        examined = subject_of(server)
        assert "expires in 0 days" in only(await security.check_tls(examined), "warn", "tls").text
        pair.key.chmod(0o644)
        assert f"chmod o-r {pair.key}" in only(await security.check_tls(examined), "warn", "files").advice
        other = make_pair(tmp_path / "other", age_days=-2)
        pair.cert.write_bytes(other.cert.read_bytes())
        assert "is not that of the certificate" in only(await security.check_tls(examined), "fail", "tls").text
        pair.key.write_bytes(other.key.read_bytes())
        found = await security.check_tls(examined)
        assert "valid only from" in only(found, "fail", "tls").text
        make_pair(tmp_path, age_days=400)
        assert "expired on" in only(await security.check_tls(examined), "fail", "tls").text
        remote = Subject(examined.settings, examined.url, is_local=False, stream_seconds=0)
        found = await doctor.examine(remote)
        refused = only(found, "fail", "server")
        assert "TLS: self-signed certificate" in refused.text
        assert refused.advice.endswith(server.server.certificate.fingerprint if server.server.certificate else "-")
        plain = Subject(examined.settings, server.http_url, is_local=False)
        (refused,) = await network.check_server(plain)
        assert (refused.text, refused.advice) == (
            f"what listens at {plain.url} speaks TLS, so https",
            f"try {examined.url}",
        )
        assert "kill -HUP" not in doctor.as_text(found), "that is for whoever runs the server"


async def test_the_servers_certificate_is_another_than_the_files(tmp_path: Path) -> None:
    before, after = make_pair(tmp_path / "a"), make_pair(tmp_path / "b")
    async with running_server(tls_cert=str(before.cert), tls_key=str(before.key)) as server:
        examined = subject_of(server, tls_cert=str(after.cert), tls_key=str(after.key))
        found = await security.check_tls(examined)
        assert "shows another certificate" in only(found, "warn", "tls").text


async def test_relays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "ANSWER_TIMEOUT_SECONDS", 1.0)
    closed = free_port()
    found = await relays.check_relays(subject(turn_url=f"turn:127.0.0.1:{closed}", turn_secret=TURN_SECRET))
    assert "no answer" in only(found, "fail", "relays").text
    found = await relays.check_relays(subject(ice_server="stun:nothing.invalid"))
    assert "nothing.invalid" in only(found, "fail", "relays").text
    async with turn_server(tmp_path) as url:
        found = await relays.check_relays(subject(turn_url=url, turn_secret=TURN_SECRET))
        assert "takes the credentials and relays from 127.0.0.1" in only(found, "ok", "relays").text
        found = await relays.check_relays(subject(turn_url=url, turn_secret="south"))
        assert "refuses the credentials (401)" in only(found, "fail", "relays").text
        assert "static-auth-secret" in only(found, "fail", "relays").advice
        stun = url.replace("turn:", "stun:")
        found = await relays.check_relays(subject(ice_server=stun, announce="192.0.2.1", media_host="127.0.0.2"))
        assert "at 127.0.0.1, which is not announced" in only(found, "warn", "relays").text


def from_elsewhere(server: RunningServer, *, token: str = "", **settings: Any) -> Subject:
    """Return a running server as the doctor sees it with nothing but its address, and maybe a secret or a token."""
    given = ServerConfig.model_validate(settings)
    return Subject(given, server.http_url, is_local=False, token=token, stream_seconds=0)


async def test_what_the_running_server_tells(tmp_path: Path) -> None:
    async with turn_server(tmp_path) as url:
        relay: dict[str, Any] = {"turn_url": (url,), "turn_secret": TURN_SECRET}
        async with running_server(**relay, auth_secret=SECRET) as server:
            assert "takes the credentials" in only(await doctor.examine(subject_of(server)), "ok", "relays").text
            without = await relays.check_relays(subject_of(server, turn_url=(), turn_secret=None))
            assert (
                f"tells clients of {url}, the settings given here are of none" in only(without, "warn", "relays").text
            )
            assert "takes the credentials" in only(without, "ok", "relays").text

            stranger = await doctor.examine(from_elsewhere(server))
            assert "was not looked at: the server asks for tokens" in only(stranger, "note", "relays").text
            assert "AIOSFU_TOKEN" in only(stranger, "note", "relays").advice
            token = issue_token(server.server.config, Role.WEB, "anna") or ""
            found = await relays.check_relays(from_elsewhere(server, token=token))
            assert "takes the credentials" in only(found, "ok", "relays").text
            found = await relays.check_relays(from_elsewhere(server, auth_secret=SECRET))
            assert "takes the credentials" in only(found, "ok", "relays").text
            rubbish = await relays.check_relays(from_elsewhere(server, token="rubbish"))
            assert "the token given is none" in only(rubbish, "note", "relays").text
            refused = await relays.check_relays(from_elsewhere(server, auth_secret="y" * 32))
            assert "its signature is by no key" in only(refused, "note", "relays").text
        async with running_server(turn_url=(url,), turn_secret="south") as server:
            found = await relays.check_relays(from_elsewhere(server))
            assert "refuses the credentials (401)" in only(found, "fail", "relays").text


async def test_without_a_secret_the_stream_is_left_out_and_not_a_fault() -> None:
    async with running_server(auth_secret=SECRET, auth_timeout=0.5) as server:
        stranger = Subject(ServerConfig(), server.http_url, is_local=False, stream_seconds=1.0)
        found = await doctor.examine(stranger)
        assert "left out" in only(found, "note", "stream").text
        assert "fail" not in {finding.level for finding in found}
        assert "may have" in only(found, "ok", "files").text, "this machine may read /metrics"


async def test_whose_open_files_are_shown() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    async with running_server(auth_secret=SECRET) as server:
        (of_another,) = await system.check_files(from_elsewhere(server))
        assert re.match(rf"the running server may have {limit} files open and has \d+$", of_another.text)
        greedy = await system.check_files(subject_of(server, max_peers=limit))
        assert f"its settings' limits need {limit + 4100}" in only(greedy, "warn", "files").text
        crowded = {"process_max_fds": 1000.0, "process_open_fds": 900.0}
        assert "has 900" in only(system.server_files(from_elsewhere(server), crowded), "warn", "files").text
    (finding,) = await system.check_files(subject())
    assert finding.text.startswith("a server started from here may have"), "nothing runs that could tell"


@pytest.mark.parametrize(
    ("announce", "level", "says"),
    [
        ("127.0.0.1", "fail", "no other machine"),
        ("0.0.0.0", "fail", "no other machine"),  # noqa: S104  read, never bound
        ("224.0.0.1", "fail", "no other machine"),
        ("10.254.253.252", "note", "no public address"),
        ("8.8.8.8", "ok", "must arrive here"),
    ],
)
async def test_announced_addresses(announce: str, level: str, says: str) -> None:
    found = await network.check_addresses(subject(host="0.0.0.0", announce=announce))  # noqa: S104  never bound
    assert says in only(found, level, "announce").text


async def test_who_may_connect(tmp_path: Path) -> None:
    open_to_all = subject(host="0.0.0.0")  # noqa: S104  never bound
    assert "auth is off" in only(await security.check_tokens(open_to_all), "warn", "tokens").text
    assert "no https" in only(await security.check_tls(open_to_all), "warn", "tls").text
    secrets = tmp_path / "secrets"
    secrets.write_text(SECRET)
    secrets.chmod(0o644)
    found = await security.check_tokens(subject(host="0.0.0.0", auth_secret_file=str(secrets)))  # noqa: S104  never bound
    assert "everybody on this machine may read it" in only(found, "warn", "files").text
    assert "unencrypted" in only(found, "warn", "tokens").text
    secrets.write_text("short")
    found = await security.check_tokens(subject(auth_secret_file=str(secrets)))
    assert "at least 32 bytes" in only(found, "fail", "tokens").text


async def test_the_machine() -> None:
    greedy = subject(max_sessions=1_000_000, max_pending_connections=1_000_000, max_peers=1_000_000)
    found = await system.check_files(greedy)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 3_000_000:
        text = f"a server started from here may have {hard} files open; its settings' limits need 3000100"
        assert text in only(found, "warn", "files").text
    assert [finding.check for finding in await system.check_udp(subject())] == ["udp", "udp"]
    assert "aiortc 1.16" in only(await system.check_versions(subject()), "ok", "versions").text
    async with running_server() as server:
        remote = Subject(server.server.config, server.http_url, is_local=False)
        assert "agrees" in only(await system.check_clock(remote), "ok", "clock").text


async def run(*words: str) -> tuple[str, str, int | None]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIOSFU_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "signaling", "doctor", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean,
    )
    out, err = await process.communicate()
    return out.decode(), err.decode(), process.returncode


async def test_the_command() -> None:
    async with running_server() as server:
        words = ("--port", str(server.port), "--media-host", "127.0.0.1", "--media-port", str(server.engine.port))
        (out, err, status), (broken, _, broken_status) = await asyncio.gather(
            run(*words, "--seconds", "0.5"), run("--port", str(free_port()), "--media-port", "0", "--json")
        )
        assert (err, status) == ("", 0), out
        assert "ok    stream     first picture after" in out
        assert broken_status == 1
        assert {"level": "fail", "check": "server"}.items() <= json.loads(broken)[0].items()
