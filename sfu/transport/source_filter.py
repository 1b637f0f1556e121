"""SourceFilter: have the kernel drop what a blocked source sends, before it costs us a wake-up or a place in the queue.

A datagram that is read only to be dropped costs 10 us, most of it the kernel's, and the turn of the event loop that it
takes delays everybody's media. A socket filter (classic BPF, SO_ATTACH_FILTER, which needs no privilege) costs 0.1 us,
and nothing where nobody is blocked: then there is none. Where the kernel refuses it we read and drop.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import ipaddress
import logging
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger("aiosfu.filter")

Flow = Literal["media", "rtcp"]
"""What of a source is blocked. Never its connectivity checks, by which it stays connected."""
SocketAddress = tuple[str, int] | tuple[str, int, int, int]

MAX_BLOCKED_FLOWS: Final = 32
"""In one filter: each packet passes them all, and the kernel limits a program's size (net.core.optmem_max). Further
ones are read and dropped."""
EXPIRY_GRAIN_SECONDS: Final = 0.01
"""Blocks that end so close together end at once: a filter is built anew for each."""

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
_SO_DETACH_FILTER: Final = 27
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("@9I")  # linux/sock_diag.h; the last is SK_MEMINFO_DROPS
_INSTRUCTION: Final = struct.Struct("@HBBI")  # struct sock_filter
_PROGRAM: Final = struct.Struct("@HP")  # struct sock_fprog

# linux/bpf_common.h
_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_LOAD_HALF: Final = 0x28
_LOAD_BYTE: Final = 0x30
_JUMP: Final = 0x05  # BPF_JMP | BPF_JA
_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_GREATER: Final = 0x25
_IF_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06  # BPF_RET | BPF_K: the bytes to keep, 0 for drop

_KEEP: Final = 0xFFFFFFFF
_NETWORK_HEADER: Final = 0xFFF00000  # SKF_NET_OFF, where a load finds the IP header
_SOURCE_OFFSETS: Final = {4: 12, 6: 8}  # of the source address in the IP header, by version
_UDP_HEADER_BYTES: Final = 8  # a filter on a UDP socket sees the datagram from its UDP header on

Instruction = tuple[int, int, int, int]


def build_program(blocked: Iterable[tuple[SocketAddress, Flow]]) -> list[Instruction]:
    """Return a socket filter that drops these flows; all sources are of the socket's own address family.

    A flow is told by its first bytes as the port does it (RFC 7983, RFC 5761 section 4). An empty datagram, which has
    none, is dropped as well.
    """
    sources: dict[Flow, list[SocketAddress]] = {"media": [], "rtcp": []}
    for source, flow in blocked:
        sources[flow].append(source)
    media, rtcp = (_section(sources[flow]) for flow in ("media", "rtcp"))
    return [
        (_LOAD_BYTE, 0, 0, _UDP_HEADER_BYTES),
        (_IF_AT_LEAST, 0, 1, 128),
        (_IF_GREATER, 0, 1, 191),
        (_RETURN, 0, 0, _KEEP),
        (_LOAD_BYTE, 0, 0, _UDP_HEADER_BYTES + 1),
        (_IF_AT_LEAST, 0, 1, 192),
        (_IF_GREATER, 0, 1, 223),
        (_JUMP, 0, 0, len(rtcp)),
        *rtcp,
        *media,
    ]


def _section(sources: Iterable[SocketAddress]) -> list[Instruction]:
    """Return instructions that drop what comes from one of `sources` and keep the rest."""
    program: list[Instruction] = [(_LOAD_HALF, 0, 0, 0)]
    for source in sources:
        host = ipaddress.ip_address(source[0].partition("%")[0])
        words = struct.unpack(f"!{len(host.packed) // 4}I", host.packed)
        offset = _NETWORK_HEADER + _SOURCE_OFFSETS[host.version]
        # Ports nearly always differ, so most packets take one comparison for each source.
        program.append((_IF_EQUAL, 0, 2 * len(words) + 2, source[1]))
        for number, word in enumerate(words):
            program.append((_LOAD_WORD, 0, 0, offset + 4 * number))
            program.append((_IF_EQUAL, 0, 2 * (len(words) - number) - 1, word))
        program.append((_RETURN, 0, 0, 0))
        program.append((_LOAD_HALF, 0, 0, 0))
    program.append((_RETURN, 0, 0, _KEEP))
    return program


class SourceFilter:
    """The filter of one UDP socket; it changes once a turn of the event loop at most."""

    def __init__(self, sock: socket.socket) -> None:
        self.available = sys.platform == "linux"
        """Whether the kernel has refused no filter so far."""
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._blocked: dict[tuple[SocketAddress, Flow], float] = {}
        self._attached = False
        self._soon: asyncio.Handle | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def block(self, source: SocketAddress, flow: Flow, until: float) -> None:
        """Drop what a source sends of one flow until a time of `time.monotonic`."""
        known = (source, flow) in self._blocked
        if self.available and (known or len(self._blocked) < MAX_BLOCKED_FLOWS):
            self._blocked[source, flow] = until
            self._apply_soon()

    def unblock(self, source: SocketAddress) -> None:
        """Hear a source again: the address has a new owner, or none. Idempotent."""
        if self._blocked:
            media = self._blocked.pop((source, "media"), None)
            rtcp = self._blocked.pop((source, "rtcp"), None)
            if media is not None or rtcp is not None:
                self._apply_soon()

    def drops(self) -> int:
        """Return the datagrams that the kernel has dropped at this socket: blocked ones, and what found it full."""
        if sys.platform != "linux":
            return 0
        return int(_MEMINFO.unpack(self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[-1])

    def close(self) -> None:
        """Stop the timers; to be called before the socket is closed. Idempotent."""
        self._blocked.clear()
        for handle in (self._soon, self._expiry):
            if handle is not None:
                handle.cancel()
        self._soon = self._expiry = None

    def _apply_soon(self) -> None:
        if self._soon is None:
            self._soon = self._loop.call_soon(self._apply)

    def _apply(self) -> None:
        """Give the kernel the filter for what is blocked now, and see to it that the next block ends in time."""
        now = time.monotonic()
        for handle in (self._soon, self._expiry):
            if handle is not None:
                handle.cancel()
        self._soon = self._expiry = None
        self._blocked = {key: until for key, until in self._blocked.items() if until > now + EXPIRY_GRAIN_SECONDS}
        try:
            self._set(build_program(self._blocked) if self._blocked else None)
        except OSError as exc:
            # What a filter cannot do, reading and dropping does; an older filter's blocks must not outlive their time.
            self.available = False
            self._blocked.clear()
            logger.info("filter_refused", extra={"fields": {"error": errno.errorcode.get(exc.errno or 0, "unknown")}})
            if self._attached:
                self._set(None)
        if self._blocked:
            self._expiry = self._loop.call_later(min(self._blocked.values()) - now, self._apply)

    def _set(self, program: list[Instruction] | None) -> None:
        """Attach a filter, or take the present one away; raises OSError where the kernel refuses."""
        if program is None:
            if self._attached:
                self._sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
                self._attached = False
            return
        code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*instruction) for instruction in program))
        value = _PROGRAM.pack(len(program), ctypes.addressof(code))
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, value)
        self._attached = True
