"""Source: a light publisher. Plays the clip in real time, as libwebrtc puts it on the wire."""

from __future__ import annotations

import secrets
import struct
import time
from collections import deque
from typing import TYPE_CHECKING

from sfu.rtp.extensions import abs_send_time, encode_extensions
from sfu.rtp.ntp import to_ntp
from sfu.rtp.packet import build_packet, parse_header, wrap_rtx
from sfu.rtp.rtcp import FullIntraRequest, Nack, PictureLossIndication, RtcpError, SenderReport, parse_rtcp

from . import sdp
from .clip import AUDIO_CLOCK_RATE, AUDIO_FRAME_SECONDS, MAX_RTP_PAYLOAD_BYTES, VIDEO_CLOCK_RATE
from .light import LightPeer

if TYPE_CHECKING:
    import asyncio

    from sfu.transport.dtls import Certificate

    from .clip import Clip

HISTORY_PACKETS = 1024
"""Video packets kept for retransmission: five seconds."""
MIN_KEYFRAME_SECONDS = 0.3
"""Between keyframes made on request, as in libwebrtc."""
TAIL_BYTES = 16
"""Of a payload: they tell packets apart, whatever a server does to their headers."""
MAX_LATENESS_SAMPLES = 100_000
TRANSPORT_SEQUENCE_MODULUS = 1 << 16
FLOOD_PAYLOAD = b"\x80\x80\x80\x00" + bytes(MAX_RTP_PAYLOAD_BYTES - 4)
"""A full packet from the middle of a VP8 frame (RFC 7741 section 4.2)."""
SEQUENCE_OFFSET = 2
"""In an RTP packet (RFC 3550 section 5.1)."""
TRANSPORT_SEQUENCE_OFFSET = 21
"""Of its value in our packets: after the fixed header, the extension's start, abs-send-time and one byte of its own."""

_pack_sequence = struct.Struct("!H").pack_into


