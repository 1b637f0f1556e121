"""What can go wrong for a client, as types; each text is one line, fit to be shown to a person."""

from __future__ import annotations


class ClientError(Exception):
    """Base of everything that `signaling.client` raises by itself."""


class ConnectError(ClientError):
    """The server cannot be reached, or what answers there is not an aiosfu server."""


class CertificateError(ConnectError):
    """The server's certificate is not to be trusted; that does not pass by itself."""


class DisconnectedError(ClientError):
    """The signalling connection has ended, so the request cannot be answered."""


class ServerEndsError(DisconnectedError):
    """The connection has ended because the server has, in good order: it is likely to be back soon."""


class ReplacedError(DisconnectedError):
    """Another client has connected under this client's id; trying again would only drive that one out in turn."""


class RoomClosedError(ClientError):
    """The server's operator has closed the room of a viewer: it is to end, so no other is opened unasked."""


class RequestTimeoutError(ClientError):
    """The server did not answer a request in time."""


class ServerError(ClientError):
    """An `error` event of the server: `code` is one of the protocol's, `message` is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})" if message else code)
        self.code = code
        self.message = message


class SourceError(ClientError):
    """A media source that cannot be used; the text names the source, what is wrong and what would be right."""


class MediaError(ClientError):
    """A media connection failed: not set up in time, or lost."""


class NoFeedError(ClientError):
    """Nothing to watch came in time; the text says what was missing."""
