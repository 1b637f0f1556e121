"""`python -m tests.fuzz`: feed every target, or those named, and say how it went."""

from __future__ import annotations

import argparse
import random
import re
import sys
from pathlib import Path

from .harness import Report, run
from .targets import TARGETS

DEFAULT_INPUTS = 1_000_000


def main() -> int:
    """Run the command line; return the exit code: 1 where a target failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=DEFAULT_INPUTS, help="for each target (default: %(default)s)")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="may be repeated (default: all)")
    parser.add_argument("--seed", type=int, help="of the mutations (default: a new one, which is printed)")
    parser.add_argument(
        "--crashes",
        type=Path,
        default=Path("build/fuzz"),
        help="where failing inputs are written (default: %(default)s)",
    )
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    sys.stdout.write(f"seed {seed}\n")
    failed = False
    for name in options.target or TARGETS:
        report = run(TARGETS[name], options.inputs, seed)
        sys.stdout.write(f"{report}\n")
        sys.stdout.flush()
        _write_failures(report, options.crashes)
        failed |= not report.ok
    return int(failed)


def _write_failures(report: Report, folder: Path) -> None:
    for number, (what, data) in enumerate(report.failures.items()):
        path = folder / report.target / f"{number}-{re.sub(r'[^A-Za-z0-9]+', '-', what)[:60]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sys.stdout.write(f"    {path}: {what}\n")


if __name__ == "__main__":
    sys.exit(main())
