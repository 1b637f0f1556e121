"""What the doctor finds: a level, what was looked at, what it is like, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signaling.config.model import ServerConfig

Level = Literal["ok", "note", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    check: str
    """One word."""
    text: str
    advice: str = ""
    """What to do; empty where nothing is to be done."""


def ok(check: str, text: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding("ok", check, text)


def note(check: str, text: str, advice: str = "") -> Finding:
    """Return one that may be meant so."""
    return Finding("note", check, text, advice)


def warn(check: str, text: str, advice: str) -> Finding:
    """Return one that will hurt somebody sooner or later."""
    return Finding("warn", check, text, advice)


def fail(check: str, text: str, advice: str) -> Finding:
    """Return one that keeps somebody from a picture now."""
    return Finding("fail", check, text, advice)


@dataclass(frozen=True, slots=True)
class Subject:
    """The server under examination."""

    settings: ServerConfig
    url: str
    """`http://HOST:PORT` or `https://HOST:PORT`, without a slash at its end."""
    is_local: bool
    """Whether it is the one that `settings` describe, on this machine."""
    fingerprint: str = ""
    """SHA-256 of the only certificate to accept; empty takes what the system trusts."""
    token: str = field(default="", repr=False)
    """A client's, to ask the server with; empty makes one where `settings` have a secret."""
    stream_seconds: float = 5.0
    """How long to watch the test stream; 0 leaves it out."""
    stream_timeout_seconds: float = 15.0
    """For its first picture."""
    files: tuple[str, ...] = ()
    """Files with secrets in them, whose modes are looked at."""


def as_text(findings: Sequence[Finding]) -> str:
    """Return findings as lines for people."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<5} {finding.check:<10} {finding.text}")
        if finding.advice:
            lines.append(f"{'':<16} do: {finding.advice}")
    counts = {level: sum(finding.level == level for finding in findings) for level in ("ok", "note", "warn", "fail")}
    lines.append(", ".join(f"{count} {level}" for level, count in counts.items() if count))
    return "\n".join(lines) + "\n"


def as_values(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings for programs."""
    return [asdict(finding) for finding in findings]
