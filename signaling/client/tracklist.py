"""Which tracks an offer of the server has: aiortc itself names a track once, when its m-line first appears."""

from __future__ import annotations

from typing import NamedTuple

from aiortc.sdp import SessionDescription

MEDIA_KINDS = ("audio", "video")
SENDING = ("sendrecv", "sendonly")


class OfferedTrack(NamedTuple):
    """A track that the offer will send."""

    mid: str
    """Of the m-line, which may carry another track in a later offer (RFC 8829 section 5.2.2)."""
    id: str
    """From `a=msid`: the publisher's own."""
    kind: str
    codec: str | None
    """The first in the list, which is the one used."""


def offered_tracks(sdp: str) -> list[OfferedTrack]:
    """Return the tracks that an offer sends, in its order; raise `ValueError` for what is no SDP."""
    description = SessionDescription.parse(sdp)
    tracks = []
    for media in description.media:
        if media.kind not in MEDIA_KINDS or media.port == 0 or media.direction not in SENDING:
            continue
        codec = media.rtp.codecs[0].name if media.rtp.codecs else None
        tracks.append(
            OfferedTrack(media.rtp.muxId, description.webrtc_track_id(media) or media.rtp.muxId, media.kind, codec)
        )
    return tracks
