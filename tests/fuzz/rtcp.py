"""Fuzz RTCP compounds and transport-wide feedback: what can be read can be written and read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from sfu.rtp.rtcp import (
    DelaySinceReferenceTime,
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    ReferenceTime,
    Remb,
    ReportBlock,
    RtcpError,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    encode_compound,
    parse_rtcp,
)
from sfu.rtp.rtcp_packets import MAX_FEEDBACK_STATUSES, MAX_NACKED_PACKETS

from .harness import Target
from .mutators import mutate_bytes

if TYPE_CHECKING:
    from random import Random

TOKENS = (
    *(
        b"\x81\xc8\0\6",
        b"\x81\xc9\0\7",
        b"\x81\xca\0\2",
        b"\x81\xcb\0\1",
        b"\x81\xcd\0\3",
        b"\x8f\xcd\0\5",
        b"\x80\xcf\0\4",
    ),
    *(
        b"\x81\xce\0\2",
        b"\x84\xce\0\4",
        b"\x8f\xce\0\5",
        b"REMB",
        b"\x20\0",
        b"\x3f\xff",
        b"\x60\1",
        b"\xa0",
        b"\xc0\0",
    ),
)


def one_input(data: bytes) -> None:
    """Read a compound. Documented: `RtcpError`."""
    try:
        packets = parse_rtcp(data)
    except RtcpError:
        return
    for packet in packets:
        _check(packet)


def _check(packet: RtcpPacket) -> None:
    if isinstance(packet, SourceDescription) and any("\ufffd" in name for _, name in packet.chunks):
        return  # a name that is not UTF-8 is not kept byte by byte
    if isinstance(packet, Nack):
        assert len(packet.lost) <= MAX_NACKED_PACKETS
        assert all(0 <= number <= 0xFFFF for number in packet.lost)
    if isinstance(packet, TransportFeedback):
        assert len(packet.arrivals) <= MAX_FEEDBACK_STATUSES
    (again,) = parse_rtcp(packet.encode())
    if isinstance(packet, Nack):
        assert isinstance(again, Nack)
        assert set(again.lost) == set(packet.lost)
    else:
        assert again == packet


def mutate(rng: Random, corpus: list[bytes]) -> bytes:
    """Change bytes of a client's compound; now and then ask for more packets than one may."""
    if rng.random() < 0.01:
        entries = int(rng.random() * 400)
        return b"\x81\xcd" + (2 + entries).to_bytes(2, "big") + bytes(8) + rng.randbytes(4 * entries)
    return mutate_bytes(rng, corpus, TOKENS)


_u32, _u16, _u8 = st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFF), st.integers(0, 255)
_ssrcs = st.sampled_from((1000, 1001, 111, 333))
_blocks = st.lists(
    st.builds(ReportBlock, _ssrcs, _u8, st.integers(-0x800000, 0x7FFFFF), _u32, _u32, _u32, _u32), max_size=3
).map(tuple)
_arrivals = st.lists(st.none() | st.integers(-0x8000, 0x7FFF) | st.integers(0, 9), min_size=1, max_size=40).map(tuple)
_packets: st.SearchStrategy[RtcpPacket] = st.one_of(
    st.builds(SenderReport, _ssrcs, st.integers(0, (1 << 64) - 1), _u32, _u32, _u32, _blocks),
    st.builds(ReceiverReport, _u32, _blocks),
    st.builds(SourceDescription, st.lists(st.tuples(_u32, st.text(max_size=20)), max_size=2).map(tuple)),
    st.builds(Goodbye, st.lists(_u32, max_size=3).map(tuple)),
    st.builds(Nack, _u32, _ssrcs, st.lists(_u16, max_size=20).map(tuple)),
    st.builds(PictureLossIndication, _u32, _ssrcs),
    st.builds(FullIntraRequest, _u32, st.lists(st.tuples(_ssrcs, _u8), max_size=3).map(tuple)),
    st.builds(Remb, _u32, st.integers(0, 1 << 70), st.lists(_u32, max_size=3).map(tuple)),
    st.builds(ReferenceTime, _u32, st.integers(0, (1 << 64) - 1)),
    st.builds(DelaySinceReferenceTime, _u32, _u32, _u32, _u32),
    st.builds(TransportFeedback, _u32, _ssrcs, _u16, st.integers(0, 0xFFFFFF), _u8, _arrivals),
)
compounds = st.lists(_packets, max_size=4).map(encode_compound)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(compounds))
    for _ in range(draw(st.integers(0, 3)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] = draw(_u8)
    return bytes(data[: draw(st.integers(0, len(data)))])


TARGET = Target("rtcp", one_input, mutate, compounds | _damaged())
