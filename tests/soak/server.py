"""The server under soak: the real one, which also answers on its standard input how it fares, a line of JSON each.

`sample` gives the counters, `rest` the same after a full garbage collection, `held` the names of what is held,
`snapshot FILE` writes a tracemalloc snapshot; the end of the input ends the server. A second argument, a number of
bytes, lets it leak so many at each join, and a socket and a task now and then.
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
from typing import TYPE_CHECKING, Any

import uvloop

from signaling import cli, logs
from signaling.app import Server
from signaling.config.model import ServerConfig

from .held import held
from .leaks import Leaks

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


async def serve(settings: dict[str, Any], leaks: Leaks | None) -> None:
    """Run a server until the standard input ends."""
    server = Server(ServerConfig.model_validate(settings))
    await server.start()
    if leaks is not None:
        leaks.spring(server.service.engine)
    cli._relax_garbage_collection()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say({"port": server.port})
    while line := (await reader.readline()).decode():
        command, _, argument = line.strip().partition(" ")
        if command != "sample":
            forget_what_is_cached()
        if command == "snapshot":
            snapshot(Path(argument))
        say(held() if command == "held" else sample(server))
    await server.stop()


def forget_what_is_cached() -> None:
    """Free what nobody holds but the interpreter: garbage, and the names in its cache of types' attributes.

    The cache has 4,096 places by a name's address, and each name that C code makes anew for a look-up, such as that of
    a class pattern for `__match_args__`, keeps one: some 60 kB after a thousand joins, which are no leak.
    """
    sys._clear_type_cache()
    gc.collect()


def say(values: Mapping[str, Any]) -> None:
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
    settings, *options = sys.argv[1:]
    uvloop.run(serve(json.loads(settings), Leaks(int(options[0])) if options else None))
