"""ReceiveStats: what a receiver report says about one source (RFC 3550 sections 6.4.1, A.1, A.3 and A.8)."""

from __future__ import annotations

from typing import NamedTuple

from sfu.rtp.rtcp import ReportBlock, middle_32
from sfu.rtp.sequence import timestamp_delta

DUPLICATE_WINDOW_PACKETS = 512
"""How far back a duplicate is known as one, and how far before the first packet one may still come."""
MAX_DROPOUT_PACKETS = 3000
"""A larger jump is a restart of the source, not a loss (RFC 3550 section A.1)."""
MAX_JITTER_STEP_SECONDS = 5.0
"""A larger difference of transit times is a jump of a clock or a pause, not jitter."""

_WINDOW_MASK = (1 << DUPLICATE_WINDOW_PACKETS) - 1
_JITTER_GAIN = 1 / 16
_MAX_LOST = 0x7FFFFF
_MIN_LOST = -0x800000


class SenderClock(NamedTuple):
    """What the last sender report said: a wall clock time and the RTP timestamp of the same moment."""

    ntp_time: int
    rtp_timestamp: int
    arrival: float


class ReceiveStats:
    """Count one source's packets and tell its loss and jitter; `clock_rate` is in Hz.

    Duplicates count as received, as RFC 3550 has it, so `lost` may be negative.
    """

    __slots__ = (
        "_base",
        "_clock_rate",
        "_cycle_start",
        "_duplicates",
        "_highest",
        "_jitter",
        "_last_arrival",
        "_last_timestamp",
        "_received",
        "_reported_expected",
        "_reported_received",
        "_restarts",
        "_sender_clock",
        "_window",
    )

    def __init__(self, clock_rate: int) -> None:
        if clock_rate <= 0:
            raise ValueError(f"clock_rate is {clock_rate} Hz, it must be positive")
        self._clock_rate = clock_rate
        self._base = -1
        self._cycle_start = 0
        self._highest = -1
        self._window = 0
        """Bit n is set when the packet n below the highest has come."""
        self._received = 0
        self._duplicates = 0
        self._restarts = 0
        self._jitter = 0.0
        self._last_arrival: float | None = None
        self._last_timestamp = 0
        self._reported_expected = 0
        self._reported_received = 0
        self._sender_clock: SenderClock | None = None

    @property
    def received(self) -> int:
        """Packets that came, duplicates and recovered ones included."""
        return self._received

    @property
    def expected(self) -> int:
        """Packets that the sequence numbers say were sent."""
        return self._highest - self._base + 1 if self._received else 0

    @property
    def lost(self) -> int:
        """Packets expected less those received; negative when duplicates outnumber losses."""
        return self.expected - self._received

    @property
    def duplicates(self) -> int:
        """Packets that came again within the last 512 numbers."""
        return self._duplicates

    @property
    def restarts(self) -> int:
        """Jumps forward too large to be a loss."""
        return self._restarts

    @property
    def jitter_seconds(self) -> float:
        """Mean deviation of transit times."""
        return self._jitter / self._clock_rate

    @property
    def sender_clock(self) -> SenderClock | None:
        """What the last sender report said, or None before the first."""
        return self._sender_clock

    def add(self, sequence: int, timestamp: int, arrival: float, *, recovered: bool = False) -> None:
        """Count a packet by its extended number; `arrival` is in seconds.

        One that a retransmission brought is `recovered`: it tells nothing of jitter.
        """
        self._received += 1
        ahead = sequence - self._highest
        if ahead > 0:
            self._advance(sequence, ahead)
        elif -ahead < DUPLICATE_WINDOW_PACKETS:
            bit = 1 << -ahead
            if self._window & bit:
                self._duplicates += 1
            self._window |= bit
            self._base = min(self._base, sequence)
        if not recovered:
            self._note_transit(timestamp, arrival)

    def _advance(self, sequence: int, ahead: int) -> None:
        if self._highest < 0:
            self._base = sequence
            self._cycle_start = sequence & ~0xFFFF
            self._window = 1
        elif ahead > MAX_DROPOUT_PACKETS:
            self._base += ahead - 1
            self._restarts += 1
            self._window = 1
        else:
            self._window = (self._window << ahead | 1) & _WINDOW_MASK
        self._highest = sequence

    def _note_transit(self, timestamp: int, arrival: float) -> None:
        last_arrival = self._last_arrival
        if last_arrival is not None:
            elapsed = (arrival - last_arrival) * self._clock_rate
            step = abs(elapsed - timestamp_delta(timestamp, self._last_timestamp))
            if step < MAX_JITTER_STEP_SECONDS * self._clock_rate:
                self._jitter += (step - self._jitter) * _JITTER_GAIN
        self._last_arrival = arrival
        self._last_timestamp = timestamp

    def sender_report(self, ntp_time: int, rtp_timestamp: int, now: float) -> None:
        """Note a sender report of this source, for the next report block and for `sender_clock`."""
        self._sender_clock = SenderClock(ntp_time, rtp_timestamp, now)

    def report_block(self, ssrc: int, now: float) -> ReportBlock:
        """Return the report on this source and begin the next report's interval."""
        expected, received = self.expected, self._received
        expected_now = expected - self._reported_expected
        lost_now = expected_now - (received - self._reported_received)
        self._reported_expected, self._reported_received = expected, received
        fraction = min((lost_now << 8) // expected_now, 255) if lost_now > 0 and expected_now > 0 else 0
        last_sr = delay = 0
        if self._sender_clock is not None:
            last_sr = middle_32(self._sender_clock.ntp_time)
            delay = min(max(int((now - self._sender_clock.arrival) * 65536), 0), 0xFFFFFFFF)
        return ReportBlock(
            ssrc=ssrc,
            fraction_lost=fraction,
            packets_lost=min(max(expected - received, _MIN_LOST), _MAX_LOST),
            highest_sequence=max(self._highest - self._cycle_start, 0) & 0xFFFFFFFF,
            jitter=min(int(self._jitter), 0xFFFFFFFF),
            last_sr=last_sr,
            delay_since_last_sr=delay,
        )
