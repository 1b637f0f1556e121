"""The server under soak: the real one, which also answers on its standard input how it fares, a line of JSON each.

`sample` gives the counters, `rest` the same after a full garbage collection, `snapshot FILE` writes a tracemalloc
snapshot; the end of the input ends the server.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import uvloop

from signaling import cli, logs
from signaling.app import Server
from signaling.config.model import ServerConfig

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


async def serve(settings: dict[str, Any]) -> None:
    """Run a server until the standard input ends."""
    server = Server(ServerConfig.model_validate(settings))
    await server.start()
    cli._relax_garbage_collection()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say({"port": server.port})
    while line := (await reader.readline()).decode():
        command, _, argument = line.strip().partition(" ")
        if command != "sample":
            gc.collect()
        if command == "snapshot":
            snapshot(Path(argument))
        say(sample(server))
    await server.stop()


def say(values: dict[str, Any]) -> None:
    """Answer with one line."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def sample(server: Server) -> dict[str, int]:
    """Return what the process has, and what the server has in its tables."""
    service = server.service
    engine: Any = service.engine
    return {
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES,
        "traced": tracemalloc.get_traced_memory()[0],
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208  the one that lists them is not counted
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "sessions": len(service.sessions),
        "rooms": len(service.rooms.state.rooms),
        "feeds": len(engine._feeds),
        "subscriptions": len(engine._subscriptions),
        "endpoints": len(engine._port._endpoints),
    }


def snapshot(path: Path) -> None:
    """Write what is held, by the line that allocated it; the loop stands still for it."""
    taken = tracemalloc.take_snapshot()
    taken.filter_traces((tracemalloc.Filter(inclusive=False, filename_pattern=tracemalloc.__file__),)).dump(str(path))


if __name__ == "__main__":
    logs.configure("warning")
    tracemalloc.start()
    uvloop.run(serve(json.loads(sys.argv[1])))
