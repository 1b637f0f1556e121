"""Run benchmarks: `python -m tests.benchmarks [names...] [--quick] [--seconds N] [--output DIR]`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from . import report
from .churn import churn
from .click import click
from .clip import FULL, SMALL, load_clip
from .fairness import fairness
from .freezes import freezes
from .idle import idle
from .loss import loss
from .network import Network, loopback_network, namespaces_available, veth_network
from .plot import plot
from .ramp import ramp
from .restart import restart
from .scenarios import Context, cost, delay, many, memory, ratios, scale, viewers_per_core
from .scrape import scrape
from .storm import storm
from .tiles import tiles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .scenarios import Row

SCENARIOS: dict[str, Callable[[Context], Awaitable[list[Row]]]] = {
    "cost": cost,
    "scale": scale,
    "viewers-per-core": viewers_per_core,
    "delay": delay,
    "many": many,
    "storm": storm,
    "fairness": fairness,
    "memory": memory,
    "idle": idle,
    "churn": churn,
    "loss": loss,
    "freezes": freezes,
    "ramp": ramp,
    "click": click,
    "tiles": tiles,
    "restart": restart,
    "scrape": scrape,
}
COMPARED = ("cost", "delay", "many")
"""Scenarios whose rows are put in relation to Janus's."""
DEFAULT_SECONDS = 10.0
QUICK_SECONDS = 0.5
MAX_SCENARIO_SECONDS = 900.0


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"scenarios: {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a tiny form of each on loopback, without Janus")
    parser.add_argument("--seconds", type=float, default=None, help=f"of one window (default {DEFAULT_SECONDS:g})")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="folder for table, JSON and plot")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {unknown[0]!r}: there are {', '.join(SCENARIOS)}")
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else DEFAULT_SECONDS)
    with contextlib.ExitStack() as stack:
        network = _network(stack, quick=arguments.quick)
        context = Context(network, load_clip(SMALL if arguments.quick else FULL), seconds, quick=arguments.quick)
        run(arguments.names or SCENARIOS, context, arguments.output)
    return 0


def run(names: Iterable[str], context: Context, output: Path) -> None:
    """Run scenarios one after the other, writing the results after each."""
    for name in names:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rows = runner.run(asyncio.wait_for(SCENARIOS[name](context), MAX_SCENARIO_SECONDS))
        notes = ratios(rows) if name in COMPARED else []
        report.write(output, {name: rows}, {name: notes})
        plot(output)
        print(f"\n## {name}\n\n{report.markdown(rows)}", *notes, sep="\n", flush=True)  # noqa: T201  the output


def _network(stack: contextlib.ExitStack, *, quick: bool) -> Network:
    if quick:
        return loopback_network()
    if namespaces_available():
        return stack.enter_context(veth_network())
    print("not root: on loopback and without Janus", file=sys.stderr)  # noqa: T201  the output
    return loopback_network()


if __name__ == "__main__":
    sys.exit(main())
