"""`aiosfu doctor`: look at a server, its machine and the way to it, and say what to do about each finding.

findings    what is found, and what is examined; the other modules have the checks, one concern each:
network     the server's HTTP, its ports, addresses that a peer could reach
security    TLS, tokens, files that others may read
system      UDP buffers, open files, clock, versions
relays      STUN and TURN servers
told        what the running server says of itself, for `system` and `relays`
stream      a real stream through the running server
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signaling.logs import EventLog

from . import network, relays, security, stream, system
from .findings import Finding, Subject, as_text, as_values, fail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["Finding", "Subject", "as_text", "as_values", "examine"]

CHECK_TIMEOUT_SECONDS = 60.0
"""Above what any check allows itself; a TURN server that does not answer takes half of it."""

log = EventLog("signaling.doctor")


async def examine(subject: Subject) -> list[Finding]:
    """Return all findings. The stream comes last, by itself, as it measures; the others are looked at together."""
    found = await asyncio.gather(
        _guarded("server", network.check_server, subject),
        _guarded("ports", network.check_ports, subject),
        _guarded("addresses", network.check_addresses, subject),
        _guarded("tls", security.check_tls, subject),
        _guarded("tokens", security.check_tokens, subject),
        _guarded("udp", system.check_udp, subject),
        _guarded("files", system.check_files, subject),
        _guarded("clock", system.check_clock, subject),
        _guarded("versions", system.check_versions, subject),
        _guarded("relays", relays.check_relays, subject),
    )
    findings = [finding for part in found for finding in part]
    if subject.stream_seconds > 0 and not any(one.check == "server" and one.level == "fail" for one in findings):
        findings += await _guarded("stream", stream.check_stream, subject)
    return findings


async def _guarded(
    name: str, check: Callable[[Subject], Awaitable[Sequence[Finding]]], subject: Subject
) -> Sequence[Finding]:
    """Run one check; one that fails by itself says so and costs no other."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await check(subject)
    except TimeoutError:
        return [fail(name, f"it took more than {CHECK_TIMEOUT_SECONDS:g} s", "look whether the machine is overloaded")]
    except Exception as error:  # noqa: BLE001  see the docstring
        reference = log.bug("doctor_check_failed", error, check=name)
        return [fail(name, f"the check itself failed; the log has it under {reference}", "report this as a bug")]
