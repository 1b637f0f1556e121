"""`python -m tests.fuzz.guided TARGET [libFuzzer options] [folders]`: fuzz one target by what code its inputs reach.

Needs atheris (`pip install 'aiosfu[fuzz]'`, CPython 3.11 to 3.13 on Linux). New inputs are put into the first folder; a
failing one is written to the current directory. Mutations are the target's own, taking turns with libFuzzer's.
"""

from __future__ import annotations

import random
import sys

try:
    import atheris
except ImportError:
    sys.exit(
        "error: atheris is not installed: pip install 'aiosfu[fuzz]', which works on CPython 3.11 to 3.13 on Linux"
    )

INSTRUMENTED = ["sfu", "signaling", "aiortc.sdp", "aiortc.rate", "aioice.stun"]
LEFT_OUT = ["sfu.feed"]
"""atheris 3.0 never comes to an end with its bytecode: a long jump there that it makes longer and shorter in turn."""
OWN_MUTATIONS = 0.7

with atheris.instrument_imports(include=INSTRUMENTED, exclude=LEFT_OUT):
    from .targets import TARGETS


def main() -> None:
    """Run libFuzzer on the target that the command line names; does not return."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.guided TARGET [options] [folders]; targets: {', '.join(TARGETS)}")
    target = TARGETS[sys.argv.pop(1)]
    corpus = target.corpus()

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() > OWN_MUTATIONS:
            mutated: bytes = atheris.Mutate(data, max_size)
            return mutated
        base = [data] if rng.random() < 0.5 else [data, *corpus]
        return target.mutate(rng, base)[:max_size]

    atheris.Setup(sys.argv, target.one_input, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
