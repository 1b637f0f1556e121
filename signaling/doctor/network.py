"""The server's HTTP, its ports, and the addresses at which a peer could reach it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import json
import socket
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from cryptography import x509

from signaling.config.model import flag_name, is_loopback, machine_addresses
from signaling.credentials.tls import CertificateInfo, describe

from .findings import fail, note, ok, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signaling.config.model import ServerConfig

    from .findings import Finding, Subject

HTTP_TIMEOUT_SECONDS = 5.0
HANDSHAKE_TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 4096
"""Of /healthz and /readyz, which have some twenty."""

IN_USE = "in use"


def client_tls(subject: Subject) -> bool | aiohttp.Fingerprint:
    """Return what aiohttp calls `ssl`."""
    digits = subject.fingerprint.replace(":", "")
    return aiohttp.Fingerprint(bytes.fromhex(digits)) if digits else True


async def shown_certificate(url: str) -> CertificateInfo | None:
    """Return the certificate that a server shows, whoever vouches for it; None where there is none."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=context)
    except (OSError, TimeoutError):
        return None
    try:
        content = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return describe(x509.load_der_x509_certificate(content))
    except ValueError:
        return None
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def check_server(subject: Subject) -> Sequence[Finding]:
    """Look whether an aiosfu server answers, and takes clients."""
    timeout = aiohttp.ClientTimeout(total=HTTP_TIMEOUT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http:
            began = time.monotonic()
            if (await _status_word(http, f"{subject.url}/healthz", subject))[1] != "ok":
                return [await _something_else(subject)]
            took = time.monotonic() - began
            status, word = await _status_word(http, f"{subject.url}/readyz", subject)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return [await _explain(subject, error)]
    found = [ok("server", f"{subject.url} answers in {took * 1000:.0f} ms")]
    if status == 503:
        found.append(warn("server", f"it takes no new clients: {word}", "it is about to end; start it anew"))
    return found


async def _status_word(http: aiohttp.ClientSession, url: str, subject: Subject) -> tuple[int, str]:
    async with http.get(url, ssl=client_tls(subject), allow_redirects=False) as response:
        body = await response.content.read(MAX_ANSWER_BYTES)
    value = json.loads(body) if response.content_type == "application/json" else {}
    return response.status, str(value.get("status", "")) if isinstance(value, dict) else ""


async def _explain(subject: Subject, error: Exception) -> Finding:
    """Return why no aiosfu server answered."""
    if isinstance(error, aiohttp.ClientSSLError):  # the fingerprint's error is none of these
        why = getattr(getattr(error, "certificate_error", None), "verify_message", None) or "the handshake fails"
        shown = await shown_certificate(subject.url)
        advice = "see `tls`"
        if shown is not None:
            known = f"--tls-fingerprint {shown.fingerprint}"
            advice += f"; or, where the server printed this SHA-256 at its start, take it: {known}"
        return fail("server", f"{subject.url}: TLS: {why}", advice)
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return fail("server", f"{subject.url} shows another certificate", "give the fingerprint that it has now")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unreachable(subject, error.os_error)
    if isinstance(error, TimeoutError):
        advice = "look whether a firewall drops packets on the way, or the server's log for loop lag"
        return fail("server", f"{subject.url} does not answer within {HTTP_TIMEOUT_SECONDS:g} s", advice)
    return await _something_else(subject)


async def _something_else(subject: Subject) -> Finding:
    secure = subject.url.replace("http:", "https:", 1)
    if secure != subject.url and await shown_certificate(secure) is not None:
        flags = f"{flag_name('tls_cert')} or {flag_name('tls_self_signed')}"
        advice = f"give the doctor the settings that the server has: {flags}" if subject.is_local else f"try {secure}"
        return fail("server", f"what listens at {subject.url} speaks TLS, so https", advice)
    advice = "stop that, or move this server with --port; behind a proxy look at the proxy's configuration"
    return fail("server", f"something answers at {subject.url}, but no aiosfu server", advice)


def _unreachable(subject: Subject, error: OSError) -> Finding:
    refused = error.errno == errno.ECONNREFUSED
    why = "nothing listens" if refused else (error.strerror or str(error))
    advice = "start it: aiosfu serve" if subject.is_local else "look whether it runs, and at firewalls on the way"
    return fail("server", f"{subject.url}: {why}", f"{advice}; --server names another address")


async def check_ports(subject: Subject) -> Sequence[Finding]:
    """Look whether the ports are the server's, or could be."""
    if not subject.is_local:
        return []
    settings = subject.settings
    parts = urlsplit(subject.url)
    runs = await _accepts(parts.hostname or "", parts.port or 0)
    if not runs and settings.port:
        problem = _binding_problem(settings.host, settings.port, socket.SOCK_STREAM)
        if problem:
            advice = f"choose another with {flag_name('port')} or {flag_name('host')}"
            return [fail("ports", f"TCP {settings.host} port {settings.port}: {problem}", advice)]
    if not settings.media_port:
        return [
            note("ports", f"{flag_name('media_port')} 0 takes another one at each start: firewalls want a fixed one")
        ]
    found: list[Finding] = []
    for host in settings.engine_settings().hosts:
        found += await _media_port(settings, host, runs=runs)
    return found or [ok("ports", _all_well(settings, runs=runs))]


def _all_well(settings: ServerConfig, *, runs: bool) -> str:
    kinds = "UDP and TCP" if settings.media_tcp else "UDP"
    return f"{kinds} {settings.media_port} {'taken by the server' if runs else 'free'}, for media"


async def _media_port(settings: ServerConfig, host: str, *, runs: bool) -> Sequence[Finding]:
    where = f"{host} port {settings.media_port}"
    problem = _binding_problem(host, settings.media_port, socket.SOCK_DGRAM)
    if problem == IN_USE:
        if not runs:
            advice = f"`ss -lunp` shows by what; or choose another with {flag_name('media_port')}"
            return [fail("ports", f"UDP {where}: {problem}, and not by a running server", advice)]
    elif problem:
        return [fail("ports", f"UDP {where}: {problem}", f"choose another with {flag_name('media_host')}")]
    elif runs:
        advice = "give the doctor the settings that the server runs with, or start the server anew"
        return [fail("ports", f"the server runs, but not with media on UDP {where}", advice)]
    if runs and settings.media_tcp and not await _accepts(host, settings.media_port):
        advice = "clients without UDP need it: give the doctor the settings that the server has, or start it anew"
        return [warn("ports", f"TCP {where} takes no media", advice)]
    return []


def _binding_problem(host: str, port: int, kind: socket.SocketKind) -> str:
    """Return why a port cannot be had, or nothing."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host or "0.0.0.0", port, type=kind)[0]  # noqa: S104  what the server does
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            elif family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: IN_USE,
            errno.EADDRNOTAVAIL: "not an address of this machine",
            errno.EACCES: "ports below 1024 take a privilege (CAP_NET_BIND_SERVICE)",
        }
        return reasons.get(error.errno or 0, error.strerror or str(error))
    return ""


async def _accepts(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(HTTP_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def check_addresses(subject: Subject) -> Sequence[Finding]:
    """Look where clients could reach the server, and what it announces."""
    if not subject.is_local:
        return []
    settings = subject.settings
    if is_loopback(settings.host):
        text = f"only programs on this machine reach it, at {settings.host}"
        return [note("addresses", text, f"{flag_name('host')} 0.0.0.0 lets others in, too"), *_announced(settings)]
    own = [host for host in settings.engine_settings().hosts if not is_loopback(host)]
    if not own and not settings.announce:
        advice = f"connect the machine to a network, or name an address with {flag_name('announce')}"
        return [fail("addresses", "this machine has no address that another one could reach", advice)]
    found = _announced(settings)
    if settings.announce:
        return found
    public = [host for host in own if ipaddress.ip_address(host).is_global]
    if public:
        return [ok("addresses", f"reachable at {', '.join(own)}")]
    advice = f"for clients elsewhere forward the ports to it and give {flag_name('announce')} PUBLIC_ADDRESS"
    return [note("addresses", f"{', '.join(own)}: reachable from its own network only", advice)]


def _announced(settings: ServerConfig) -> list[Finding]:
    found: list[Finding] = []
    own = {*machine_addresses(), "127.0.0.1", "::1"}
    for text in settings.announce:
        address = ipaddress.ip_address(text)
        if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
            advice = f"{flag_name('announce')} takes the address at which clients reach the media port"
            found.append(fail("announce", f"{text}: no other machine reaches the server there", advice))
        elif text in own:
            found.append(ok("announce", f"{text} is this machine's"))
        elif address.is_global:
            ports = f"UDP {'and TCP ' if settings.media_tcp else ''}{settings.media_port}"
            found.append(ok("announce", f"{text}: {ports} must arrive here from there; `relays` compares it"))
        else:
            advice = "right in a container on that machine; else give the public address, or leave it out on a LAN"
            found.append(note("announce", f"{text} is no public address, and not this machine's", advice))
    return found
