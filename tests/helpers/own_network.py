"""A network of a test's own: a namespace in which nothing leaves the machine, as if it had one network card.

Firefox needs it: it is reached by the address of a default route, and that would be the machine's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS = "10.77.0.1"
"""Of the card, which has the default route."""
COMMAND_TIMEOUT_SECONDS = 10.0
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_COMMANDS = (
    "link set lo up",
    "link add card type veth peer name cable",
    f"addr add {ADDRESS}/24 dev card",
    "link set card up",
    "link set cable up",
    "route add default dev card",
)


def why_not() -> str | None:
    """Return why no such network can be made here; None where it can."""
    if os.geteuid() != 0:
        return "only root may make a network namespace"
    if shutil.which("ip") is None:
        return "no `ip` command: apt install iproute2"
    return None


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Move this thread, and the processes and threads that it starts, into a new network for the block.

    Sockets keep the network that they were opened in: whatever is opened in the block is to be closed in it.
    """
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        _call("unshare", _CLONE_NEWNET)
        try:
            for command in _COMMANDS:
                subprocess.run(["ip", *command.split()], check=True, timeout=COMMAND_TIMEOUT_SECONDS)
            yield
        finally:
            enter(home)
    finally:
        os.close(home)


def enter(descriptor: int) -> None:
    """Move this thread into the network namespace of an open file of `/proc/PID/ns/net` or `/run/netns`."""
    _call("setns", descriptor, _CLONE_NEWNET)


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