class Source(LightPeer):
    """Publish the clip; `phase` in seconds shifts many sources against each other."""

    def __init__(
        self,
        host: str,
        certificate: Certificate,
        clip: Clip,
        *,
        phase: float = 0.0,
        ignore_pli: bool = False,
        via: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(host, certificate, via=via)
        self.ssrcs = (secrets.randbits(31), secrets.randbits(31), secrets.randbits(31))
        """Of audio, video and RTX."""
        # Counted for the results.
        self.packets = 0
        """RTP packets sent, retransmissions apart."""
        self.keyframe_requests = 0
        self.nacked = 0
        self.frames: dict[int, float] = {}
        """When each frame was sent, by its picture id; as many as there are picture ids."""
        self.send_times: dict[bytes, float] = {}
        """Unix time at which each payload was last sent, by its tail; as many as the clip has packets."""
        self.lateness: deque[float] = deque(maxlen=MAX_LATENESS_SAMPLES)
        """Seconds by which frames left later than they should."""
        self._clip = clip
        self._phase = phase
        self._ignore_pli = ignore_pli
        self._started = 0.0
        self._frame_index = 0
        self._wants_keyframe = False
        self._last_keyframe = 0.0
        self._frames_sent = 0
        self._audio_sent = 0
        self._sequence = [secrets.randbelow(30_000) for _ in range(4)]
        self._timestamp_base = [secrets.randbits(31) for _ in range(2)]
        self._transport_sequence = 0
        self._octets = [0, 0]
        self._counts = [0, 0]
        self._history: dict[int, bytes] = {}
        self._pacer: asyncio.TimerHandle | None = None

    def offer(self) -> str:
        """Return the offer to publish."""
        return sdp.offer(self.local, "sendonly", self.ssrcs)

    def connected(self) -> None:
        """Begin to play."""
        self._started = self._loop.time() + self._phase
        self._schedule()

    async def close(self) -> None:
        """Stop playing, then close."""
        if self._pacer is not None:
            self._pacer.cancel()
        await super().close()

    def report(self) -> None:
        """Send a sender report for each stream."""
        now, unix = self._loop.time(), time.time()
        for stream, rate in enumerate((AUDIO_CLOCK_RATE, VIDEO_CLOCK_RATE)):
            timestamp = self._timestamp_base[stream] + int((now - self._started) * rate) & 0xFFFFFFFF
            counts = self._counts[stream], self._octets[stream] & 0xFFFFFFFF
            self.send_rtcp(SenderReport(self.ssrcs[stream], to_ntp(unix), timestamp, *counts).encode())

    def handle_media(self, data: memoryview) -> None:
        """Read the server's RTCP."""
        if not 192 <= data[1] <= 223:
            return
        plain = self.transport.unprotect_rtcp(bytes(data))
        if plain is None:
            return
        try:
            packets = parse_rtcp(plain)
        except RtcpError:
            return
        for packet in packets:
            if isinstance(packet, Nack):
                self._answer_nack(packet)
            elif isinstance(packet, PictureLossIndication | FullIntraRequest):
                self.keyframe_requests += 1
                self._wants_keyframe = not self._ignore_pli

    def burst(self, count: int) -> None:
        """Send so many more video packets at once, valid but no frames of the clip: a device that floods.

        What goes astray has numbers of its own, so that neither server nor viewers miss it in the clip.
        """
        stream, ssrc = (1, self.ssrcs[1]) if self.astray is None else (3, self.ssrcs[1] ^ 1)
        timestamp = self._timestamp_base[1] + int((self._loop.time() - self._started) * VIDEO_CLOCK_RATE)
        # One packet, patched: making each anew would take the load most of a core at 20,000 a second.
        packet = bytearray(
            build_packet(
                payload_type=sdp.VP8_PAYLOAD_TYPE,
                sequence_number=0,
                timestamp=timestamp & 0xFFFFFFFF,
                ssrc=ssrc,
                marker=False,
                extensions=self._extensions(1, time.time()),
                payload=FLOOD_PAYLOAD,
            )
        )
        for _ in range(count):
            self._sequence[stream] = self._sequence[stream] + 1 & 0xFFFF
            _pack_sequence(packet, SEQUENCE_OFFSET, self._sequence[stream])
            if self.astray is None:
                self._transport_sequence = (self._transport_sequence + 1) % TRANSPORT_SEQUENCE_MODULUS
                _pack_sequence(packet, TRANSPORT_SEQUENCE_OFFSET, self._transport_sequence)
            self.send_flooding(self.transport.protect(bytes(packet)))
        if self.astray is None:
            self.packets += count

    def _schedule(self) -> None:
        video = self._started + self._frames_sent / self._clip.settings.frames_per_second
        audio = self._started + self._audio_sent * AUDIO_FRAME_SECONDS
        self._pacer = self._loop.call_at(min(video, audio), self._play)

    def _play(self) -> None:
        """Send what is due."""
        if self.closed:
            return
        now = self._loop.time()
        rate = self._clip.settings.frames_per_second
        while (due := self._started + self._frames_sent / rate) <= now:
            self.lateness.append(now - due)
            self._send_frame(now)
        while self._started + self._audio_sent * AUDIO_FRAME_SECONDS <= now:
            self._send_audio()
        self._schedule()

    def _send_frame(self, now: float) -> None:
        if self._wants_keyframe and now - self._last_keyframe >= MIN_KEYFRAME_SECONDS:
            self._wants_keyframe = False
            self._frame_index = self._clip.next_keyframe(self._frame_index)
        frame = self._clip.video[self._frame_index]
        self._frame_index = (self._frame_index + 1) % len(self._clip.video)
        if frame.keyframe:
            self._last_keyframe = now
        picture = self._frames_sent & 0x7FFF
        timestamp = (
            self._timestamp_base[1] + self._frames_sent * VIDEO_CLOCK_RATE // self._clip.settings.frames_per_second
        )
        self.frames[picture] = now
        self._frames_sent += 1
        # VP8 payload descriptor (RFC 7741 section 4.2): X, S on the first; I; a 15-bit picture id.
        rest = b"\x80" + (0x8000 | picture).to_bytes(2, "big")
        last = len(frame.chunks) - 1
        for number, chunk in enumerate(frame.chunks):
            start = b"\x80" if number else b"\x90"
            self._send_packet(1, timestamp, start + rest + chunk, marker=number == last)

    def _send_audio(self) -> None:
        audio = self._clip.audio
        timestamp = self._timestamp_base[0] + int(self._audio_sent * AUDIO_FRAME_SECONDS * AUDIO_CLOCK_RATE)
        payload = audio[self._audio_sent % len(audio)]
        self._audio_sent += 1
        self._send_packet(0, timestamp, payload, marker=False)

    def _send_packet(self, stream: int, timestamp: int, payload: bytes, *, marker: bool) -> None:
        sequence = self._sequence[stream] = self._sequence[stream] + 1 & 0xFFFF
        unix = time.time()
        packet = build_packet(
            payload_type=sdp.VP8_PAYLOAD_TYPE if stream else sdp.OPUS_PAYLOAD_TYPE,
            sequence_number=sequence,
            timestamp=timestamp & 0xFFFFFFFF,
            ssrc=self.ssrcs[stream],
            marker=marker,
            extensions=self._extensions(stream, unix),
            payload=payload,
        )
        if stream:
            self._history[sequence] = packet
            if len(self._history) > HISTORY_PACKETS:
                del self._history[next(iter(self._history))]
        self._counts[stream] += 1
        self._octets[stream] += len(payload)
        self.packets += 1
        self.send_times[payload[-TAIL_BYTES:]] = time.time()
        self.send(self.transport.protect(packet))

    def _extensions(self, stream: int, unix: float) -> bytes:
        self._transport_sequence = (self._transport_sequence + 1) % TRANSPORT_SEQUENCE_MODULUS
        return encode_extensions(
            (
                (sdp.ABS_SEND_TIME_ID, abs_send_time(unix)),
                (sdp.TRANSPORT_CC_ID, self._transport_sequence.to_bytes(2, "big")),
                (sdp.MID_ID, b"1" if stream else b"0"),
            )
        )

    def _answer_nack(self, nack: Nack) -> None:
        for lost in nack.lost:
            packet = self._history.get(lost)
            if packet is None or nack.media_ssrc != self.ssrcs[1]:
                continue
            self.nacked += 1
            sequence = self._sequence[2] = self._sequence[2] + 1 & 0xFFFF
            again = wrap_rtx(
                packet,
                parse_header(packet),
                payload_type=sdp.RTX_PAYLOAD_TYPE,
                sequence_number=sequence,
                ssrc=self.ssrcs[2],
            )
            self.send(self.transport.protect(again))
