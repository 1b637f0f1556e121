"""What devices and viewers have in common about `RTCPeerConnection`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpSender

from signaling.logs import EventLog

from .errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiortc.rtcrtpparameters import RTCRtpCodecCapability

log = EventLog(__name__)

MEDIA_TIMEOUT_SECONDS = 15.0
"""From the answer to connected media: ICE, DTLS and a bad link."""
CLOSE_TIMEOUT_SECONDS = 1.0
"""Programs are to end within two seconds, whatever a media connection is doing."""


def new_peer_connection(welcome: Mapping[str, Any]) -> RTCPeerConnection:
    """Return a peer connection with the relays of the server's `welcome`.

    STUN servers are left out: the SFU learns our public address from our own checks (ICE-lite, RFC 8445 section
    2.5), and one that does not answer would hold gathering up for five seconds.
    """
    servers = []
    for server in welcome.get("ice_servers") or ():
        url = server.get("urls") if isinstance(server, dict) else None
        if isinstance(url, str) and url.startswith(("turn:", "turns:")):
            servers.append(RTCIceServer(url, server.get("username"), server.get("credential")))
    return RTCPeerConnection(RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))


def codec_capabilities(kind: str, codec: str) -> list[RTCRtpCodecCapability]:
    """Return what to pass to `setCodecPreferences` to negotiate `codec` and its retransmission alone."""
    capabilities = RTCRtpSender.getCapabilities(kind).codecs
    return [each for each in capabilities if each.mimeType.lower() in {f"{kind}/{codec.lower()}", f"{kind}/rtx"}]


async def wait_connected(connection: RTCPeerConnection) -> None:
    """Return when media can flow; raise `MediaError` when it fails or takes too long."""
    settled = asyncio.Event()

    def check() -> None:
        if connection.connectionState in {"connected", "failed", "closed"}:
            settled.set()

    connection.on("connectionstatechange", check)
    check()
    try:
        async with asyncio.timeout(MEDIA_TIMEOUT_SECONDS):
            await settled.wait()
    except TimeoutError:
        raise MediaError(
            f"no media connection within {MEDIA_TIMEOUT_SECONDS:.0f} s: is the server's UDP port reachable?"
        ) from None
    finally:
        with contextlib.suppress(KeyError):  # closing has removed it
            connection.remove_listener("connectionstatechange", check)
    if connection.connectionState != "connected":
        raise MediaError("the media connection failed: is the server's UDP port reachable?")


async def close_peer_connection(connection: RTCPeerConnection) -> None:
    """Close, but wait no longer than `CLOSE_TIMEOUT_SECONDS` for it."""
    # In a task of its own: aiortc closes too when the server has, and both wait on one future. Cancelling one of them,
    # by a timeout or because a device is told to stop while it closes, would break the other.
    closing = asyncio.create_task(connection.close(), name="peer-connection-close")
    done, _ = await asyncio.wait([closing], timeout=CLOSE_TIMEOUT_SECONDS)
    if not done:
        log.warning("peer_connection_close_timeout")
    elif (error := closing.exception()) is not None:
        log.bug("peer_connection_close_failed", error)
