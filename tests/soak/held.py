"""What a process holds, by name: descriptors, tasks and threads, with the lines of code that they come from."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import socket
import threading
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def held() -> Mapping[str, list[str]]:
    """Return the names of what this process holds; two things of the same kind and place have the same name."""
    return {
        "descriptors": _descriptors(),
        "tasks": [_task(task) for task in asyncio.all_tasks()],
        "threads": [thread.name for thread in threading.enumerate()],
    }


def _descriptors() -> list[str]:
    owners = {owner.fileno(): owner for owner in gc.get_objects() if _has_descriptor(owner)}
    return [_descriptor(int(name), owners.get(int(name))) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208  as text


def _has_descriptor(thing: object) -> bool:
    return isinstance(thing, (socket.socket, io.FileIO)) and not getattr(thing, "closed", False) and thing.fileno() >= 0


def _descriptor(number: int, owner: object) -> str:
    try:
        # Without the number behind it, which differs for each socket.
        kind = str(Path(f"/proc/self/fd/{number}").readlink()).partition(":[")[0]
    except OSError:
        return "closed meanwhile"
    if kind == "socket":
        kind += _address(number)
    place = None if owner is None else tracemalloc.get_object_traceback(owner)
    return f"{kind} from {place[0].filename}:{place[0].lineno}" if place else kind


def _address(number: int) -> str:
    with socket.socket(fileno=os.dup(number)) as same:
        try:
            address: Any = same.getsockname()
        except OSError:
            return ""
    return f" at {address[0]}:{address[1]}" if isinstance(address, tuple) else ""


def _task(task: asyncio.Task[Any]) -> str:
    coroutine: Any = task.get_coro()
    frame = getattr(coroutine, "cr_frame", None)
    if frame is None:
        return task.get_name()
    return f"{coroutine.__qualname__} at {frame.f_code.co_filename}:{frame.f_lineno}"
