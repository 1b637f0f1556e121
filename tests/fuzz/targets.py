"""Every target by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import answers, events, frames, media, offers, payloads, rtcp, rtp, stun, tcp

if TYPE_CHECKING:
    from .harness import Target

TARGETS: dict[str, Target] = {
    module.TARGET.name: module.TARGET
    for module in (events, frames, offers, answers, stun, rtp, rtcp, payloads, tcp, media)
}
