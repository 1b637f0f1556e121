"""STUN and TURN servers: whether they answer, take our credentials, and see us where we say that we are."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioice import stun
from aioice.turn import create_turn_endpoint

from signaling import turn
from signaling.config.model import flag_name
from signaling.credentials.keyfiles import KeyFileError, WatchedFile, read_turn_secret

from .findings import fail, note, ok, warn
from .told import UntoldError, ask_ice_servers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from signaling.config.model import ServerConfig

    from .findings import Finding, Subject

ANSWER_TIMEOUT_SECONDS = 6.0
"""Three tries of a STUN request over UDP."""
CREDENTIAL_SECONDS = 600.0
CLIENT_ID = "doctor"
"""Shows up in the TURN server's log."""

_URL = re.compile(r"(stuns?|turns?):(\[[^\]]+\]|[^:?]+)(?::(\d+))?(?:\?transport=(udp|tcp))?")


@dataclass(frozen=True, slots=True)
class Relay:
    """One URL of an RTCIceServer."""

    url: str
    scheme: str
    host: str
    port: int
    transport: str
    username: str | None
    credential: str | None


async def check_relays(subject: Subject) -> Sequence[Finding]:
    """Look at every STUN and TURN server that clients are told of: by the running server, else by the settings."""
    settings = subject.settings
    configured: list[Mapping[str, str]] = []
    if subject.is_local:
        try:
            configured = _servers(settings)
        except KeyFileError as error:
            return [fail("relays", str(error), f"mend the file of {flag_name('turn_secret_file')}")]
    found: list[Finding] = []
    told: Sequence[Mapping[str, str]] | None = None
    try:
        told = await ask_ice_servers(subject)
    except UntoldError as error:
        if not subject.is_local:  # the server's own address and health are looked at elsewhere
            return [_untold(error)] if error.wants_token else []
    if told is not None and subject.is_local:
        found = _differing(configured, told)
    servers = configured if told is None else told
    if not servers:
        text = "no TURN server: clients in networks that block all but port 443 get no picture"
        return [*found, note("relays", text, f"{flag_name('turn_url')} and coturn, where such clients matter")]
    parts = await asyncio.gather(*(_look(relay, subject) for relay in _relays(servers)))
    return [*found, *(finding for part in parts for finding in part)]


def _untold(error: UntoldError) -> Finding:
    advice = (
        "put a WEB client's token into AIOSFU_TOKEN, one of nobody who is connected; or give a secret of the server's "
        f"by {flag_name('auth_secret_file')}"
    )
    return note("relays", f"which STUN and TURN servers clients are told of was not looked at: {error}", advice)


def _differing(configured: Sequence[Mapping[str, str]], told: Sequence[Mapping[str, str]]) -> list[Finding]:
    """Compare what the running server tells with what the settings say it should."""
    expected, given = ({server["urls"] for server in servers} for servers in (configured, told))
    if expected == given:
        return []
    text = (
        f"the running server tells clients of {', '.join(sorted(given)) or 'none'}, the settings given here are of "
        f"{', '.join(sorted(expected)) or 'none'}"
    )
    return [warn("relays", text, "give the doctor the settings that the server has, or `kill -HUP` the server")]


def _servers(settings: ServerConfig) -> list[Mapping[str, str]]:
    secret = (settings.turn_secret or "").encode()
    if settings.turn_secret_file is not None:
        secret = WatchedFile(settings.turn_secret_file, read_turn_secret).get()
    short_lived = turn.ice_servers(
        settings.turn_url, secret, CLIENT_ID, now=time.time(), ttl_seconds=CREDENTIAL_SECONDS
    )
    return [*settings.ice_server, *short_lived]


def _relays(servers: Iterable[Mapping[str, str]]) -> list[Relay]:
    found = []
    for server in servers:
        match = _URL.fullmatch(server["urls"])
        if match is not None:
            scheme, host, port, transport = match.groups()
            is_tls = scheme.endswith("s")
            found.append(
                Relay(
                    url=server["urls"],
                    scheme=scheme,
                    host=host.strip("[]"),
                    port=int(port or (5349 if is_tls else 3478)),
                    transport=transport or ("tcp" if is_tls else "udp"),
                    username=server.get("username"),
                    credential=server.get("credential"),
                )
            )
    return found


