"""PeerConnection: one remote endpoint. Its ICE agent, its DTLS transport, what it carries, and its one timer."""

from __future__ import annotations

import asyncio
import enum
import secrets
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from .parameters import Candidate, LocalTransport, RemoteTransport
from .rtp.packet import is_rtcp
from .statistics import PeerStatistics
from .transport.dtls import Certificate, MediaTransport
from .transport.ice import IceLite
from .transport.policing import Policer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .rtp.batch import Run
    from .transport.fanout import Outlet
    from .transport.path import Path
    from .transport.port import MediaPort
    from .values import EngineSettings

MAX_EARLY_DATAGRAMS: Final = 64
"""SRTP that overtakes the end of the handshake: the packets of one large keyframe."""
MIN_TIMER_SECONDS: Final = 0.005
"""No deadline is served sooner after the last: it bounds what a peer's timer can cost."""


class State(enum.Enum):
    """Where a peer connection is; it only moves down this list."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


class Media(Protocol):
    """What a peer connection carries: a Publisher or a Subscriber."""

    def handle_rtp(self, packets: Sequence[bytes], now: float) -> bool:
        """Take decrypted RTP packets; return whether `next_deadline` may be nearer than before."""
        ...

    def handle_rtcp(self, data: bytes, now: float) -> None:
        """Take one decrypted compound RTCP packet."""
        ...

    def next_deadline(self) -> float:
        """Return when `handle_timer` next has something to do."""
        ...

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        ...

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...


class PeerConnection:
    """Connect one remote endpoint and carry its media.

    `connected` is called once when media can pass; `closed` once, with a reason, when the connection ends by itself,
    not for a call of `close`; `ending` with the tasks that then still have to run out. It may take the place of a
    connection `before`, whose descriptions the remote endpoint answered: checks then reach the new one.
    """

    def __init__(
        self,
        name: str,
        port: MediaPort,
        certificate: Certificate,
        settings: EngineSettings,
        connected: Callable[[], None],
        closed: Callable[[str], None],
        ending: Callable[[list[asyncio.Future[None]]], None],
        before: PeerConnection | None = None,
    ) -> None:
        # Set once.
        self.name = name
        self.ice: IceLite[Path] = IceLite() if before is None else before.ice.successor()
        self.transport = MediaTransport(certificate, self.send, lambda: self._end("closed_by_peer"))
        self.drops: Counter[str] = Counter()
        self._port = port
        self._certificate = certificate
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._on_connected = connected
        self._on_closed = closed
        self._on_ending = ending
        # 63 random bits, as RFC 8829 section 5.2.1 asks.
        self.session_id: int = secrets.randbits(63) if before is None else before.session_id
        # Set by `connect`.
        self.remote: RemoteTransport | None = None
        # Changes as the connection lives.
        self.state = State.NEW
        self.media: Media | None = None
        self.descriptions: int = 0 if before is None else before.descriptions
        """How many descriptions have been made."""
        self.outlet: Outlet | None = None
        """What `Fanout` needs to send to this peer; None while it cannot."""
        self._outlet_path: Path | None = None
        self._task: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        # How much comes, so that one peer's flood is dropped before it costs a decryption.
        self._media_policer = Policer(settings.max_packet_rate)
        self._rtcp_policer = Policer(settings.max_rtcp_rate)
        # The one timer, and what it waits for.
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self._connect_deadline = time.monotonic() + settings.answer_timeout
        self._last_seen = 0.0
        port.register(self)
        self._rearm()

    def local_transport(self, candidates: tuple[Candidate, ...]) -> LocalTransport:
        """Return our half of ICE and DTLS for the next description."""
        self.descriptions += 1
        return LocalTransport(
            session_id=self.session_id,
            version=self.descriptions,
            ufrag=self.ice.local_ufrag,
            password=self.ice.local_password,
            fingerprints=self._certificate.fingerprints,
            candidates=candidates,
        )

    def connect(self, remote: RemoteTransport) -> None:
        """Begin the handshake with the endpoint that the remote description names."""
        self.state = State.CONNECTING
        self.remote = remote
        self.ice.remote_ufrag = remote.ufrag
        self._connect_deadline = time.monotonic() + self._settings.connect_timeout
        self._rearm()
        self._task = asyncio.create_task(self._handshake(remote), name=f"handshake {self.name}")

    def restart_ice(self, remote: RemoteTransport) -> None:
        """Take new ICE credentials on both sides; DTLS and media go on. `local_transport` then tells ours."""
        # The DTLS roles of a connection stay as they were agreed at first (RFC 8842 section 5.5).
        self.remote = remote if self.remote is None else replace(remote, role=self.remote.role)
        self._port.restart(self)
        self.ice.remote_ufrag = remote.ufrag

    def send(self, data: bytes) -> None:
        """Send one datagram on the selected path; dropped and counted before there is one."""
        path = self.ice.selected
        if path is None:
            self.drops["no_path"] += 1
        else:
            path.send(data)

    def send_media(self, runs: Sequence[Run]) -> int:
        """Encrypt and send runs of RTP packets at once; return how many packets left."""
        path = self.ice.selected
        if path is None or self.state is not State.CONNECTED:
            self.drops["no_path"] += 1
            return 0
        return path.send_media(self.transport, runs)

    def send_rtcp(self, data: bytes) -> None:
        """Encrypt and send one compound RTCP packet."""
        if self.state is State.CONNECTED:
            self.send(self.transport.protect_rtcp(data))

    def authentic_check(self, now: float) -> None:
        """Take note of an authentic connectivity check."""
        self._last_seen = now
        self._choose_outlet()

    def handle_dtls(self, data: bytes) -> None:
        """Take one DTLS datagram."""
        self.transport.handle_datagram(data)

    def handle_srtp(self, datagrams: Sequence[bytes], now: float) -> None:
        """Take the SRTP and SRTCP datagrams of one turn: control packets first, then media in order of arrival."""
        media = self.media
        if self.state is not State.CONNECTED or media is None:
            for data in datagrams:
                self._keep_early(data)
            return
        try:
            packets: list[bytes] = []
            for data in datagrams:
                if is_rtcp(data):
                    self._handle_srtcp(data, media, now)
                elif self._media_policer.refuses(now):
                    self._drop_for_rate(self._media_policer, control=False)
                else:
                    packets.append(data)
            packets = self.transport.unprotect(packets)
            if packets:
                self._last_seen = now
                if media.handle_rtp(packets, now):
                    self._rearm()
        except Exception as exc:  # noqa: BLE001  one connection's bug must not reach the others
            self.crashed(exc)

    def crashed(self, error: Exception) -> None:
        """Keep a bug in one connection's code from the others: report it and end the connection. Never raises."""
        self._port.faults.report("peer_crashed", error, peer=self.name)
        try:
            self._end("internal_error")
        except Exception as exc:  # noqa: BLE001  whoever hears of the end has a bug too
            self._port.faults.report("peer_end_failed", exc, peer=self.name)

    def _handle_srtcp(self, data: bytes, media: Media, now: float) -> None:
        if self._rtcp_policer.refuses(now):
            self._drop_for_rate(self._rtcp_policer, control=True)
            return
        plain = self.transport.unprotect_rtcp(data)
        if plain is not None:
            self._last_seen = now
            if self.transport.holds_handshake:
                self.transport.release_handshake()
            media.handle_rtcp(plain, now)
            self.wake(now)

    def statistics(self) -> PeerStatistics:
        """Return a snapshot of the transport."""
        path = self.ice.selected
        return PeerStatistics(
            state=self.state.value,
            srtp_profile=self.transport.srtp_profile,
            remote_address=None if path is None else f"{path.remote[0]} {path.remote[1]}",
            protocol=None if path is None else path.protocol,
            drops=dict(self.drops + self.transport.drops),
        )

    def wake(self, now: float | None = None) -> None:
        """Do now what is due now."""
        if self.state is State.CONNECTED and self.media is not None:
            now = time.monotonic() if now is None else now
            if self.media.next_deadline() <= now:
                self.media.handle_timer(now)
            self._rearm()

    def close(self) -> list[asyncio.Future[None]]:
        """Say goodbye and let go of everything; return the tasks that are still ending. Idempotent."""
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        self._choose_outlet()
        try:
            if self.media is not None:
                self.media.close()
            ending = self.transport.close()
        except Exception as exc:  # noqa: BLE001  what it holds of the port has to be let go all the same
            self._port.faults.report("peer_close_failed", exc, peer=self.name)
            ending = []
        self._port.unregister(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._early.clear()
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            ending.append(task)
        return ending

    async def _handshake(self, remote: RemoteTransport) -> None:
        """Run DTLS to its end, keeping a bug in this connection's code from the others."""
        try:
            await self._run(remote)
        except Exception as exc:  # noqa: BLE001  one connection's bug must not reach the others
            self.crashed(exc)

    async def _run(self, remote: RemoteTransport) -> None:
        """Connect or fail."""
        is_connected = await self.transport.connect(remote.fingerprints, remote.role)
        if self.state is State.CLOSED:
            # Just when the last flight came: `asyncio.wait_for`, in aiortc, then loses the cancellation (Python 3.11).
            self._on_ending(self.transport.close())
            return
        if not is_connected:
            self._end("handshake_failed")
            return
        now = time.monotonic()
        self._last_seen = now
        self.state = State.CONNECTED
        self._choose_outlet()
        self._on_connected()
        early, self._early = self._early, []
        self.handle_srtp(early, now)
        self.wake(now)
        self._task = None

    def _drop_for_rate(self, policer: Policer, *, control: bool) -> None:
        """Count what a peer sends beyond its rate; the first time in a block, have its paths hear no more of it."""
        self.drops["rtcp_rate" if control else "packet_rate"] += 1
        if policer.block_begins:
            self.drops["rtcp_blocks" if control else "packet_blocks"] += 1
            for path in self.ice.paths:
                path.block("rtcp" if control else "media", policer.blocked_until)

    def _choose_outlet(self) -> None:
        """Keep the outlet true to the path that is selected."""
        path = self.ice.selected if self.state is State.CONNECTED else None
        if path is not self._outlet_path:
            self._outlet_path = path
            self.outlet = None if path is None else path.outlet(self.transport)

    def _keep_early(self, data: bytes) -> None:
        if self.state is State.CONNECTING and len(self._early) < MAX_EARLY_DATAGRAMS:
            self._early.append(data)
        else:
            self.drops["srtp_before_handshake"] += 1

    def _rearm(self) -> None:
        """See to it that the one timer fires at the nearest deadline, or before: then it is set again."""
        if self.state is State.CLOSED:
            return
        if self.state is State.CONNECTED and self.media is not None:
            deadline = min(self.media.next_deadline(), self._last_seen + self._settings.consent_timeout)
        else:
            deadline = self._connect_deadline
        if self._timer is not None:
            if deadline >= self._armed_for:
                return
            self._timer.cancel()
        self._armed_for = deadline
        delay = max(deadline - time.monotonic(), MIN_TIMER_SECONDS)
        self._timer = self._loop.call_later(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        try:
            self._do_what_is_due(time.monotonic())
        except Exception as exc:  # noqa: BLE001  one connection's bug must not reach the others
            self.crashed(exc)

    def _do_what_is_due(self, now: float) -> None:
        if self.state is not State.CONNECTED:
            if now >= self._connect_deadline:
                self._end("not_answered" if self.state is State.NEW else "not_connected")
                return
        elif now >= self._last_seen + self._settings.consent_timeout:
            self._end("consent_expired")
            return
        self.wake(now)
        self._rearm()

    def _end(self, reason: str) -> None:
        """End by ourselves and tell so."""
        if self.state is State.CLOSED:
            return
        self._on_ending(self.close())
        self._on_closed(reason)
