"""The files for containers and systemd: what can be tried without a container engine or a machine of one's own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types of its own
from aioice import stun
from aioice.turn import create_turn_endpoint

from signaling.config import sources as config_sources
from signaling.config.model import ServerConfig
from signaling.turn import ice_servers
from tests.helpers.server import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SECRET = "a-turn-secret-of-a-test-0123456789"  # noqa: S105  a test's
STOP_SECONDS = 2.0
"""Beyond the time to drain, which the server promises."""


def compose() -> dict[str, Any]:
    """Return compose.yaml with its variables filled in."""
    text = (DEPLOY / "compose.yaml").read_text()
    values = {"PUBLIC_ADDRESS": "127.0.0.1", "TURN_SECRET": SECRET}
    loaded: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+)(?::\?[^}]*)?\}", lambda match: values[match[1]], text))
    return loaded


def copied() -> list[str]:
    """Return what the Dockerfile copies from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    return [name for line in lines for name in line.split()]


def test_the_image_is_made_of_files_that_make_the_whole_package(tmp_path: Path) -> None:
    allowed = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    assert sorted(copied()) == sorted(allowed)
    for name in copied():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=tmp_path, check=True, timeout=60)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with ZipFile(wheel) as archive:
        assert {"signaling/cli.py", "sfu/engine.py", "signaling/static/index.html"} <= set(archive.namelist())


def test_the_images_command_and_health_check_are_the_servers() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["aiosfu"]\nCMD ["serve"]' in text
    assert "/healthz" in text
    fields = ServerConfig.model_fields
    assert f"EXPOSE {fields['port'].default}/tcp {fields['media_port'].default}/udp" in text
    assert not re.search(r"^USER (0|root)", text, re.MULTILINE)
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)


def test_composes_settings_are_settings(tmp_path: Path) -> None:
    service = compose()["services"]["aiosfu"]
    secret = tmp_path / "auth"
    secret.write_text("0123456789" * 4)
    environment = service["environment"] | {"AIOSFU_AUTH_SECRET_FILE": str(secret)}
    loaded = config_sources.load({}, environment)
    assert loaded.unknown_variables == ()
    assert loaded.settings.announce == ("127.0.0.1",)
    assert len(loaded.settings.turn_url) == 2
    assert service["environment"]["AIOSFU_AUTH_SECRET_FILE"] == f"/run/secrets/{service['secrets'][0]}"
    assert float(service["stop_grace_period"].removesuffix("s")) > loaded.settings.drain_timeout + STOP_SECONDS
    built = service["build"]
    assert (DEPLOY / built["context"] / built["dockerfile"]).is_file()


def test_compose_copies_nothing_into_a_read_only_container() -> None:
    whole = compose()
    read_only = [service for service in whole["services"].values() if service["read_only"]]
    assert len(read_only) == 2
    # What has a file is mounted; a text of compose.yaml is copied, which Docker refuses: the container never starts.
    kinds = ("configs", "secrets")
    sources = [whole[kind][name] for service in read_only for kind in kinds for name in service.get(kind, ())]
    assert sources
    assert all("file" in source for source in sources)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "aiosfu.service").read_text()
    assert float(re.findall(r"^TimeoutStopSec=(\d+)", text, re.MULTILINE)[0]) > (
        ServerConfig.model_fields["drain_timeout"].default + STOP_SECONDS
    )
    unit = tmp_path / "aiosfu.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=30, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "aiosfu.service" in line]
    assert (done.returncode, complaints) == (0, [])


@contextlib.asynccontextmanager
async def running_coturn(folder: Path) -> AsyncIterator[int]:
    """Run coturn with compose.yaml's configuration, but for its port and for loopback, where the test lives."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    shipped = compose()["services"]["turn"]["environment"]["TURNSERVER_CONF"]
    changed = shipped.replace("listening-port=3478", f"listening-port={port}")
    assert str(port) in changed
    here = ("listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "allow-loopback-peers", f"pidfile={folder}/pid")
    (folder / "turnserver.conf").write_text("\n".join((changed, *here, f"userdb={folder}/db", "relay-threads=1")))
    process = await asyncio.create_subprocess_exec(
        *("turnserver", "-c", str(folder / "turnserver.conf")),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        await until(listens, 10)
        yield port
    finally:
        process.kill()
        await process.wait()


async def allocate(port: int, secret: str) -> Any:
    """Return aioice's side of an allocation with credentials as the server gives them."""
    (made,) = ice_servers(["turn:x"], secret.encode(), "anna", now=time.time(), ttl_seconds=60)
    transport: Any
    transport, _ = await create_turn_endpoint(
        asyncio.DatagramProtocol, ("127.0.0.1", port), username=made["username"], password=made["credential"]
    )
    return transport._TurnTransport__inner_protocol


@pytest.mark.skipif(shutil.which("turnserver") is None, reason="needs coturn")
async def test_composes_turn_server_relays_to_the_server_and_nowhere_else(tmp_path: Path) -> None:
    async with running_coturn(tmp_path) as port:
        client = await allocate(port, SECRET)
        await client.channel_bind(0x4000, ("127.0.0.1", 8003))
        with pytest.raises(stun.TransactionFailed, match="403"):
            await client.channel_bind(0x4001, ("127.0.0.2", 8003))
        await client.delete()
        with pytest.raises(stun.TransactionFailed, match="401"):
            await allocate(port, "another-secret")
