"""Ports for those that need to know theirs before they open it."""

from __future__ import annotations

import contextlib
import random
import socket

PORTS = range(20_000, 32_768)
"""Below those that Linux gives to outgoing connections."""
MAX_TRIES = 100


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free for UDP and TCP, and that no outgoing connection is given meanwhile."""
    for port in random.sample(PORTS, MAX_TRIES):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"none of {MAX_TRIES} ports from {PORTS.start} to {PORTS.stop - 1} is free")
