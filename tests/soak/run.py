"""One soak: a server in a process of its own, its load, and the samples that are taken of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.clip import SMALL, load_clip

from .load import DEVICES, HOST, Load, running_load
from .record import Record, Sample, growth_between

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SETTINGS: Final[dict[str, Any]] = {
    "host": HOST,
    "port": 0,
    "media_host": [HOST],
    "media_port": 0,
    # So that a rest is soon one; what is kept for them is the same.
    "resume_grace": 2,
    "stop_grace": 0.5,
    "consent_timeout": 3,
}
KNOCKS: Final = 600
"""More than yarl, which parses each request's address, keeps in its caches."""
MIN_RESTS: Final = 2
MAX_RESTS: Final = 12
WARM_JOINS: Final = 100
WARM_JOINS_PER_SECOND: Final = 6.0
ANSWER_TIMEOUT_SECONDS: Final = 60.0
"""For a snapshot, which the server takes while it does nothing else."""
REST_TIMEOUT_SECONDS: Final = 40.0
SAMPLES: Final = 240
MIN_SAMPLE_SECONDS: Final = 0.5
REST_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how much."""

    minutes: float
    joins: int
    """From the first rest on."""
    warm_joins: int
    """Before the first rest: code is loaded, pools and caches are filled."""
    rests: int
    """After the first."""
    restart_seconds: float
    """Between two restarts or cuts of one device."""
    knocks: int = KNOCKS
    """Connections before all that."""

    @classmethod
    def of(cls, minutes: float, joins: int) -> Plan:
        """Return the usual plan for a time: an hour has 12 rests and a disturbance of each device a minute."""
        seconds = minutes * 60
        rests = max(MIN_RESTS, min(MAX_RESTS, round(minutes)))
        return cls(minutes, joins, min(joins // 10, WARM_JOINS), rests, min(60.0, max(3.0, seconds / 20)))


class Server:
    """The process under soak, and how to ask it."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.url = ""
        self._process = process
        self._log = log
        self._asking = asyncio.Lock()

    async def answer(self, question: str = "") -> dict[str, Any]:
        """Return the answer to a question, or with none what the server says by itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._asking, asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            if question:
                self._process.stdin.write(f"{question}\n".encode())
            line = await self._process.stdout.readline()
        assert line, f"the server has ended: {self.log()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def log(self) -> str:
        """Return what the server has written to its log."""
        return self._log.read_text(errors="replace")


@contextlib.asynccontextmanager
async def running(folder: Path, *options: str) -> AsyncIterator[Server]:
    """Run the server for the block; it must end well."""
    log = folder / "server.log"
    with log.open("wb") as errors:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "tests.soak.server", json.dumps(SETTINGS), *options)
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=errors)
    server = Server(process, log)
    try:
        server.url = f"ws://{HOST}:{(await server.answer())['port']}"
        yield server
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"the server ended with {process.returncode}: {server.log()}"


async def soak(plan: Plan, *options: str, seed: int | None = None) -> Record:
    """Run a plan; `options` are the server's."""
    record = Record()
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="aiosfu-soak-") as name:
        folder = Path(name)
        async with running(folder, *options) as server, running_load(server.url, load_clip(SMALL), seed) as load:
            watch = _Watch(server, load, record)
            await load.knock(plan.knocks)
            await load.run(plan.warm_joins, plan.warm_joins / WARM_JOINS_PER_SECOND, min(3.0, plan.restart_seconds))
            # Before the first rest: a snapshot takes memory of its own, which the process keeps.
            await server.answer(f"snapshot {folder / 'first'}")
            await watch.rest()
            record.held.append(await server.answer("held"))
            await server.answer(f"snapshot {folder / 'first'}")
            for number in range(plan.rests):
                joins = plan.joins * (number + 1) // plan.rests - plan.joins * number // plan.rests
                seconds = plan.minutes * 60 / plan.rests
                async with watch.sampling(max(MIN_SAMPLE_SECONDS, plan.minutes * 60 / SAMPLES)):
                    await load.run(joins, seconds, plan.restart_seconds)
                await watch.rest()
            record.held.append(await server.answer("held"))
            await server.answer(f"snapshot {folder / 'last'}")
            record.growth = await asyncio.to_thread(growth_between, folder / "first", folder / "last")
            record.done = dict(sorted(load.done.items()))
        lines = server.log().splitlines()
        record.log_lines = len(lines)
        assert not any("Traceback" in line for line in lines), server.log()
    return record


class _Watch:
    """Takes the samples."""

    def __init__(self, server: Server, load: Load, record: Record) -> None:
        self._server = server
        self._load = load
        self._record = record
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def rest(self) -> None:
        """Wait until the server has nothing left but the devices, then take a sample."""
        deadline = self._loop.time() + REST_TIMEOUT_SECONDS
        while True:
            sample = await self._sample()
            left = {name: sample[name] for name in ("rooms", "feeds", "subscriptions", "endpoints")}
            if sample["sessions"] == DEVICES and not any(left.values()):
                break
            assert self._loop.time() < deadline, f"never at rest: {sample}"
            await asyncio.sleep(REST_POLL_SECONDS)
        self._record.rests.append(await self._sample("rest"))

    @contextlib.asynccontextmanager
    async def sampling(self, seconds: float) -> AsyncIterator[None]:
        """Take a sample every so often for the block."""
        task = asyncio.create_task(self._take(seconds))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _take(self, seconds: float) -> None:
        while True:
            self._record.samples.append(await asyncio.shield(self._sample()))
            await asyncio.sleep(seconds)

    async def _sample(self, question: str = "sample") -> Sample:
        values = await self._server.answer(question)
        return {"seconds": self._loop.time() - self._began, "joins": self._load.done["joins"], **values}
