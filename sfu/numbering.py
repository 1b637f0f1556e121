"""Numbering: what a feed's viewers know its tracks by, whatever numbers the publisher's connections use. Pure.

Packets reach viewers with the publisher's own payload types, header extension ids and MID. Viewers were told them once,
while a publisher may come back on another connection, or add a track, with numbers that mean something else by now.
`Numbering` keeps the first meaning of each, and `Translation` changes packets where a publisher's differ.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .negotiation import DYNAMIC_PAYLOAD_TYPES, retransmission_codec
from .rtp.extensions import MID, renumber_extensions
from .values import SdpError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .parameters import Codec, TrackParameters
    from .rtp.packet import RtpHeader

_MAX_EXTENSION_ID: Final = 14
"""Of the one-byte form (RFC 8285 section 4.2), which is the only one that every viewer reads."""
_MAX_DECIMAL_MID_DIGITS: Final = 9


def continues(old: TrackParameters, new: TrackParameters) -> bool:
    """Tell whether viewers of `old` can go on with `new`: the same codecs, whatever their numbers."""
    if old.kind != new.kind or dict(old.codec.parameters) != dict(new.codec.parameters):
        return False
    return {_meaning(codec)[:4] for codec in old.codecs} == {_meaning(codec)[:4] for codec in new.codecs}


def match_tracks(
    old: Sequence[TrackParameters], new: Sequence[TrackParameters], *, same_connection: bool
) -> tuple[int | None, ...]:
    """Return for each of `new` which of `old` it goes on with, by index; None for a track that is added.

    Tracks are told by their ids. On another connection, a kind of which there are as many tracks as before is also
    matched in order: a phone that changes its network makes new ids for the same camera.
    """
    free = dict(enumerate(old))
    matches: list[int | None] = []
    for track in new:
        same_id = (index for index, other in free.items() if other.track_id == track.track_id)
        found = next((index for index in same_id if continues(old[index], track)), None)
        if found is not None:
            del free[found]
        matches.append(found)
    if same_connection:
        return tuple(matches)
    kinds_before, kinds_now = [track.kind for track in old], [track.kind for track in new]
    for position, track in enumerate(new):
        if matches[position] is None and kinds_before.count(track.kind) == kinds_now.count(track.kind):
            # The first free one or none: to pass one over would put cameras in each other's place.
            first = next((i for i, other in free.items() if other.kind == track.kind), None)
            if first is not None:
                before = free.pop(first)
                matches[position] = first if continues(before, track) else None
    return tuple(matches)


class Numbering:
    """Give each track of one feed a MID, payload types and extension ids that mean one thing for the feed's life."""

    def __init__(self) -> None:
        self._names: frozenset[str] | None = None
        """The mids of the first publication; None before."""
        self._highest_mid = -1
        self._made_mids = 0
        self._payload_types: dict[int, tuple[object, ...]] = {}
        self._extensions: dict[str, int] = {}

    def assign(self, sources: Sequence[TrackParameters]) -> tuple[TrackParameters, ...]:
        """Return what viewers are offered for tracks that are new to the feed: the publisher's own numbers if free.

        Raises `SdpError` when a number is needed and none is left.
        """
        if self._names is None:
            self._names = frozenset(source.mid for source in sources)
            self._highest_mid = max((int(mid) for mid in self._names if _is_decimal(mid)), default=-1)
            mids = [source.mid for source in sources]
        else:
            mids = [self._mid(source.mid) for source in sources]
        return tuple(self._numbered(source, mid) for source, mid in zip(sources, mids, strict=True))

    def _numbered(self, source: TrackParameters, mid: str) -> TrackParameters:
        primary = self._codec(source.codec)
        codecs = tuple(
            primary if codec is source.codec else self._codec(_wrapping(codec, primary)) for codec in source.codecs
        )
        numbered = replace(source, mid=mid, codecs=codecs, rtx=None, extensions=self._extension_ids(source.extensions))
        # Chosen here and not for each viewer, so that no later track can be given the same number.
        rtx = source.rtx or retransmission_codec(numbered, set(self._payload_types))
        if rtx is not None:
            rtx = self._codec(replace(rtx, parameters=(("apt", primary.payload_type),)))
        return replace(numbered, rtx=rtx)

    def _codec(self, codec: Codec) -> Codec:
        """Return the codec under the number that it has had, or its own, or else a free one."""
        meaning = _meaning(codec)
        known = (number for number, its in self._payload_types.items() if its == meaning)
        free = (n for n in (codec.payload_type, *DYNAMIC_PAYLOAD_TYPES) if n not in self._payload_types)
        number = next(itertools.chain(known, free), None)
        if number is None:
            raise SdpError(f"no payload type is left for {codec.name}: the feed's viewers know all by other meanings")
        self._payload_types[number] = meaning
        return replace(codec, payload_type=number)

    def _extension_ids(self, offered: Mapping[str, int]) -> dict[str, int]:
        """Return an id for each extension; one for which none is left is not offered, and so taken out of packets."""
        ids: dict[str, int] = {}
        for uri, own in offered.items():
            if uri not in self._extensions:
                taken = set(self._extensions.values())
                choices = (number for number in (own, *range(1, _MAX_EXTENSION_ID + 1)) if number not in taken)
                number = next(choices, None)
                if number is None:
                    continue
                self._extensions[uri] = number
            ids[uri] = self._extensions[uri]
        return ids

    def _mid(self, own: str) -> str:
        """Return the publisher's own mid where it cannot have been used before, which counted ones show, or a new one.

        Remembering each used one would grow for as long as the feed lives.
        """
        assert self._names is not None  # noqa: S101  the first publication has been numbered
        if _is_decimal(own) and int(own) > self._highest_mid:
            self._highest_mid = int(own)
            return own
        while True:
            self._made_mids += 1
            made = f"t{self._made_mids}"
            if made not in self._names:
                return made


