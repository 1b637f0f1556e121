"""Feedback on bandwidth: what we tell a publisher (transport-wide CC), what a viewer tells us (reports, REMB)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from sfu.rtp.feedback_chunks import MAX_LARGE_DELTA, MIN_LARGE_DELTA
from sfu.rtp.rtcp import TransportFeedback
from sfu.rtp.sequence import SequenceUnwrapper

if TYPE_CHECKING:
    from sfu.rtp.rtcp import ReportBlock

FEEDBACK_INTERVAL_SECONDS = 0.1
"""From the first new packet to its feedback. libwebrtc sends every 50 to 250 ms, most at 100."""
BACK_WINDOW_SECONDS = 0.5
"""How long arrivals are remembered at least, and at most twice as long, after they were reported, so that a packet
that comes late can be reported among its neighbours without calling those lost (as libwebrtc does)."""
MAX_RECORDED_PACKETS = 16384
"""Arrivals remembered: a second at 16,000 packets a second."""
MAX_STATUSES_PER_FEEDBACK = 400
"""In the worst case, two bytes of delta each and a chunk for every seven, 0.93 kB: it fits any path."""
MAX_SENT_REPORTS = 8
"""Sender reports remembered to measure round trips: some 8 s at one a second; a later answer tells nothing of now."""
FEEDBACK_WINDOW_PACKETS = 2048
"""Over which transport-wide loss is counted before old packets weigh half: some seconds of video."""
MAX_ROUND_TRIP_SECONDS = 10.0
"""A longer one is an error of the reporter's clock."""

_TICKS_PER_SECOND = 4000
_TICKS_PER_REFERENCE = 256


class TransportFeedbackRecorder:
    """Record when a publisher's packets arrive and make the transport-wide feedback about them.

    Times are seconds of any steady clock, the same for arrivals and for `now`.
    """

    __slots__ = (
        "_arrivals",
        "_arrivals_since",
        "_deadline",
        "_feedback_count",
        "_floor",
        "_highest",
        "_ignored",
        "_new",
        "_older_arrivals",
        "_start",
        "_told_to",
        "_unwrapper",
    )

    def __init__(self) -> None:
        self._unwrapper = SequenceUnwrapper()
        self._arrivals: dict[int, int] = {}
        """Arrival in 250 us of each extended number."""
        self._older_arrivals: dict[int, int] = {}
        """Those of the window before: so they are forgotten all at once and not one by one."""
        self._arrivals_since = 0.0
        """When the present window of arrivals began."""
        self._highest = -1
        self._start: int | None = None
        """The lowest number that the next feedback tells about; None before the first packet."""
        self._new: list[int] = []
        """Extended numbers since the last feedback."""
        self._told_to = 0
        """The last feedback told about every number below it."""
        self._floor = 0
        """Below it arrivals have been forgotten, so nothing can be told any more."""
        self._deadline: float | None = None
        """When feedback is due; None while there is nothing new."""
        self._feedback_count = 0
        self._ignored = 0

    @property
    def ignored(self) -> int:
        """Packets that came too late to be reported, or while too many were recorded already."""
        return self._ignored

    def add(self, sequence16: int, arrival: float) -> bool:
        """Record the arrival of a packet by its transport-wide number; of duplicates the first counts.

        Returns whether `next_deadline` has changed.
        """
        sequence = self._unwrapper.unwrap(sequence16)
        if sequence <= self._highest and (sequence in self._arrivals or sequence in self._older_arrivals):
            return False
        if sequence < self._floor or len(self._arrivals) + len(self._older_arrivals) >= MAX_RECORDED_PACKETS:
            self._ignored += 1
            return False
        if self._highest < 0:
            self._arrivals_since = arrival
        self._highest = max(self._highest, sequence)
        self._arrivals[sequence] = int(arrival * _TICKS_PER_SECOND)
        self._new.append(sequence)
        if self._start is None or sequence < self._start:
            self._start = sequence
        if self._deadline is None:
            self._deadline = arrival + FEEDBACK_INTERVAL_SECONDS
            return True
        return False

    def due(self, now: float) -> bool:
        """Tell whether to build and send feedback now."""
        return self._deadline is not None and now >= self._deadline

    def next_deadline(self) -> float | None:
        """Return when feedback will be due, or None while there is nothing to tell."""
        return self._deadline

    def build(self, now: float, sender_ssrc: int, media_ssrc: int) -> list[TransportFeedback]:
        """Return the feedback on what came since the last call, in as many packets as it needs, or none."""
        self._deadline = None
        feedback: list[TransportFeedback] = []
        start = self._start
        if start is not None:
            # A packet that came late is told about among its neighbours, which are looked for only then.
            late = start < self._told_to
            known = {**self._older_arrivals, **self._arrivals} if late else self._arrivals
            received = sorted(number for number in known if number >= start) if late else sorted(self._new)
            self._new = []
            position = 0
            while position < len(received):
                base, position, reference_time, arrivals = _take(known, received, position, start)
                feedback.append(
                    TransportFeedback(
                        sender_ssrc, media_ssrc, base & 0xFFFF, reference_time, self._feedback_count, arrivals
                    )
                )
                self._feedback_count = (self._feedback_count + 1) & 0xFF
                start = base + len(arrivals)
            self._start = self._told_to = start
        windows = int((now - self._arrivals_since) / BACK_WINDOW_SECONDS)
        for _ in range(min(windows, 2)):
            self._begin_window(now)
        return feedback

    def _begin_window(self, now: float) -> None:
        """Forget the older window of arrivals; the present one becomes that."""
        self._floor = max(self._floor, max(self._older_arrivals, default=-1) + 1)
        self._older_arrivals, self._arrivals = self._arrivals, {}
        self._arrivals_since = now


