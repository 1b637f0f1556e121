"""Fuzz what is read in payloads: keyframes and picture sizes of every codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from sfu.rtp.codecs import is_keyframe, keyframe_size

from .harness import Target
from .mutators import mutate_bytes

if TYPE_CHECKING:
    from random import Random

CODECS = ("VP8", "VP9", "H264", "H265", "AV1")
TOKENS = (
    *(
        b"\x9d\x01\x2a",
        b"\x49\x83\x42",
        b"\x67\x42\xc0\x1f",
        b"\x67\x64\x00\x1f",
        b"\x78\0\x10",
        b"\x7c\x85",
        b"\x60\x01",
    ),
    *(b"\x90\x80", b"\x8f\xff", b"\x18\0\1", b"\0\0\3", b"\x80\x80\x80\x80", b"\x0a", b"\0" * 8, b"\xff" * 8),
)


def one_input(data: bytes) -> None:
    """Look at a payload as every codec. Nothing is raised: what makes no sense is False or None."""
    for codec in CODECS:
        found = is_keyframe(codec, data)
        assert found in {True, False}
        assert is_keyframe(codec, memoryview(data)) is found
        size = keyframe_size(codec, data)
        assert size is None or (0 < size[0] <= 0x10000 and 0 < size[1] <= 0x10000), (codec, size)
        assert keyframe_size(codec, memoryview(data)) == size
    assert is_keyframe("unheard-of", data) is None


def mutate(rng: Random, corpus: list[bytes]) -> bytes:
    """Change bytes of an encoder's payload."""
    return mutate_bytes(rng, corpus, TOKENS)


strategy = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=8), max_size=8).map(b"".join)
TARGET = Target("payloads", one_input, mutate, strategy)
