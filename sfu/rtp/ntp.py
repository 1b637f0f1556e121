"""NTP time as RTCP carries it (RFC 3550 section 4): 32 bits of seconds since 1900, 32 bits of their fraction."""

from __future__ import annotations

NTP_UNIX_OFFSET_SECONDS = 2_208_988_800
"""From 1900, where NTP time begins, to 1970."""

_FRACTION = 0x1_0000_0000


def to_ntp(unix_seconds: float) -> int:
    """Return a Unix time as 64-bit NTP time (RFC 3550 section 4)."""
    seconds = int(unix_seconds // 1)
    fraction = int((unix_seconds - seconds) * _FRACTION)
    return (seconds + NTP_UNIX_OFFSET_SECONDS & 0xFFFFFFFF) << 32 | fraction


def from_ntp(ntp_time: int) -> float:
    """Return a 64-bit NTP time as Unix time in seconds."""
    return (ntp_time >> 32) - NTP_UNIX_OFFSET_SECONDS + (ntp_time & 0xFFFFFFFF) / _FRACTION


def middle_32(ntp_time: int) -> int:
    """Return the middle 32 bits of an NTP time: seconds modulo 65536 in units of 1/65536 s."""
    return ntp_time >> 16 & 0xFFFFFFFF
