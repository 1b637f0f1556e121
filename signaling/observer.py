"""Observer: whoever is shown what the service decides and what the engine tells, and changes nothing. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sfu

    from .effects import Effect
    from .inputs import RoomsEvent


class Observer(Protocol):
    """Looks on. `now` is seconds of the clock of `Rooms.handle`. A bug in one is logged and harms nobody."""

    def decided(self, event: RoomsEvent, effects: Sequence[Effect], now: float) -> None:
        """See an event and what follows from it, which is carried out next; the rooms' state is the one after it."""
        ...

    def media(self, event: sfu.EngineEvent, now: float) -> None:
        """See an event of the engine, before the rooms do."""
        ...
