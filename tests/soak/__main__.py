"""Run a soak: `python -m tests.soak [--minutes 60] [--joins 10000] [--output docs]`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import uvloop

from . import report
from .run import Plan, soak


def main() -> int:
    """Run what the command line names; return 1 where something was not flat."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--joins", type=int, default=10_000, help="how many viewers come meanwhile (default 10000)")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder for soak.md and soak.png")
    arguments = parser.parse_args()
    # As by Ctrl-C: what has been begun is ended, the server too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan = Plan.of(arguments.minutes, arguments.joins)
    record = uvloop.run(soak(plan))
    page = report.write(arguments.output, plan, record)
    if record.findings():
        sys.stdout.write(page.read_text())
        return 1
    sys.stdout.write(f"soak: flat over {record.joins:g} joins in {plan.minutes:g} minutes; see {page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
