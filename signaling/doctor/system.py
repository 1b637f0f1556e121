"""The machine: UDP buffers and segmentation, open files, the clock, versions."""

from __future__ import annotations

import ctypes
import platform
import ssl
import sys
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import metadata, util
from typing import TYPE_CHECKING

import aiohttp

import sfu
from signaling.config.model import flag_name
from signaling.process import resources

from .findings import fail, note, ok, warn
from .network import HTTP_TIMEOUT_SECONDS, client_tls
from .told import UntoldError, ask_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signaling.config.model import ServerConfig

    from .findings import Finding, Subject

RAISE_FILES = "raise it: LimitNOFILE= in the systemd unit, --ulimit nofile= for a container, else limits.conf"
MAX_USED_FILES = 0.8
"""As a share: from here on a burst of clients meets the limit."""
INFINITE_FILES = 2.0**62
"""RLIM_INFINITY as a number, which is how metrics have it."""
OWN_FILES = 100
"""Ports, logs, pages being read and the libraries' own."""
EARLIEST_YEAR = 2025
"""A clock before this program was written is a machine's without a battery that has not heard of the time yet."""
MAX_CLOCK_SKEW_SECONDS = 5.0
"""Between this machine and another server: HTTP's Date counts whole seconds, and the way takes some tenths."""
STA_UNSYNC = 0x40
"""linux/timex.h: nothing keeps the clock right."""
TIMEX_BYTES = 512
"""Above the size of `struct timex`, 208 on 64-bit machines."""
TIMEX_STATUS_OFFSET_BYTES = 5 * ctypes.sizeof(ctypes.c_long)
"""`modes` (padded), offset, freq, maxerror, esterror come before `status`."""
PACKAGES = ("aiosfu", "aiohttp", "aiortc", "av", "pydantic", "cryptography")


async def check_udp(subject: Subject) -> Sequence[Finding]:
    """Look what the kernel grants a media socket."""
    if not subject.is_local:
        return []
    host = subject.settings.engine_settings().hosts[0]
    try:
        probe = await sfu.probe_socket(host)
    except OSError as error:
        return [fail("udp", f"no socket at {host}: {error.strerror}", f"{flag_name('media_host')} names another")]
    found: list[Finding] = []
    short = {
        name: granted
        for name, granted in (("rmem", probe.receive_buffer), ("wmem", probe.send_buffer))
        if granted < probe.wanted_buffer
    }
    if short:
        shown = " and ".join(f"{granted // 1024} kB" for granted in short.values())
        limits = " ".join(f"net.core.{name}_max={probe.wanted_buffer}" for name in short)
        text = f"the kernel grants {shown} of buffer where {probe.wanted_buffer // 1024} kB are wanted: bursts are lost"
        found.append(warn("udp", text, f"as root: sysctl -w {limits}, and the same in /etc/sysctl.d/"))
    else:
        found.append(ok("udp", f"buffers of {probe.receive_buffer // 1024} kB in, {probe.send_buffer // 1024} kB out"))
    if probe.segmentation:
        found.append(ok("udp", "segmentation offload (GSO): several packets leave in one call"))
    else:
        advice = "Linux 4.18 or newer has it; sending costs about twice the CPU without"
        found.append(note("udp", "no segmentation offload (GSO)", advice))
    return found


async def check_files(subject: Subject) -> Sequence[Finding]:
    """Look whether as many files may be open as the settings allow clients, and say whose limit that is."""
    try:
        told = await ask_metrics(subject)
    except UntoldError as error:
        return _own_files(subject, error)
    found = server_files(subject, told)
    return found or _own_files(subject, UntoldError("its system does not tell"))


def server_files(subject: Subject, samples: Mapping[str, float]) -> Sequence[Finding]:
    """Return what a server's metrics say of its open files; nothing where they do not, as elsewhere than on Linux."""
    limit, used = samples.get("process_max_fds"), samples.get("process_open_fds")
    if limit is None or used is None:
        return []
    text = f"the running server may have {_count(limit)} files open and has {used:.0f}"
    if used > MAX_USED_FILES * limit:
        return [warn("files", text, RAISE_FILES)]
    if not subject.is_local:
        return [ok("files", text)]
    needed = _files_needed(subject.settings)
    if limit < needed:
        return [warn("files", f"{text}; its settings' limits need {needed}", _raise_or_lower())]
    return [ok("files", f"{text}; {needed} may be needed")]