def _take(
    known: dict[int, int], received: list[int], position: int, start: int
) -> tuple[int, int, int, tuple[int | None, ...]]:
    """Fill one packet from `received[position]` on; return its base, the next position, its time and arrivals."""
    first = received[position]
    # Losses since the last feedback are told too, unless the source has jumped: those numbers were never sent.
    base = start if first - start < MAX_STATUSES_PER_FEEDBACK else first
    reference = known[first] // _TICKS_PER_REFERENCE
    previous = reference * _TICKS_PER_REFERENCE
    statuses: list[int | None] = []
    while position < len(received):
        sequence = received[position]
        skipped = sequence - base - len(statuses)
        delta = known[sequence] - previous
        if len(statuses) + skipped >= MAX_STATUSES_PER_FEEDBACK or not MIN_LARGE_DELTA <= delta <= MAX_LARGE_DELTA:
            break
        statuses += [None] * skipped
        statuses.append(delta)
        previous += delta
        position += 1
    return base, position, reference & 0xFFFFFF, tuple(statuses)


class ReceiverEstimate:
    """Keep what a viewer reports about what it receives."""

    __slots__ = (
        "_bitrate",
        "_bitrate_at",
        "_feedback_lost",
        "_feedback_received",
        "_fraction_lost",
        "_highest_sequence",
        "_jitter_seconds",
        "_packets_lost",
        "_reported_at",
        "_round_trip",
        "_sent_reports",
    )

    def __init__(self) -> None:
        self._bitrate: int | None = None
        self._bitrate_at: float | None = None
        self._fraction_lost = 0.0
        self._packets_lost = 0
        self._feedback_received = 0
        self._feedback_lost = 0
        self._highest_sequence = 0
        self._jitter_seconds = 0.0
        self._reported_at: float | None = None
        self._round_trip: float | None = None
        self._sent_reports: OrderedDict[int, float] = OrderedDict()
        """When the sender report with these middle 32 bits of NTP time was sent."""

    @property
    def bitrate(self) -> int | None:
        """The last REMB in bit/s, or None before the first."""
        return self._bitrate

    @property
    def bitrate_at(self) -> float | None:
        """When the last REMB came."""
        return self._bitrate_at

    @property
    def fraction_lost(self) -> float:
        """Loss in the last report's interval, 0 to 1."""
        return self._fraction_lost

    @property
    def packets_lost(self) -> int:
        """Packets lost since the beginning, as the last report has it."""
        return self._packets_lost

    @property
    def highest_sequence(self) -> int:
        """Extended highest sequence number of the last report."""
        return self._highest_sequence

    @property
    def jitter_seconds(self) -> float:
        """Jitter of the last report."""
        return self._jitter_seconds

    @property
    def reported_at(self) -> float | None:
        """When the last report came, or None before the first."""
        return self._reported_at

    @property
    def round_trip(self) -> float | None:
        """The last measured round trip in seconds, or None before the first."""
        return self._round_trip

    @property
    def transport_fraction_lost(self) -> float | None:
        """Loss on the whole transport by transport-wide feedback, 0 to 1 over some seconds; None before the first."""
        seen = self._feedback_received + self._feedback_lost
        return self._feedback_lost / seen if seen else None

    def on_transport_feedback(self, feedback: TransportFeedback) -> None:
        """Take which packets of the transport arrived."""
        received = sum(arrival is not None for arrival in feedback.arrivals)
        self._feedback_received += received
        self._feedback_lost += len(feedback.arrivals) - received
        if self._feedback_received + self._feedback_lost > FEEDBACK_WINDOW_PACKETS:
            self._feedback_received >>= 1
            self._feedback_lost >>= 1

    def note_sender_report(self, middle_32: int, now: float) -> None:
        """Remember when a sender report went out, by the middle 32 bits of its NTP time."""
        self._sent_reports[middle_32] = now
        self._sent_reports.move_to_end(middle_32)
        if len(self._sent_reports) > MAX_SENT_REPORTS:
            self._sent_reports.popitem(last=False)

    def on_report(self, block: ReportBlock, now: float, clock_rate: int) -> None:
        """Take the viewer's report on our stream; `clock_rate` in Hz is the stream's."""
        self._fraction_lost = block.fraction_lost / 256
        self._packets_lost = block.packets_lost
        self._highest_sequence = block.highest_sequence
        self._jitter_seconds = block.jitter / clock_rate
        self._reported_at = now
        sent_at = self._sent_reports.get(block.last_sr)
        if sent_at is not None:
            round_trip = now - sent_at - block.delay_since_last_sr / 65536
            # A little below zero is rounding; anything else out of range is a wrong clock and tells nothing.
            if -0.001 <= round_trip <= MAX_ROUND_TRIP_SECONDS:
                self._round_trip = max(round_trip, 0.0)

    def on_remb(self, bitrate: int, now: float) -> None:
        """Take the viewer's estimate of its bandwidth, in bit/s."""
        self._bitrate = bitrate
        self._bitrate_at = now
