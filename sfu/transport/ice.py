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


@dataclass(slots=True)
class Credentials:
    """One generation of a connection's ufrags and of our password."""

    local_ufrag: str
    local_password: str
    remote_ufrag: str | None = None
    """Known once the remote description is; until then any passes, for checks may overtake the SDP."""


def new_credentials() -> Credentials:
    """Return credentials that nobody knows yet."""
    return Credentials(secrets.token_urlsafe(UFRAG_BYTES), secrets.token_urlsafe(PASSWORD_BYTES))


class IceLite(Generic[PathT]):
    """Answer one peer's connectivity checks and tell which path to send on.

    The first path that proves itself is used at once, so that DTLS need not wait for nomination; a check with
    USE-CANDIDATE moves the connection, which is also how a peer changes its network without a new offer.

    After `restart` (RFC 8445 section 9) the checks of both generations are answered, and media goes on by the path that
    it had until the first check of the new one moves it.
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        self.selected: PathT | None = None
        self._credentials = credentials or new_credentials()
        # Before the restart; None without one.
        self._earlier: Credentials | None = None
        # Whether a check of the present generation has come since the restart.
        self._moved = False
        # Insertion-ordered, least recently checked first.
        self._paths: dict[PathT, None] = {}

    @property
    def local_ufrag(self) -> str:
        """Our ufrag, of the present generation."""
        return self._credentials.local_ufrag

    @property
    def local_ufrags(self) -> tuple[str, ...]:
        """Those of every generation whose checks are answered."""
        generations = (self._credentials, self._earlier)
        return tuple(credentials.local_ufrag for credentials in generations if credentials is not None)

    @property
    def local_password(self) -> str:
        """Our password, of the present generation."""
        return self._credentials.local_password

    @property
    def remote_ufrag(self) -> str | None:
        """The peer's ufrag, of the present generation; None until its description has come."""
        return self._credentials.remote_ufrag

    @remote_ufrag.setter
    def remote_ufrag(self, ufrag: str) -> None:
        self._credentials.remote_ufrag = ufrag

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
        credentials = self._generation(username)
        if credentials is None or not request.check_message_integrity(credentials.local_password.encode()):
            return Reply(self._error(request, 401, "Unauthorized"))
        if "ICE-CONTROLLED" in request.attributes:
            # Both sides would wait for the other to nominate; we are lite and never do (RFC 8445 section 7.3.1.1).
            return Reply(self._error(request, 487, "Role Conflict", key=credentials.local_password))
        forgotten = self._remember(path)
        if self._chooses(credentials, nominated="USE-CANDIDATE" in request.attributes):
            self.selected = path
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
            attributes={"XOR-MAPPED-ADDRESS": path.remote},
        )
        response.add_message_integrity(credentials.local_password.encode())
        return Reply(bytes(response), forgotten, authentic=True)

    def restart(self) -> None:
        """Take new credentials; the peer's are to be set next. The generation before the last is forgotten."""
        self._earlier, self._credentials = self._credentials, new_credentials()
        self._moved = False

    def successor(self) -> IceLite[PathT]:
        """Return an agent with the same credentials and no path, for a peer that begins anew with what it was sent."""
        return IceLite(Credentials(self.local_ufrag, self.local_password))

    def forget(self, path: PathT) -> None:
        """Drop a path that now belongs to another peer."""
        self._paths.pop(path, None)
        if self.selected == path:
            self.selected = None

    def _generation(self, username: str) -> Credentials | None:
        """Return the credentials that a check's USERNAME names, None where they are not ours."""
        local, separator, remote = username.partition(":")
        for credentials in (self._credentials, self._earlier):
            if credentials is not None and separator and local == credentials.local_ufrag:
                return credentials if credentials.remote_ufrag in {None, remote} else None
        return None

    def _chooses(self, credentials: Credentials, *, nominated: bool) -> bool:
        """Tell whether an authentic check moves the connection to its path."""
        if credentials is self._earlier and self._moved:
            return False  # it still keeps the old path open while the new one is in use
        first = self._earlier is not None and credentials is self._credentials and not self._moved
        self._moved = self._moved or first
        return self.selected is None or nominated or first

    def _remember(self, path: PathT) -> PathT | None:
        """Note a proven path; return the one that had to make room for it."""
        self._paths.pop(path, None)
        self._paths[path] = None
        if len(self._paths) <= MAX_PATHS:
            return None
        oldest = next(candidate for candidate in self._paths if candidate != self.selected)
        del self._paths[oldest]
        return oldest

    def _error(self, request: stun.Message, code: int, reason: str, *, key: str | None = None) -> bytes:
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.ERROR,
            transaction_id=request.transaction_id,
            attributes={"ERROR-CODE": (code, reason)},
        )
        if key is not None:
            response.add_message_integrity(key.encode())
        else:
            response.add_fingerprint()
        return bytes(response)
