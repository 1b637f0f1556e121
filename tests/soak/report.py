"""What a soak leaves behind: `soak.md` and, with matplotlib, `soak.png`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.benchmarks.report import machine

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from .record import Record
    from .run import Plan

COLUMNS: Final = ("descriptors", "tasks", "threads", "sessions", "rooms", "feeds", "subscriptions", "endpoints")
_PANELS: Final = (
    ("memory, MB", (("rss", "process"), ("traced", "held by Python")), 1e6),
    ("descriptors", (("descriptors", "descriptors"),), 1),
    ("tasks and connections", (("tasks", "asyncio tasks"), ("endpoints", "media connections")), 1),
    ("threads", (("threads", "threads"),), 1),
)

_HEAD = """# Soak

`make soak` lets 10,000 viewers come and go within an hour while three devices restart and lose their sockets
(`make soak MINUTES=5 JOINS=3000` is the short form), and looks now and then at what is left once nobody watches: it
must be the same each time. Viewers leave in good order, close the page, lose their socket and resume, or vanish;
devices are killed, end, or resume on a new socket. ICE, DTLS and SRTP are real. `make test`, and so each change, has
five minutes of it with 300 viewers beside its other tests, and fails where something is not flat (`build/soak.md`).

This file is written by the run. The server runs with tracemalloc on, which takes some of the memory that is seen.
"""


def write(folder: Path, plan: Plan, record: Record) -> Path:
    """Write the page, and the plot beside it where it can be drawn; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    has_plot = _plot(folder / "soak.png", record)
    page = folder / "soak.md"
    page.write_text(_page(plan, record, has_plot=has_plot))
    return page


def _page(plan: Plan, record: Record, *, has_plot: bool) -> str:
    where = machine()
    findings = record.findings()
    grown = record.rests[-1]["traced"] - record.rests[0]["traced"]
    lines = [
        _HEAD,
        f"Of {where['date']}, {plan.minutes:g} minutes, {where['cpu']}, Python {where['python']}: "
        + ("**flat**." if not findings else "**not flat**:"),
        "",
        *(f"- {finding}" for finding in findings),
        *(["![Memory, descriptors, tasks and threads](soak.png)", ""] if has_plot else []),
        "## What was done",
        "",
        *(f"- {name}: {count}" for name, count in record.done.items()),
        f"- lines in the server's log, at level warning: {record.log_lines}",
        "",
        "## At rest",
        "",
        "With nobody watching and the three devices connected, after a full garbage collection:",
        "",
        f"| joins so far | process, MB | held by Python, kB | {' | '.join(COLUMNS)} |",
        "|---" * (len(COLUMNS) + 3) + "|",
        *(
            f"| {rest['joins']:g} | {rest['rss'] / 1e6:.1f} | {rest['traced'] / 1e3:.0f} | "
            + " | ".join(f"{rest[name]:g}" for name in COLUMNS)
            + " |"
            for rest in record.rests
        ),
        "",
        f"Python's memory grew by {grown / 1e3:.1f} kB in all, by {grown / record.joins:.1f} bytes a join.",
        "",
        "## Lines that hold more at the end",
        "",
        "By tracemalloc, from the first rest to the last. The tenants of caches that are full (yarl keeps the last",
        "addresses parsed) and of places that Python reuses change here; what grows with the joins would stand out.",
        "",
        "| line | bytes | blocks |",
        "|---|---|---|",
        *(f"| `{line.where}` | {line.bytes} | {line.blocks} |" for line in record.growth),
        "",
    ]
    return "\n".join(lines)


def _plot(path: Path, record: Record) -> bool:
    try:
        import matplotlib as mpl  # noqa: PLC0415  an extra: the figures do without it
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  after the backend is chosen

    figure, grid = plt.subplots(2, 2, figsize=(12, 7), layout="constrained", sharex=True)
    for axes, (title, lines, unit) in zip(grid.flat, _PANELS, strict=True):
        for (name, label), colour in zip(lines, ("#1a7f5a", "#b5651d"), strict=False):
            _line(axes, record, name, unit, label, colour)
        axes.set(title=title, ylim=(0, None))
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=8)
        axes.grid(alpha=0.3)
    for axes in grid[1]:
        axes.set(xlabel="joins")
    figure.suptitle("Lines: under load. Dots: at rest, nobody watching.", fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return True


def _line(axes: Axes, record: Record, name: str, unit: float, label: str, colour: str) -> None:
    for samples, style in (
        (record.samples, {"linewidth": 1, "label": label}),
        (record.rests, {"marker": "o", "ls": ""}),
    ):
        axes.plot([s["joins"] for s in samples], [s[name] / unit for s in samples], color=colour, **style)
