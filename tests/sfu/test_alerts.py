"""The end of a DTLS connection whose OpenSSL half is gone, against OpenSSL at the other end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest

from sfu import FeedEnded, SubscriptionEnded
from sfu.transport.dtls import Certificate, MediaTransport
from tests.helpers.peers import CountingTrack, frames, publisher, running_engine, until, viewer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROLES: list[Literal["client", "server"]] = ["client", "server"]
CIPHERS = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"]
CLOSE_NOTIFY_IN_CLEAR = bytes.fromhex("15fefd0000000000000009000201 00")


class End:
    """One end: what it sent, whether it was told of the peer's goodbye, and whether it loses what it sends."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = 0
        self.certificate = Certificate()
        self.other: End | None = None
        self.transport = MediaTransport(self.certificate, self.send, self.note_closed)

    def send(self, data: bytes) -> None:
        self.sent.append(data)
        if self.other is not None:
            self.other.transport.handle_datagram(data)

    def note_closed(self) -> None:
        self.closed += 1


@asynccontextmanager
async def connected(role: Literal["client", "server"], cipher: str = CIPHERS[0]) -> AsyncIterator[tuple[End, End]]:
    """Yield our end, which has the role, and the other."""
    ours, other = End(), End()
    ours.other, other.other = other, ours
    for end in (ours, other):
        context = end.certificate.rtc_certificate._create_ssl_context(end.transport._srtp_profiles)
        context.set_cipher_list(cipher.encode())
    assert all(
        await asyncio.gather(
            ours.transport.connect(other.certificate.fingerprints, role),
            other.transport.connect(ours.certificate.fingerprints, "client" if role == "server" else "server"),
        )
    )
    assert ours.transport._ssl is not None
    assert ours.transport._ssl.get_cipher_name() == cipher
    yield ours, other
    ending = [*ours.transport.close(), *other.transport.close()]
    await asyncio.gather(*ending, return_exceptions=True)
    assert all(end.transport._task is None for end in (ours, other))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("cipher", CIPHERS)
async def test_the_peers_goodbye_is_understood(role: Literal["client", "server"], cipher: str) -> None:
    async with connected(role, cipher) as (ours, other):
        ours.transport.release_handshake()
        assert ours.transport._ssl is None
        assert ours.transport.connected
        await asyncio.gather(*other.transport.close(), return_exceptions=True)
        assert (ours.closed, other.closed) == (1, 0)
        ours.transport.handle_datagram(other.sent[-1])
        assert ours.closed == 1


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("cipher", CIPHERS)
async def test_our_goodbye_is_understood(role: Literal["client", "server"], cipher: str) -> None:
    async with connected(role, cipher) as (ours, other):
        ours.transport.release_handshake()
        ours.transport.close()
        await until(lambda: other.closed == 1)
        assert ours.closed == 0


async def test_media_passes_after_the_release() -> None:
    async with connected("server") as (ours, other):
        packet = b"\x80\x60\x00\x01" + bytes(8) + b"payload"
        report = b"\x81\xc9\x00\x01\x00\x00\x00\x01"
        ours.transport.release_handshake()
        assert ours.transport.unprotect([other.transport.protect(packet)]) == [packet]
        assert other.transport.unprotect_rtcp(ours.transport.protect_rtcp(report)) == report
        assert ours.transport.srtp_profile == other.transport.srtp_profile == "SRTP_AEAD_AES_128_GCM"


async def test_what_is_no_authentic_goodbye_changes_nothing() -> None:
    async with connected("server") as (ours, other):
        ours.transport.release_handshake()
        handshake = list(other.sent)
        other.other = None
        other.transport.close()
        goodbye = other.sent[-1]
        forged = [
            b"",
            b"\x15",
            CLOSE_NOTIFY_IN_CLEAR,
            goodbye[:-1],
            goodbye[:12] + b"\x10" + goodbye[13:29],  # its length says 16: less than a nonce and a tag
            b"\x17" + goodbye[1:],  # application data
            *(goodbye[:place] + bytes([goodbye[place] ^ 1]) + goodbye[place + 1 :] for place in range(len(goodbye))),
            *handshake,  # retransmitted late
        ]
        for data in forged:
            ours.transport.handle_datagram(data)
        assert ours.closed == 0
        ours.transport.handle_datagram(handshake[-1] + goodbye)  # two records of one datagram
        assert ours.closed == 1


async def test_our_own_goodbye_sent_back_is_not_the_peers() -> None:
    async with connected("server") as (ours, _other):
        ours.transport.release_handshake()
        alerts = ours.transport._alerts
        assert alerts is not None
        assert not alerts.ends(alerts.close_notify())


async def test_a_cipher_that_is_not_supported_keeps_its_connection() -> None:
    async with connected("server", "ECDHE-ECDSA-CHACHA20-POLY1305") as (ours, other):
        ours.transport.release_handshake()
        assert not ours.transport.holds_handshake
        assert ours.transport._ssl is not None
        other.transport.close()
        await until(lambda: ours.closed == 1)


async def test_before_the_handshake_there_is_nothing_to_release() -> None:
    end = End()
    end.transport.release_handshake()
    assert not end.transport.connected
    assert end.transport.close() == []


async def test_peers_let_go_of_their_handshake_and_still_say_goodbye() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, CountingTrack()) as device:
            async with viewer(engine, 11, 1) as watcher, viewer(engine, 12, 1) as second:
                await frames(watcher.tracks[0], 3)
                peers: list[Any] = [engine._feeds[1].newest.peer, *(engine._subscriptions[n].peer for n in (11, 12))]
                await until(lambda: all(peer.transport._ssl is None for peer in peers))
                await frames(watcher.tracks[0], 3)
                assert [s.peer.srtp_profile for s in engine.statistics().subscriptions] == ["SRTP_AEAD_AES_128_GCM"] * 2
                await watcher.pc.close()
                ended = await events.expect(SubscriptionEnded)
                assert (ended.subscription, ended.reason) == (11, "closed_by_peer")
                await engine.unsubscribe(12)
                await until(lambda: second.pc.connectionState == "closed")
            await device.pc.close()
            assert (await events.expect(FeedEnded)).reason == "closed_by_peer"
