"""What the transports share: a path to a remote address, and the peer that owns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.rtp.batch import Run

    from .dtls import MediaTransport
    from .fanout import Outlet
    from .ice import IceLite
    from .source_filter import Flow


class Path(Protocol):
    """One way to one remote address, over UDP or TCP."""

    protocol: Literal["udp", "tcp"]
    endpoint: Endpoint | None
    """Whose path it is; None until a connectivity check has proved that."""

    @property
    def remote(self) -> tuple[str, int]:
        """The remote IP address and port."""
        ...

    def send(self, data: bytes) -> None:
        """Queue one datagram that is not media for the end of this turn of the event loop."""
        ...

    def send_media(self, transport: MediaTransport, runs: Sequence[Run]) -> int:
        """Encrypt and send runs of RTP packets at once; return how many packets left.

        After a run for which there was no room the rest is not tried: it would be the tail of a broken frame.
        """
        ...

    def outlet(self, transport: MediaTransport) -> Outlet | None:
        """Return what `Fanout` needs to send this way, or None where it cannot."""
        ...

    def block(self, flow: Flow, until: float) -> None:
        """Hear nothing of one flow until a time of `time.monotonic`, where that is cheaper than to drop it."""
        ...

    def attach(self, endpoint: Endpoint) -> None:
        """Let what comes this way reach `endpoint`."""
        ...

    def detach(self) -> None:
        """Forget the path. Idempotent."""
        ...


class Endpoint(Protocol):
    """What a path needs to know of a peer."""

    ice: IceLite[Path]

    def authentic_check(self, now: float) -> None:
        """Take note that the peer proved to be there, on the path that its ICE agent now has selected."""
        ...

    def handle_dtls(self, data: bytes) -> None:
        """Take one DTLS datagram."""
        ...

    def crashed(self, error: Exception) -> None:
        """End: handling what came has failed, by a bug of ours. Never raises."""
        ...

    def handle_srtp(self, datagrams: Sequence[bytes], now: float) -> None:
        """Take SRTP and SRTCP datagrams, as they came."""
        ...
