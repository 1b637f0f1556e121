"""What a soak saw: samples over time, the server at rest now and then, and the lines of code whose memory grew."""

from __future__ import annotations

import re
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

EXACT: Final = ("descriptors", "tasks", "threads", "sessions", "rooms", "feeds", "subscriptions", "endpoints")
"""What must be the same whenever nobody watches."""
MAX_BYTES_PER_JOIN: Final = 64
"""Of memory that Python holds, from the first rest to the last; the smallest object in a forgotten table has more."""
SPARE_BYTES: Final = 32_000
"""For caches that fill slowly and are bounded, and for how a table's size doubles: some 10 kB have been seen."""
MAX_RSS_GROWTH: Final = 0.1
"""Of the process, the allocator's leftovers included, from the second rest to the last."""
MIN_NAMED_BYTES: Final = 4096
"""Below this a line's growth is not named."""
MAX_NAMED: Final = 12

_ROOT = Path(__file__).parents[2]

Sample = dict[str, float]
Held = Mapping[str, list[str]]
"""Names of descriptors, tasks and threads."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Memory allocated by one line that is there at the end and was not at the beginning."""

    where: str
    bytes: int
    blocks: int


@dataclass(slots=True)
class Record:
    """Samples by time; `seconds` and `joins` are in each."""

    samples: list[Sample] = field(default_factory=list)
    """A few a minute, under load."""
    rests: list[Sample] = field(default_factory=list)
    """With nobody watching, after all has ended that the server keeps for those who may come back."""
    growth: list[Growth] = field(default_factory=list)
    """From the first rest to the last."""
    held: list[Held] = field(default_factory=list)
    """By name, at the first rest and at the last."""
    done: Mapping[str, int] = field(default_factory=dict)
    log_lines: int = 0

    @property
    def joins(self) -> float:
        """Joins between the first rest and the last."""
        return self.rests[-1]["joins"] - self.rests[0]["joins"]

    def findings(self) -> list[str]:
        """Return what is not flat, in words; nothing where all is well."""
        first, last = self.rests[0], self.rests[-1]
        found = [
            f"{name}: {rest[name]:g} at rest after {rest['joins']:g} joins, {first[name]:g} at the first rest"
            + (self._named(name) if rest is last else "")
            for rest in self.rests[1:]
            for name in EXACT
            if rest[name] != first[name]
        ]
        # What the beginning has left behind is let go later: from where it is lowest on, nothing may grow.
        traced = last["traced"] - min(rest["traced"] for rest in self.rests[:-1])
        allowed = self.joins * MAX_BYTES_PER_JOIN + SPARE_BYTES
        if traced > allowed:
            named = "; ".join(f"{line.where} {line.bytes} bytes" for line in self.growth[:3])
            found.append(f"memory grew by {traced:g} bytes over {self.joins:g} joins, allowed are {allowed:g}: {named}")
        loaded = self.rests[1]  # the allocator has its plateau only after a first load
        if last["rss"] > loaded["rss"] * (1 + MAX_RSS_GROWTH):
            found.append(f"the process grew from {loaded['rss'] / 1e6:.1f} MB to {last['rss'] / 1e6:.1f} MB")
        return found

    def _named(self, name: str) -> str:
        """Return what of that name is there at the last rest and was not at the first, as the end of a sentence."""
        if len(self.held) < 2:
            return ""
        more = Counter(self.held[-1].get(name, ())) - Counter(self.held[0].get(name, ()))
        named = [f"{count} x {shown_path(what)}" for what, count in more.most_common(MAX_NAMED)]
        return f"; more than then: {', '.join(named)}" if named else ""


def growth_between(first: Path, last: Path) -> list[Growth]:
    """Return the lines that hold more memory in the last tracemalloc snapshot than in the first, most first."""
    old, new = (tracemalloc.Snapshot.load(str(path)) for path in (first, last))
    return [
        Growth(_shown(statistic.traceback[0]), statistic.size_diff, statistic.count_diff)
        for statistic in new.compare_to(old, "lineno")[: 10 * MAX_NAMED]
        if statistic.size_diff >= MIN_NAMED_BYTES
    ][:MAX_NAMED]


def _shown(frame: Any) -> str:
    return shown_path(f"{frame.filename}:{frame.lineno}")


def shown_path(text: str) -> str:
    """Return `text` with paths of code as a reader knows them: below this repository, or a package's own."""
    return re.sub(r"\S*/(?:site-packages|python3\.\d+)/", "", text.replace(f"{_ROOT}/", ""))
