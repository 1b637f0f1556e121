"""The grammar of an ICE candidate, as far as a server that does not use candidates has to care. Pure."""

from __future__ import annotations

MAX_CANDIDATE_CHARS = 1024
"""A candidate line has some 150 characters; extensions are rare and short."""

_RANGES = {1: ("component", 256), 3: ("priority", 2**32 - 1), 5: ("port", 65535)}
_SHAPE = "candidate:foundation component transport priority address port typ type"


def check_candidate(line: str) -> None:
    """Raise `ValueError` unless `line` is a candidate of RFC 8839 section 5.1; `a=` and `candidate:` may be absent."""
    if len(line) > MAX_CANDIDATE_CHARS:
        raise ValueError(f"expected at most {MAX_CANDIDATE_CHARS} characters, got {len(line)}")
    fields = line.removeprefix("a=").removeprefix("candidate:").split()
    if len(fields) < 8 or fields[6] != "typ":
        raise ValueError(f"expected a candidate line `{_SHAPE}`")
    for index, (name, highest) in _RANGES.items():
        text = fields[index]
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= highest):
            raise ValueError(f"expected the candidate's {name} to be a number from 0 to {highest}")
