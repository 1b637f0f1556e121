"""`python -m tests.fuzz.minimise TARGET FOLDER`: take into the corpus what reaches code that nothing in it reaches.

FOLDER is what `tests.fuzz.guided` has filled. Shorter inputs are preferred, and those of more than some bytes left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .harness import CORPUS
from .targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .harness import Target

MAX_KEPT_BYTES = 4000
ROOT = Path(__file__).parents[2]
PACKAGES = (str(ROOT / "sfu"), str(ROOT / "signaling"))

Step = tuple[str, int, int]


def reached(target: Target, data: bytes) -> set[Step]:
    """Return the steps from line to line that an input makes in our packages."""
    steps: set[Step] = set()

    def enter(frame: FrameType, _event: str, _argument: Any) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGES):
            return None
        last = frame.f_lineno

        def line(frame: FrameType, _event: str, _argument: Any) -> Callable[..., Any]:
            nonlocal last
            steps.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return line

        return line

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        with contextlib.suppress(Exception):
            target.one_input(data)
    finally:
        sys.settrace(before)
    return steps


def main() -> None:
    """Run the command line."""
    if len(sys.argv) != 3 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.minimise TARGET FOLDER; targets: {', '.join(TARGETS)}")
    target = TARGETS[sys.argv[1]]
    known: set[Step] = set().union(*(reached(target, data) for data in target.corpus()))
    found = sorted((path.read_bytes() for path in Path(sys.argv[2]).iterdir()), key=len)
    for data in found:
        steps = reached(target, data) if len(data) <= MAX_KEPT_BYTES else set()
        if steps - known:
            known |= steps
            name = f"found-{hashlib.sha256(data).hexdigest()[:12]}"
            (CORPUS / target.name / name).write_bytes(data)
            sys.stdout.write(f"{name}: {len(data)} bytes\n")


if __name__ == "__main__":
    main()
