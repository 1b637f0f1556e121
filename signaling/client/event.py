"""One event from the server, and how to read it without trusting it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ClientError, ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Event:
    """One event from the server."""

    name: str
    data: Mapping[str, Any]
    request_id: str | None = None

    def integer(self, key: str) -> int:
        """Return the integer `data[key]`; raise `ClientError` when the server sent something else."""
        value = self.data.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise ClientError(f"the server's {self.name} has no integer {key}")

    def text(self, key: str) -> str:
        """Return the string `data[key]`; raise `ClientError` when the server sent something else."""
        value = self.data.get(key)
        if isinstance(value, str):
            return value
        raise ClientError(f"the server's {self.name} has no string {key}")

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the strings of the list `data[key]`, none where it is missing."""
        value = self.data.get(key)
        return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()

    def error(self) -> ServerError:
        """Return an `error` event as an exception."""
        return ServerError(str(self.data.get("code", "unknown")), str(self.data.get("message", "")))


def parse_event(text: str) -> Event:
    """Return the event of one text frame; raise `ClientError` for what is none."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ClientError("the server sent something that is not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("event"), str):
        raise ClientError("the server sent a message without an event")
    data = message.get("data")
    request_id = message.get("id")
    return Event(
        message["event"], data if isinstance(data, dict) else {}, None if request_id is None else str(request_id)
    )