@dataclass(frozen=True, slots=True)
class Translation:
    """How one track's packets are to be changed so that they carry what viewers were told."""

    payload_types: Mapping[int, int]
    extensions: Mapping[int, int]
    """Ids of the publisher's connection to those of viewers; what is not named is taken out."""

    def apply(self, data: bytes, header: RtpHeader) -> bytes:
        """Return the packet with other numbers; a payload type that was not negotiated stays and is refused later."""
        number = self.payload_types.get(header.payload_type, header.payload_type)
        renumbered = bytearray(data)
        renumbered[1] = data[1] & 0x80 | number
        renumber_extensions(renumbered, header, self.extensions)
        return bytes(renumbered)


def translation(source: TrackParameters, known: TrackParameters) -> Translation | None:
    """Return how to make packets of `source` those of the track `known` to viewers; None where they are that already.

    The two have to `continue` each other.
    """
    numbers = {_meaning(codec)[:4]: codec.payload_type for codec in known.codecs}
    payload_types = {codec.payload_type: numbers[_meaning(codec)[:4]] for codec in source.codecs}
    extensions = {
        own: known.extensions[uri]
        for uri, own in source.extensions.items()
        if uri in known.extensions and (uri != MID or source.mid == known.mid)
    }
    same = all(own == theirs for own, theirs in (*payload_types.items(), *extensions.items()))
    if same and len(extensions) == len(source.extensions):
        return None
    return Translation(payload_types, extensions)


def _meaning(codec: Codec) -> tuple[object, ...]:
    return (codec.name.lower(), codec.kind, codec.clock_rate, codec.channels, frozenset(codec.parameters))


def _wrapping(codec: Codec, primary: Codec) -> Codec:
    """Return a RED codec whose fmtp, such as `111/111`, names the number that `primary` got."""
    number = str(primary.payload_type)
    parameters = tuple(("/".join([number] * (name.count("/") + 1)), value) for name, value in codec.parameters)
    return replace(codec, parameters=parameters)


def _is_decimal(mid: str) -> bool:
    return mid.isascii() and mid.isdigit() and len(mid) <= _MAX_DECIMAL_MID_DIGITS and str(int(mid)) == mid
