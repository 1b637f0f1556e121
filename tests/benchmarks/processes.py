"""Servers as processes: started, measured from outside by /proc, and ended by their id."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from .network import Network

Kind = Literal["aiosfu", "janus", "stock"]

BINARY_VARIABLE = "BENCHMARKED_BINARY"
"""Names a one-file build to measure instead of this checkout."""
START_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 10.0
JANUS = "janus"

_UNREAD = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 0))
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""
"""A process that has a socket and sleeps until its input ends."""

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).parents[2]


class ServerError(Exception):
    """A server that did not start or has died; the text holds the end of its output."""


class ServerProcess:
    """One running server."""

    def __init__(self, kind: Kind, process: subprocess.Popen[bytes], output: Path, network: Network) -> None:
        self.kind = kind
        self.network = network
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        """The process id, of the server itself."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return user and system time of all threads so far; raise `ServerError` where the server has died."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            raise ServerError(f"{self.kind} has died: {self.output()}") from None
        # utime and stime are fields 14 and 15; the first after the name is field 3 (proc(5)).
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def memory_bytes(self) -> dict[str, int]:
        """Return Rss and Pss, in bytes."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return {name: int(size) * 1024 for name, size in re.findall(r"^(Rss|Pss):\s+(\d+) kB", text, re.MULTILINE)}

    def output(self) -> str:
        """Return the end of what the server printed."""
        return self._output.read_text(errors="replace")[-2000:].strip()

    async def ready(self) -> None:
        """Return once the signalling port takes connections."""
        where = (self.network.server_host, self.network.signalling_port)
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_SECONDS
        while True:
            if self._process.poll() is not None:
                raise ServerError(f"{self.kind} ended with {self._process.returncode}: {self.output()}")
            with contextlib.suppress(OSError), socket.create_connection(where, timeout=1):
                return
            if asyncio.get_running_loop().time() > deadline:
                raise ServerError(f"{self.kind} took more than {START_TIMEOUT_SECONDS} s to start: {self.output()}")
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        """End the process. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextlib.asynccontextmanager
async def running_server(kind: Kind, network: Network, options: Sequence[str] = ()) -> AsyncIterator[ServerProcess]:
    """Run a server for the block; `options` are flags of ours."""
    with tempfile.TemporaryDirectory(prefix="aiosfu-bench-") as name:
        folder = Path(name)
        output = folder / "output.txt"
        with output.open("wb") as sink:
            process = _spawn([*network.server_prefix, *_command(kind, network, folder), *options], sink)
        server = ServerProcess(kind, process, output, network)
        try:
            await server.ready()
            yield server
        finally:
            server.stop()


def _spawn(command: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=_ROOT)


@contextlib.contextmanager
def unread_socket(network: Network) -> Iterator[socket.socket]:
    """Yield a socket whose datagrams reach one on the server's side that nobody reads: a flood's control."""
    command = (*network.server_prefix, sys.executable, "-c", _UNREAD, network.server_host)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert process.stdout is not None
        assert process.stdin is not None
        sock.connect((network.server_host, int(process.stdout.readline())))
        yield sock
        process.stdin.close()


def janus_version() -> str | None:
    """Return the installed Janus's version, None without one."""
    path = shutil.which(JANUS)
    if path is None:
        return None
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _command(kind: Kind, network: Network, folder: Path) -> Sequence[str]:
    python, host, port = sys.executable, network.server_host, str(network.signalling_port)
    if kind == "aiosfu":
        binary = os.environ.get(BINARY_VARIABLE)
        own = (binary,) if binary else (python, "-m", "signaling")
        return (
            *(*own, "serve", "--host", host, "--port", port),
            *("--media-host", host, "--media-port", str(network.media_port)),
            *("--drain-timeout", "0"),  # the load has gone, but not in good order: a server waits for it, five seconds
        )
    if kind == "stock":
        return (python, "-m", "tests.benchmarks.stock_server", host, port)
    _write_janus_configuration(folder, network)
    return (JANUS, "--configs-folder", str(folder))


def _write_janus_configuration(folder: Path, network: Network) -> None:
    """Write the files that make Janus a lean VideoRoom server: no logs to speak of, ICE-lite, nothing else loaded."""
    library = next(iter(Path("/usr/lib").glob("*/janus/plugins")), Path("/usr/lib/janus/plugins")).parent
    unused = [path.name for path in library.glob("plugins/*.so") if path.stem != "libjanus_videoroom"]
    silent = [path.name for path in library.glob("transports/*.so") if path.stem != "libjanus_websockets"]
    others = [path.name for kind in ("events", "loggers") for path in library.glob(f"{kind}/*.so")]
    (folder / "janus.jcfg").write_text(
        f"""general: {{
    configs_folder = "{folder}"
    plugins_folder = "{library}/plugins"
    transports_folder = "{library}/transports"
    events_folder = "{library}/events"
    loggers_folder = "{library}/loggers"
    debug_level = 2
    debug_colors = false
    session_timeout = 0
}}
nat: {{ ice_lite = true, ice_tcp = false, ice_enforce_list = "{network.server_host}" }}
plugins: {{ disable = "{",".join(unused)}" }}
transports: {{ disable = "{",".join(silent)}" }}
loggers: {{ disable = "{",".join(others)}" }}
events: {{ broadcast = false }}
"""
    )
    (folder / "janus.transport.websockets.jcfg").write_text(
        f'general: {{ json = "compact", ws = true, ws_port = {network.signalling_port}, '
        f'ws_ip = "{network.server_host}", wss = false }}\n'
    )
    (folder / "janus.plugin.videoroom.jcfg").write_text("general: { string_ids = false }\n")
