"""IceLite: the server's half of ICE (RFC 8445 section 2.5), which only answers connectivity checks.

Pure: datagrams in, decisions out. Where a datagram came from is an opaque path, so that the same code serves UDP
and TCP.
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from aioice import stun

UFRAG_BYTES: Final = 6
"""8 characters of base64url: 48 bits, where RFC 8445 section 5.3 asks for 24."""
PASSWORD_BYTES: Final = 18
"""24 characters: 144 bits, where RFC 8445 asks for 128."""
MAX_PATHS: Final = 16
"""Addresses remembered for one peer; a phone with Wi-Fi, LTE and both IP versions shows four."""
MAX_UFRAG_LENGTH: Final = 256
"""RFC 8445 section 5.3."""

_STUN_HEADER: Final = struct.Struct("!HHI")
_ATTRIBUTE: Final = struct.Struct("!HH")
_BINDING_REQUEST: Final = 0x0001
_USERNAME: Final = 0x0006
# The method's bits lie on both sides of the two class bits (RFC 8489 section 5); what is left is zero.
_MESSAGE_TYPE_MASK: Final = 0x3FFF


class RemotePath(Protocol):
    """What connectivity checks need to know of a path."""

    @property
    def remote(self) -> tuple[str, int]:
        """The remote IP address and port."""
        ...


PathT = TypeVar("PathT", bound=RemotePath)


@dataclass(frozen=True, slots=True)
class Reply(Generic[PathT]):
    """What to do about one STUN datagram."""

    response: bytes | None = None
    """To send back on the path that it came from."""
    forgotten: PathT | None = None
    """A path that is no longer remembered, for the port to unlink."""
    authentic: bool = False
    """Whether the sender proved to know our password; only then may its address be trusted."""


class StunError(ValueError):
    """A datagram that starts like STUN but is not a well-formed binding request."""


def request_ufrag(data: bytes) -> str:
    """Read our own ufrag out of a binding request's USERNAME, without checking anything else.

    This is the cheap look that finds the peer to ask; RFC 8445 section 7.2.2 puts our ufrag before the colon. Raises
    `StunError` for whatever is not a binding request with a USERNAME.
    """
    if len(data) < 20:
        raise StunError("shorter than a STUN header")
    message_type, length, cookie = _STUN_HEADER.unpack_from(data)
    if cookie != stun.COOKIE or length + 20 != len(data) or length % 4:
        raise StunError("not a STUN message")
    if message_type & _MESSAGE_TYPE_MASK != _BINDING_REQUEST:
        raise StunError("not a binding request")
    position = 20
    while position + 4 <= len(data):
        kind, size = _ATTRIBUTE.unpack_from(data, position)
        if kind == _USERNAME:
            name = data[position + 4 : position + 4 + size]
            return name.split(b":", 1)[0].decode("ascii", "replace")
        position += 4 + size + (-size % 4)
    raise StunError("no USERNAME")


class IceLite(Generic[PathT]):
    """Answer one peer's connectivity checks and tell which path to send on.

    The first path that proves itself is used at once, so that DTLS need not wait for nomination; a check with
    USE-CANDIDATE moves the connection, which is also how a peer changes its network without a new offer.
    """

    def __init__(self) -> None:
        self.local_ufrag = secrets.token_urlsafe(UFRAG_BYTES)
        self.local_password = secrets.token_urlsafe(PASSWORD_BYTES)
        # Known once the remote description is; until then any remote ufrag passes, for checks may overtake the SDP.
        self.remote_ufrag: str | None = None
        self.selected: PathT | None = None
        self._key = self.local_password.encode()
        # Insertion-ordered, least recently checked first.
        self._paths: dict[PathT, None] = {}

    @property
    def paths(self) -> tuple[PathT, ...]:
        """Every path that has proved itself and is still remembered."""
        return tuple(self._paths)

    def handle_request(self, data: bytes, path: PathT) -> Reply[PathT]:
        """Answer one binding request; raise `StunError` where it cannot be read.

        A request that does not prove to know the password gets the error that RFC 8489 section 9.1.3 names and
        changes nothing.
        """
        try:
            request = stun.parse_message(data)
        except (ValueError, IndexError, struct.error) as exc:
            raise StunError(str(exc)) from exc
        username = request.attributes.get("USERNAME")
        if username is None or "MESSAGE-INTEGRITY" not in request.attributes:
            return Reply(self._error(request, 400, "Bad Request"))
        if not self._knows(username) or not request.check_message_integrity(self._key):
            return Reply(self._error(request, 401, "Unauthorized"))
        if "ICE-CONTROLLED" in request.attributes:
            # Both sides would wait for the other to nominate; we are lite and never do (RFC 8445 section 7.3.1.1).
            return Reply(self._error(request, 487, "Role Conflict", authentic=True))
        forgotten = self._remember(path)
        if self.selected is None or "USE-CANDIDATE" in request.attributes:
            self.selected = path
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
            attributes={"XOR-MAPPED-ADDRESS": path.remote},
        )
        response.add_message_integrity(self._key)
        return Reply(bytes(response), forgotten, authentic=True)

    def forget(self, path: PathT) -> None:
        """Drop a path that now belongs to another peer."""
        self._paths.pop(path, None)
        if self.selected == path:
            self.selected = None

    def _knows(self, username: str) -> bool:
        local, separator, remote = username.partition(":")
        if not separator or local != self.local_ufrag:
            return False
        return self.remote_ufrag is None or remote == self.remote_ufrag

    def _remember(self, path: PathT) -> PathT | None:
        """Note a proven path; return the one that had to make room for it."""
        self._paths.pop(path, None)
        self._paths[path] = None
        if len(self._paths) <= MAX_PATHS:
            return None
        oldest = next(candidate for candidate in self._paths if candidate != self.selected)
        del self._paths[oldest]
        return oldest

    def _error(self, request: stun.Message, code: int, reason: str, *, authentic: bool = False) -> bytes:
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.ERROR,
            transaction_id=request.transaction_id,
            attributes={"ERROR-CODE": (code, reason)},
        )
        if authentic:
            response.add_message_integrity(self._key)
        else:
            response.add_fingerprint()
        return bytes(response)
