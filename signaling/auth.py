"""Tokens: who may connect, and as what. Pure: takes `now`, knows no sockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .protocol import Role


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows its bearer to be."""

    role: Role
    client_id: str


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
