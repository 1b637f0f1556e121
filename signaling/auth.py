"""Grants: what the bearer of a token may be, ask for and see. Pure: takes `now`, knows no sockets.

A grant is made when a client connects and holds until its socket ends: a token that expires meanwhile cuts nobody
off, it only no longer admits (section 10 of the protocol).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from . import protocol
from .protocol import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .protocol import Inbound, Outbound


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows its bearer. None means without a limit."""

    role: Role
    client_id: str
    rooms: frozenset[int] | None = None
    """Rooms it may join. A list of rooms excludes opening one: the server draws a new room's id."""
    devices: frozenset[str] | None = None
    """Client ids that a WEB may invite, watch and hear of; its own need not be named."""
    publish: bool = True
    subscribe: bool = True
    admin: bool = False
    expires: float | None = None
    """Seconds since 1970; None where no token was asked for."""

    def refuses(self, event: Inbound) -> str | None:
        """Return what of `event` is not granted, in words for the client, or None when all is."""
        rule = _RULES.get(event.event)
        if rule is not None:
            return rule(self, event)
        # An event that nobody has thought about here is not for clients whose token limits them.
        return None if self._is_unlimited() else f"the token does not grant {event.event}"

    def refuses_feed(self, publisher: str) -> str | None:
        """Return why a feed of the client `publisher` may not be watched, or None; whose it is remains unsaid."""
        return None if self.knows(publisher) else "devices: the token does not grant the device of this feed"

    def covers(self, other: Grant) -> bool:
        """Return whether this allows all that `other` does: what was begun under that may go on under this."""
        return (
            _holds_all(self.rooms, other.rooms)
            and _holds_all(self.devices, other.devices)
            and self.publish >= other.publish
            and self.subscribe >= other.subscribe
        )

    @property
    def serves(self) -> frozenset[int] | None:
        """The rooms that the bearer may publish to; None for every one."""
        return self.rooms if self.publish else frozenset()

    def knows(self, client_id: str) -> bool:
        """Return whether the bearer may learn of a publisher."""
        return self.role is Role.DEVICE or self.devices is None or client_id in self.devices or self._is_own(client_id)

    def narrow(self, event: Inbound) -> Inbound:
        """Return `event` with "every device" read as every device that is granted."""
        if isinstance(event, protocol.InviteDevices) and event.devices is None and self.devices is not None:
            return event.model_copy(update={"devices": tuple(sorted(self.devices))})
        return event

    def show(self, event: Outbound) -> Outbound | None:
        """Return as much of `event` as the bearer may know; None when it may not know of it at all.

        Goes by the fields, so that it covers every event that names a device: `device`, and a list `devices` of ids
        or of entries with a `device` each.
        """
        if self.devices is None or self.role is Role.DEVICE:
            return event
        device = getattr(event, "device", None)
        if isinstance(device, str) and not self.knows(device):
            return None
        entries = getattr(event, "devices", ())
        kept = tuple(entry for entry in entries if self.knows(entry if isinstance(entry, str) else entry.device))
        return event if len(kept) == len(entries) else event.model_copy(update={"devices": kept})

    def _is_own(self, client_id: str) -> bool:
        return client_id == self.client_id

    def _is_unlimited(self) -> bool:
        return self.rooms is None and self.devices is None and self.publish and self.subscribe


def _holds_all(ours: frozenset[int] | frozenset[str] | None, theirs: frozenset[int] | frozenset[str] | None) -> bool:
    return ours is None or (theirs is not None and ours >= theirs)


def _anything(_grant: Grant, _event: Any) -> str | None:  # noqa: ANN401  each rule takes its own event
    return None


def _a_new_room(grant: Grant, _event: Any) -> str | None:  # noqa: ANN401  as above
    return None if grant.rooms is None else "rooms: the token grants certain rooms, and a new one is none of them"


def _its_room(grant: Grant, event: Any) -> str | None:  # noqa: ANN401  as above
    if grant.rooms is None or event.room_id in grant.rooms:
        return None
    return f"rooms: the token does not grant room {event.room_id}"


def _its_devices(grant: Grant, event: Any) -> str | None:  # noqa: ANN401  as above
    refused = next((str(device) for device in event.devices or () if not grant.knows(str(device))), None)
    if refused is None:
        return _its_room(grant, event)
    return f"devices: the token does not grant {refused[: protocol.MAX_ECHO_CHARS]}"


def _to_publish(grant: Grant, _event: Any) -> str | None:  # noqa: ANN401  as above
    return None if grant.publish else "publish: the token does not grant it"


def _to_subscribe(grant: Grant, _event: Any) -> str | None:  # noqa: ANN401  as above
    return None if grant.subscribe else "subscribe: the token does not grant it"


def _to_subscribe_in_its_room(grant: Grant, event: Any) -> str | None:  # noqa: ANN401  as above
    return _to_subscribe(grant, event) or _its_room(grant, event)


_RULES: Mapping[str, Callable[[Grant, Any], str | None]] = {
    "auth": _anything,
    "create_room": _a_new_room,
    "join_as_publisher": _its_room,
    "invite_devices": _its_devices,
    "list_devices": _anything,  # the reply holds what is granted
    "join_as_subscriber": _to_subscribe_in_its_room,
    "start_receiving": _to_subscribe,
    "pause_receiving": _to_subscribe,
    "resume_receiving": _to_subscribe,
    "offer_from_device": _to_publish,
    # Ending something is never refused: it shows nobody anything.
    "stop_receiving": _anything,
    "unpublish": _anything,
    "leave": _anything,
    "ice": _anything,
    "ping": _anything,
}
"""By the event's name on the wire: what it takes. A test holds it against the protocol's events."""


class UnauthorizedError(Exception):
    """The token is not accepted; the text says why and never repeats the token."""


class Authenticator(Protocol):
    """Turns a token into a grant."""

    def authenticate(self, role: Role, client_id: str, token: str | None, now: float) -> Grant:
        """Return what `token` grants at `now`, seconds since 1970; None means that there was none.

        Raises `UnauthorizedError`.
        """
        ...


class OpenAuthenticator:
    """Accept any token, and none: for development, where no secret is configured."""

    def authenticate(self, role: Role, client_id: str, token: str | None, now: float) -> Grant:  # noqa: ARG002
        """Grant what is asked for; the arguments that go unused are the protocol's."""
        return Grant(role, client_id)
