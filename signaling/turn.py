"""Short-lived TURN credentials by the REST scheme (draft-uberti-behave-turn-rest-00), as coturn's `use-auth-secret`.

The TURN server keeps no accounts: the user name says until when it is good, the password is the HMAC of the user
name under a secret that this server and the TURN server share. Pure: takes `now`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def ice_servers(
    urls: Iterable[str], secret: bytes, client_id: str, *, now: float, ttl_seconds: float
) -> tuple[dict[str, str], ...]:
    """Return an RTCIceServer dictionary (W3C WebRTC section 4.2.3) for each URL, good for `ttl_seconds` from `now`.

    `now` is in seconds since 1970, by a clock that the TURN server shares. The client id shows up in its logs.
    """
    username = f"{int(now + ttl_seconds)}:{client_id}"
    # SHA-1 is the scheme's; as an HMAC it is not touched by SHA-1's collisions.
    digest = hmac.new(secret, username.encode(), hashlib.sha1).digest()
    credential = base64.b64encode(digest).decode()
    return tuple({"urls": url, "username": username, "credential": credential} for url in urls)
