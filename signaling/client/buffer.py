"""A bounded buffer between the thread that reads a source and the event loop that sends it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ThreadBuffer(Generic[T]):
    """Pass items, at most `limit`, from one thread to one coroutine.

    When it is full, `put` waits for room (a file can wait) or, with `lossy`, drops the oldest item and counts it in
    `dropped` (a camera cannot).
    """

    def __init__(self, limit: int, *, lossy: bool) -> None:
        self.dropped = 0
        self._limit = limit
        self._lossy = lossy
        self._items: deque[T] = deque()
        self._closed = False
        self._room = threading.Condition()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def put(self, item: T) -> bool:
        """Append from the thread; return False once the buffer is closed."""
        with self._room:
            while len(self._items) >= self._limit and not self._closed:
                if self._lossy:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._room.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._wake()
            return True

    def finish(self) -> None:
        """Say, from the thread, that nothing more comes; what is there can still be read."""
        with self._room:
            self._closed = True
            self._wake()

    def close(self) -> None:
        """Throw away what is there and end both sides; callable from anywhere, more than once."""
        with self._room:
            self._closed = True
            self._items.clear()
            self._room.notify_all()
            self._wake()

    async def get(self) -> T | None:
        """Return the oldest item, waiting for it; None when nothing more comes."""
        while True:
            with self._room:
                if self._items:
                    self._room.notify()
                    return self._items.popleft()
                if self._closed:
                    return None
                ready = asyncio.Event()
                self._waiter = asyncio.get_running_loop(), ready
            await ready.wait()

    def _wake(self) -> None:
        if self._waiter is None:
            return
        loop, ready = self._waiter
        self._waiter = None
        if not loop.is_closed():
            loop.call_soon_threadsafe(ready.set)