async def _look(relay: Relay, subject: Subject) -> Sequence[Finding]:
    where = f"{relay.host} port {relay.port}/{relay.transport}"
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            if relay.scheme.startswith("turn"):
                return [await _allocate(relay)]
            if relay.transport == "tcp":
                return []  # the server's own candidates make STUN over TCP needless
            return [await _reflect(relay, subject)]
    except (TimeoutError, stun.TransactionTimeout):
        advice = f"look whether it runs, and whether a firewall lets {relay.transport.upper()} through to it"
        return [fail("relays", f"{relay.url}: no answer from {where}", advice)]
    except stun.TransactionFailed as error:
        return [_refused(relay, error)]
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return [fail("relays", f"{relay.url}: {why}", "look at its address, and whether it runs")]


class _Receiver(asyncio.DatagramProtocol):
    """Takes what a socket brings; `lost` is set when it is closed."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002  asyncio's
        """See `asyncio.DatagramProtocol`."""
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        """See `asyncio.DatagramProtocol`."""
        if not self.answer.done():
            self.answer.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        """See `asyncio.DatagramProtocol`."""
        self.answer.cancel()
        self.lost.set()


async def _allocate(relay: Relay) -> Finding:
    """Get a relayed address (RFC 8656) and give it back."""
    address = (await _resolve(relay.host, relay.port))[0]
    transport, receiver = await create_turn_endpoint(
        _Receiver,
        address,
        username=relay.username,
        password=relay.credential,
        ssl=True if relay.scheme == "turns" else None,
        transport=relay.transport,
    )
    try:
        relayed = transport.get_extra_info("sockname")
    finally:
        transport.close()
        await receiver.lost.wait()
    return ok("relays", f"{relay.url} takes the credentials and relays from {relayed[0]}")


def _refused(relay: Relay, error: stun.TransactionFailed) -> Finding:
    code = error.response.attributes.get("ERROR-CODE", (0, ""))[0]
    if code in {401, 438, 441}:
        advice = (
            f"the server's {flag_name('turn_secret')} must be coturn's static-auth-secret (use-auth-secret), and both "
            "clocks right"
        )
        return fail("relays", f"{relay.url} refuses the credentials ({code})", advice)
    return fail("relays", f"{relay.url}: {error}", "look into the TURN server's log")


async def _reflect(relay: Relay, subject: Subject) -> Finding:
    """Ask a STUN server where it sees us (RFC 8489), and compare that with what is announced."""
    address, family = await _resolve(relay.host, relay.port)
    transport, receiver = await asyncio.get_running_loop().create_datagram_endpoint(
        _Receiver, remote_addr=address, family=family
    )
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    try:
        for _ in range(3):
            transport.sendto(bytes(request))
            done, _ = await asyncio.wait({receiver.answer}, timeout=ANSWER_TIMEOUT_SECONDS / 4)
            if done:
                break
        else:
            raise TimeoutError
        answer = stun.parse_message(receiver.answer.result())
    finally:
        transport.close()
    settings = subject.settings
    seen = str(answer.attributes.get("XOR-MAPPED-ADDRESS", ("nowhere", 0))[0])
    if (
        subject.is_local
        and settings.announce
        and seen not in settings.announce
        and seen not in settings.engine_settings().hosts
    ):
        text = f"{relay.url} sees this machine at {seen}, which is not announced"
        return warn("relays", text, f"{flag_name('announce')} {seen}, unless clients come another way")
    return ok("relays", f"{relay.url} sees this machine at {seen}")


async def _resolve(host: str, port: int) -> tuple[tuple[str, int], socket.AddressFamily]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, _, _, _, address = found[0]
    return (str(address[0]), int(address[1])), family
