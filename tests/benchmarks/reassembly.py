"""Reassembly: VP8 frames out of RTP packets, and what to ask for again. Pure: every call takes `now`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.rtp.codecs import is_keyframe
from sfu.rtp.packet import RtpError, parse_header, unwrap_rtx
from sfu.rtp.rtcp import Nack, PictureLossIndication

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_KEPT_PACKETS = 2048
"""Of the newest sequence numbers: some ten seconds."""
MAX_MISSING_PACKETS = 512
RETRY_SECONDS = 0.06
"""Between two requests for one packet: a round trip of 40 ms and some."""
MAX_WAIT_SECONDS = 1.0
"""Beyond it a packet is given up and a keyframe asked for: a viewer's jitter buffer would have, too."""
REORDER_SECONDS = 0.005
MAX_NACKED_AT_ONCE = 100


class _Missing:
    __slots__ = ("next_try", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.next_try = now + REORDER_SECONDS


class Reassembly:
    """Collect one viewer's video packets into frames."""

    def __init__(self, payload_type: int, rtx_payload_type: int | None) -> None:
        self.ssrc: int | None = None
        """Of the video, None before its first packet."""
        self.keyframe_at: float | None = None
        """When the first keyframe was complete."""
        self.complete: dict[int, float] = {}
        """When each frame became complete, by its picture id."""
        self.recovered = 0
        self.given_up = 0
        self.requested = 0
        self._payload_type = payload_type
        self._rtx_payload_type = rtx_payload_type
        self._highest: int | None = None
        # (timestamp, begins a frame, ends it, begins a keyframe, picture id), by unwrapped sequence number.
        self._packets: dict[int, tuple[int, bool, bool, bool, int]] = {}
        self._missing: dict[int, _Missing] = {}
        self._wants_keyframe = False

    def add(self, plain: bytes, now: float) -> None:
        """Take one decrypted packet, whatever it is."""
        try:
            header = parse_header(plain)
            if header.payload_type == self._rtx_payload_type and self.ssrc is not None:
                original = unwrap_rtx(plain, header, payload_type=self._payload_type, ssrc=self.ssrc)
                if original is None:
                    return
                plain, header = original, parse_header(original)
                self.recovered += 1
        except RtpError:
            return
        if header.payload_type != self._payload_type:
            return
        self.ssrc = header.ssrc
        payload = plain[header.payload_offset : len(plain) - header.padding]
        sequence = self._unwrap(header.sequence_number, now)
        if len(payload) < 5 or sequence in self._packets:
            return
        self._missing.pop(sequence, None)
        picture = int.from_bytes(payload[2:4], "big") & 0x7FFF
        starts = bool(payload[0] & 0x10)
        self._packets[sequence] = (header.timestamp, starts, header.marker, bool(is_keyframe("VP8", payload)), picture)
        if len(self._packets) > MAX_KEPT_PACKETS:
            del self._packets[next(iter(self._packets))]
        self._complete_frame(sequence, now)

    def requests(self, sender_ssrc: int, now: float) -> Iterator[bytes]:
        """Yield the RTCP packets that are due."""
        if self.ssrc is None:
            return
        due: list[int] = []
        for sequence, missing in list(self._missing.items()):
            if now - missing.since > MAX_WAIT_SECONDS:
                del self._missing[sequence]
                self.given_up += 1
                self._wants_keyframe = True
            elif now >= missing.next_try and len(due) < MAX_NACKED_AT_ONCE:
                missing.next_try = now + RETRY_SECONDS
                due.append(sequence & 0xFFFF)
        if due:
            self.requested += len(due)
            yield Nack(sender_ssrc, self.ssrc, tuple(due)).encode()
        if self._wants_keyframe:
            self._wants_keyframe = False
            yield self.keyframe_request(sender_ssrc)

    def keyframe_request(self, sender_ssrc: int) -> bytes:
        """Return a picture loss indication; only once the SSRC is known."""
        return PictureLossIndication(sender_ssrc, self.ssrc or 0).encode()

    def _unwrap(self, number: int, now: float) -> int:
        """Extend a sequence number, noting the gap that it may open."""
        if self._highest is None:
            self._highest = number + 0x10000
            return self._highest
        distance = (number - self._highest + 0x8000 & 0xFFFF) - 0x8000
        sequence = self._highest + distance
        if distance > 0:
            for lost in range(max(self._highest + 1, sequence - MAX_MISSING_PACKETS), sequence):
                if len(self._missing) < MAX_MISSING_PACKETS:
                    self._missing[lost] = _Missing(now)
            self._highest = sequence
        return sequence

    def _complete_frame(self, sequence: int, now: float) -> None:
        """Note the frame of the packet when it has no hole from its start to its marker."""
        timestamp = self._packets[sequence][0]
        first = last = sequence
        while not self._packets[first][1]:
            first -= 1
            if first not in self._packets or self._packets[first][0] != timestamp:
                return
        while not self._packets[last][2]:
            last += 1
            if last not in self._packets or self._packets[last][0] != timestamp:
                return
        keyframe, picture = self._packets[first][3:]
        self.complete[picture] = now
        if keyframe and self.keyframe_at is None:
            self.keyframe_at = now
