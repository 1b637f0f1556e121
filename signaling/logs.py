"""Structured logs: one event name and its fields a line. No field may be a token, an SDP or a key.

The engine logs without this module, by plain `logging` with `extra={"fields": ...}`: the formatters read both.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")
MAX_FIELD_CHARS = 200
"""Fields are names and numbers; what is longer came from a remote party."""

MAX_TRACEBACK_CHARS = 20_000
"""Of a bug, in JSON; deep recursion makes longer ones, whose ends say enough."""

MAX_COUNTED_EVENTS = 1000
"""Names with codes that are counted. Both come from our source, which has some hundred."""

Format = Literal["pretty", "json"]

_counts: Counter[tuple[str, str]] = Counter()
_bugs: Counter[str] = Counter()

_OURS = ("signaling", "sfu", "aiosfu")
_PLAIN = re.compile(r"[A-Za-z0-9._:/@+~-]+")


def event_counts() -> Mapping[tuple[str, str], int]:
    """Return how often each event happened in this process, logged or not, by its name and the `code` that it had."""
    return dict(_counts)


def bug_count() -> int:
    """Return how many bugs of ours this process has logged."""
    return _bugs.total()


class EventLog:
    """Log events with fields: `log.info("session_opened", role=role)` gives `session_opened role=WEB`.

    Every event is counted, written or not: see `event_counts`. So a name, and a field `code`, are of a fixed set.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    @property
    def is_written(self) -> bool:
        """Whether what happens in the normal course is written at all."""
        return self._logger.isEnabledFor(logging.INFO)

    def count(self, event: str, code: str = "") -> None:
        """Count an event without writing it."""
        key = (event, code)
        if key in _counts or len(_counts) < MAX_COUNTED_EVENTS:
            _counts[key] += 1

    def debug(self, event: str, **fields: object) -> None:
        """Log what helps to follow one client."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log what happened in the normal course."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log what an operator may want to act on."""
        self._log(logging.WARNING, event, fields)

    def bug(self, event: str, error: BaseException, **fields: object) -> str:
        """Log a bug of ours with its traceback; return the reference by which a message to a client names it."""
        reference = secrets.token_hex(4)
        _bugs[event] += 1
        self._log(logging.ERROR, event, {"reference": reference, **fields}, error)
        return reference

    def _log(self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        self.count(event, str(fields.get("code", "")))
        if self._logger.isEnabledFor(level):
            extra = {"event": event, "fields": fields}
            self._logger.log(level, "%s", _line(event, fields), exc_info=error, extra=extra)


class PrettyFormatter(logging.Formatter):
    """Lines for people: `2026-11-21 12:00:00,000 INFO signaling.service client_connected role=WEB client=anna`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        """See `logging.Formatter`."""
        text = super().formatMessage(record)
        fields = _fields_of(record)
        # An `EventLog` has put them into its message already.
        return text if hasattr(record, "event") or not fields else f"{text} {_line('', fields).strip()}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `event`, and the event's own fields beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        fields = _fields_of(record)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", None) or record.getMessage(),
        }
        for name, value in fields.items():
            line[f"{name}_" if name in line else name] = _plain(value)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)[-MAX_TRACEBACK_CHARS:]
        return json.dumps(line)


def configure(level: str, stream: TextIO | None = None, style: Format = "pretty") -> None:
    """Send logs to `stream` (default: stderr); other libraries' only from warnings up."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else PrettyFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())


def internal_error(reference: str) -> str:
    """Return what a client is told of a bug of ours."""
    return f"the server failed; its log has the details under reference {reference}"


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}


def _line(event: str, fields: dict[str, object]) -> str:
    return " ".join([event, *(f"{name}={_shown(value)}" for name, value in fields.items())])


def _plain(value: object) -> object:
    """Return what JSON has a word for; everything else as the text that people would be shown."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:MAX_FIELD_CHARS]


def _shown(value: object) -> str:
    text = str(value)[:MAX_FIELD_CHARS]
    # Quoted by JSON, a remote party's line break cannot forge a second log line.
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
