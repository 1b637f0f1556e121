"""The plot: CPU per packet and delay over viewers, and the cost of each server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

Row = dict[str, Any]

COLOURS = {"aiosfu": "#1a7f5a", "janus": "#b5651d", "stock": "#7a7a7a"}


def plot(folder: Path) -> Path | None:
    """Draw `results.png` from the folder's `results.json`; None where there is nothing to draw or no matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415  an extra: the figures do without it
    except ImportError:
        return None
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  after the backend is chosen

    results: Mapping[str, Any] = json.loads((folder / "results.json").read_text())
    cost, scale = _rows(results, "cost"), _rows(results, "scale") + _rows(results, "viewers-per-core")
    many = _rows(results, "many")
    if not cost and not scale:
        return None
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    _cpu(left, scale, cost)
    _delay(middle, scale)
    _bars(right, cost, many)
    where = next(iter(results.values()))["machine"]
    figure.suptitle(f"{where['cpu']}, Linux {where['kernel']}, Python {where['python']}, {where['date']}", fontsize=9)
    path = folder / "results.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _rows(results: Mapping[str, Any], name: str) -> list[Row]:
    return list(results.get(name, {}).get("rows", ()))


def _cpu(axes: Axes, scale: Sequence[Row], cost: Sequence[Row]) -> None:
    janus = [row for row in cost if row["server"] == "janus"]
    ours = scale or [row for row in cost if row["server"] == "aiosfu"]
    for name, rows, marker in (("aiosfu", ours, "o"), ("janus", janus, "s")):
        points = sorted((row["viewers"], row["us_per_packet"]) for row in rows)
        viewers, values = [point[0] for point in points], [point[1] for point in points]
        axes.plot(viewers, values, marker=marker, color=COLOURS[name], label=name)
    axes.set(title="CPU per forwarded packet", xlabel="viewers", ylabel="us", ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)


def _delay(axes: Axes, scale: Sequence[Row]) -> None:
    rows = sorted((row for row in scale if row.get("delay_p50_ms") is not None), key=lambda row: int(row["viewers"]))
    viewers = [row["viewers"] for row in rows]
    axes.plot(viewers, [row["delay_p50_ms"] for row in rows], marker="o", color=COLOURS["aiosfu"], label="p50")
    axes.plot(viewers, [row["delay_p99_ms"] for row in rows], marker="^", color="#d1495b", label="p99")
    axes.axhline(20, color="black", linewidth=0.8, linestyle=":")
    axes.set(title="Added delay", xlabel="viewers", ylabel="ms", yscale="log")
    axes.legend()
    axes.grid(alpha=0.3)


def _bars(axes: Axes, cost: Sequence[Row], many: Sequence[Row]) -> None:
    rows = [*cost, *many]
    labels = [f"{row['server']} {row['sources']} to {row['viewers']}" for row in rows]
    values = [row["us_per_packet"] for row in rows]
    bars = axes.barh(labels, values, color=[COLOURS[row["server"]] for row in rows])
    axes.bar_label(bars, [f"{value:.1f}" for value in values], fontsize=8, padding=2)
    axes.invert_yaxis()
    axes.set(title="CPU per forwarded packet, by server", xlabel="us", xscale="log")
    axes.tick_params(labelsize=8)
    axes.margins(x=0.25)
