"""The last net for bugs of ours: what a callback or a task raises and nobody catches. The process goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .logs import EventLog

if TYPE_CHECKING:
    from collections.abc import Mapping

log = EventLog("signaling.faults")

INTERNAL_ERROR = 1011
"""Close code of a connection whose handling has failed (RFC 6455 section 7.4.1)."""


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop log what nobody caught as every other event is, with what it concerned, and count it."""
    loop.set_exception_handler(_uncaught)


def _uncaught(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    error = context.get("exception")
    concerned = context.get("task") or context.get("future")
    name = concerned.get_name() if isinstance(concerned, asyncio.Task) else None
    if isinstance(error, BaseException):
        log.bug("uncaught", error, what=context["message"], task=name)
    else:
        log.warning("loop_complained", what=context["message"], task=name)
