"""Structured logs: one event name and its fields a line. No field may be a token, an SDP or a key."""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")
MAX_FIELD_CHARS = 200
"""Fields are names and numbers; what is longer came from a remote party."""

_OURS = ("signaling", "sfu", "aiosfu")
_PLAIN = re.compile(r"[A-Za-z0-9._:/@+~-]+")


class EventLog:
    """Log events with fields: `log.info("session_opened", role=role)` gives `session_opened role=WEB`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

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
        self._log(logging.ERROR, event, {"reference": reference, **fields}, error)
        return reference

    def _log(self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            parts = [event, *(f"{name}={_shown(value)}" for name, value in fields.items())]
            self._logger.log(level, "%s", " ".join(parts), exc_info=error)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send logs to `stream` (default: stderr); other libraries' only from warnings up."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())


def internal_error(reference: str) -> str:
    """Return what a client is told of a bug of ours."""
    return f"the server failed; its log has the details under reference {reference}"


def _shown(value: object) -> str:
    text = str(value)[:MAX_FIELD_CHARS]
    # Quoted by JSON, a remote party's line break cannot forge a second log line.
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