def _own_files(subject: Subject, why: UntoldError) -> Sequence[Finding]:
    """Look at what a program started like this one may have, where the server does not tell what it has."""
    limits = resources.file_limits()
    if not subject.is_local or limits is None:
        return []
    hard, needed = limits[1], _files_needed(subject.settings)
    text = f"a server started from here may have {_count(hard)} files open"
    advice = ""
    if why.wants_token:
        text += "; the running one does not tell us"
        advice = "call it by 127.0.0.1, or put an admin token into AIOSFU_TOKEN, to see what it has"
    if hard is not None and hard < needed:
        return [warn("files", f"{text}; its settings' limits need {needed}", _raise_or_lower())]
    text += f"; {needed} may be needed"
    return [note("files", text, advice) if advice else ok("files", text)]


def _files_needed(settings: ServerConfig) -> int:
    needed = settings.max_sessions + settings.max_pending_connections + OWN_FILES
    return needed + (settings.max_peers if settings.media_tcp else 0)


def _raise_or_lower() -> str:
    return f"{RAISE_FILES}; or lower {flag_name('max_sessions')}"


def _count(limit: float | None) -> str:
    return "any number of" if limit is None or limit >= INFINITE_FILES else f"{limit:.0f}"


async def check_clock(subject: Subject) -> Sequence[Finding]:
    """Look whether the clock is right: tokens and TURN credentials have an end, certificates a beginning, too."""
    now = time.time()
    if datetime.fromtimestamp(now, UTC).year < EARLIEST_YEAR:
        return [fail("clock", f"it says {datetime.fromtimestamp(now, UTC):%Y-%m-%d}", "set it, by NTP at best")]
    if not subject.is_local:
        return await _compare_clock(subject)
    synchronised = _is_synchronised()
    if synchronised is False:
        advice = "`timedatectl set-ntp true`, or chrony; in a container that is the host's business"
        return [note("clock", "the kernel does not know of anything that keeps it right", advice)]
    return [
        ok("clock", "kept right by NTP" if synchronised else f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC")
    ]


async def _compare_clock(subject: Subject) -> Sequence[Finding]:
    timeout = aiohttp.ClientTimeout(total=HTTP_TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(f"{subject.url}/healthz", ssl=client_tls(subject)) as response,
        ):
            theirs = parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (aiohttp.ClientError, OSError, TimeoutError, KeyError, ValueError):
        return []  # that it does not answer is told elsewhere
    skew = time.time() - theirs
    if abs(skew) > MAX_CLOCK_SKEW_SECONDS:
        text = f"this machine's is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
        return [warn("clock", text, "let NTP keep both right: tokens are good for a time")]
    return [ok("clock", "agrees with the server's")]


def _is_synchronised() -> bool | None:
    """Return whether the kernel's clock is disciplined (adjtimex); None where it cannot be asked."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    value = ctypes.create_string_buffer(TIMEX_BYTES)  # modes 0: it changes nothing
    if adjtimex(value) < 0:
        return None
    status = ctypes.c_int.from_buffer(value, TIMEX_STATUS_OFFSET_BYTES).value
    return not status & STA_UNSYNC


async def check_versions(_subject: Subject) -> Sequence[Finding]:
    """Tell what runs here, for a report of a bug."""
    shown = [f"{name} {_version(name)}" for name in PACKAGES]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.release()}"
    found = [ok("versions", ", ".join([*shown, python, " ".join(ssl.OPENSSL_VERSION.split()[:2]), system]))]
    if util.find_spec("uvloop") is None and sys.platform != "win32":
        advice = "pip install uvloop"
        found.append(note("versions", "without uvloop signalling and media cost more CPU", advice))
    return found


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"
