"""Where a benchmark runs: two network namespaces joined by a veth pair, or loopback where those cannot be had."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers.own_network import enter, why_not
from tests.helpers.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND_TIMEOUT_SECONDS = 10.0
_PREFIX = "aiosfu-bench"


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses of a run and how to start a process on the server's side."""

    server_host: str
    load_host: str
    server_prefix: tuple[str, ...]
    """Put before a command, it runs in the server's namespace under the same process id."""
    signalling_port: int = 8002
    media_port: int = 8003


def loopback_network() -> Network:
    """Return a network on 127.0.0.1, with ports that are free now: other servers may run on this machine."""
    return Network("127.0.0.1", "127.0.0.1", (), free_port(), free_port())


def namespaces_available() -> bool:
    """Return whether this process may make network namespaces."""
    return why_not() is None


@contextlib.contextmanager
def veth_network() -> Iterator[Network]:
    """Make two namespaces and a veth pair and move this thread into the load's; all of it is undone at the end.

    To be entered before any socket is opened, from the main thread. Needs root.
    """
    _remove_leftovers()
    server, load = f"{_PREFIX}-{os.getpid()}-s", f"{_PREFIX}-{os.getpid()}-l"
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        for name in (server, load):
            _ip("netns", "add", name)
        _ip("-n", server, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", load)
        for name, address in ((server, "10.77.0.1"), (load, "10.77.0.2")):
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "route", "add", "default", "dev", "eth0")
        target = os.open(f"/run/netns/{load}", os.O_RDONLY)
        try:
            enter(target)
        finally:
            os.close(target)
        yield Network("10.77.0.1", "10.77.0.2", ("ip", "netns", "exec", server))
    finally:
        enter(home)
        os.close(home)
        for name in (server, load):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", name)


def receive_overflows(process_id: int | str = "self") -> int:
    """Return the datagrams dropped by full socket buffers so far, in the namespace of a process."""
    lines = [line.split() for line in Path(f"/proc/{process_id}/net/snmp").read_text().splitlines()]
    names, values = (line for line in lines if line[0] == "Udp:")
    return int(values[names.index("RcvbufErrors")])


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS)
    return done.stdout


def _remove_leftovers() -> None:
    """Delete namespaces of runs that were killed."""
    for name in re.findall(rf"^({_PREFIX}-\d+-[sl])", _ip("netns", "list"), re.MULTILINE):
        if not Path(f"/proc/{name.split('-')[2]}").exists():
            _ip("netns", "delete", name)
