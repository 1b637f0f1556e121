"""Target and run: what is fuzzed, and a run of many inputs with its time, memory and exceptions watched."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import random
import signal
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sfu.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from hypothesis.strategies import SearchStrategy

MAX_INPUT_SECONDS = 0.25
"""Of processor time for one input: the event loop stands still meanwhile, for every peer."""
MAX_HANG_SECONDS = 20
"""Of wall-clock time after which an input is taken for endless."""
MAX_GROWTH_BYTES = 24 * 1024 * 1024
"""Resident memory that a run may gain after its first tenth; 100 bytes an input would be 90 MB in a million."""
MAX_NEW_OBJECTS = 5_000
"""Objects of the garbage collector that a run may gain after its first tenth: caches of re and hypothesis."""
MAX_REPORTED_FAILURES = 20
"""Distinct ones kept; the same line failing again is counted only."""
WARM_UP_FRACTION = 10
CORPUS = Path(__file__).with_name("corpus")


class StrictFaults(Faults):
    """Faults that are not kept from anybody: where the server goes on after a bug, a fuzzer is to find it."""

    def report(self, what: str, error: BaseException, **fields: object) -> None:  # noqa: ARG002  the overridden one's
        """Raise what was caught."""
        raise error


@dataclass(frozen=True)
class Target:
    """One thing that reads strangers' bytes."""

    name: str
    one_input: Callable[[bytes], None]
    """Reads one input; returns for what is documented to be refused, raises for everything else."""
    mutate: Callable[[random.Random, list[bytes]], bytes]
    """Makes an input of a corpus; knows the input's structure."""
    strategy: SearchStrategy[bytes]
    """Makes inputs from nothing, for hypothesis."""

    def corpus(self) -> list[bytes]:
        """Return the kept inputs: seeds from real clients, what reached new code, and what once failed."""
        return [path.read_bytes() for path in sorted((CORPUS / self.name).iterdir())]


class HangError(Exception):
    """An input did not come to its end."""


class SlowError(Exception):
    """An input came to its end too late."""


@dataclass
class Report:
    """How a run went."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    """Wall-clock seconds of the slowest input; other programs' time included."""
    growth_bytes: int = 0
    new_objects: int = 0
    failures: dict[str, bytes] = field(default_factory=dict)
    """One input for each distinct failure: where and what."""
    failed: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.failures or self.growth_bytes > MAX_GROWTH_BYTES or self.new_objects > MAX_NEW_OBJECTS)

    def __str__(self) -> str:
        rate = self.inputs / self.seconds if self.seconds else 0.0
        return (
            f"{self.target:8} {self.inputs:>9,} inputs  {rate:>8,.0f}/s  slowest {1000 * self.slowest:6.1f} ms  "
            f"memory {self.growth_bytes / 1024:+,.0f} KiB  objects {self.new_objects:+,}  failures {self.failed}"
        )


def try_input(target: Target, data: bytes) -> float:
    """Feed one input; return its seconds. Raises what `one_input` raises, and `SlowError`."""
    begun = time.perf_counter()
    target.one_input(data)
    elapsed = time.perf_counter() - begun
    if elapsed > MAX_INPUT_SECONDS:
        # Other programs share the processor, the collector walks all else: only our own time counts.
        collecting = gc.isenabled()
        gc.disable()
        try:
            begun = time.process_time()
            target.one_input(data)
            own = time.process_time() - begun
        finally:
            if collecting:
                gc.enable()
        if own > MAX_INPUT_SECONDS:
            raise SlowError(f"{len(data)} bytes took {own:.2f} s, at most {MAX_INPUT_SECONDS} s is allowed")
    return elapsed


def run(target: Target, inputs: int, seed: int) -> Report:
    """Feed `inputs` mutations of the target's corpus, the corpus itself first."""
    report = Report(target.name)
    rng = random.Random(f"{target.name} {seed}")
    corpus = target.corpus()
    warm_up = max(inputs // WARM_UP_FRACTION, len(corpus))
    resident = objects = 0
    begun = time.perf_counter()
    with _watchdog(report):
        for number in range(inputs):
            data = corpus[number] if number < len(corpus) else target.mutate(rng, corpus)
            report.inputs += 1
            if number == warm_up:
                resident, objects = _memory()
            try:
                elapsed = try_input(target, data)
            except Exception as exc:  # noqa: BLE001  finding every exception is the purpose
                report.failed += 1
                if len(report.failures) < MAX_REPORTED_FAILURES:
                    report.failures.setdefault(_place(exc), data)
                continue
            report.slowest = max(report.slowest, elapsed)
    report.seconds = time.perf_counter() - begun
    if resident:
        after = _memory()
        report.growth_bytes, report.new_objects = after[0] - resident, after[1] - objects
    return report


def _place(exc: Exception) -> str:
    """Return where an exception was raised and its kind, so that one bug is reported once."""
    frames = traceback.extract_tb(exc.__traceback__)
    ours = [frame for frame in frames if "fuzz/harness" not in frame.filename]
    last = ours[-1] if ours else frames[-1]
    return f"{type(exc).__name__} at {Path(last.filename).name}:{last.lineno}: {str(exc)[:200]}"[:300]


def _memory() -> tuple[int, int]:
    gc.collect()
    # What the C library keeps for later is no leak: 50 MB after some large inputs, all of it given back here.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = Path("/proc/self/statm")
    resident = int(pages.read_text().split()[1]) * 4096 if pages.exists() else 1
    return resident, len(gc.get_objects())


@contextlib.contextmanager
def _watchdog(report: Report) -> Iterator[None]:
    """Raise `HangError` in the main thread when one input takes for ever, at the cost of one signal a while."""
    last = -1

    def look(_signal: int, _frame: FrameType | None) -> None:
        nonlocal last
        if report.inputs == last:
            raise HangError(f"input {last} did not end within {MAX_HANG_SECONDS} s")
        last = report.inputs

    before = signal.signal(signal.SIGALRM, look)
    timer = signal.setitimer(signal.ITIMER_REAL, MAX_HANG_SECONDS, MAX_HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)  # pytest-timeout's
