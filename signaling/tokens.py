"""JWTs (RFC 7519) as grants, and the keys that check them. Pure: takes `now`, reads no file.

The key decides the algorithm, never the token: a secret checks HS256 and nothing else, an RSA key RS256, a P-256 key
ES256. So neither `none` nor an HS256 token "signed" with somebody's public key has a key to be tried with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from .auth import Grant, UnauthorizedError
from .protocol import MAX_NAMED_DEVICES, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MAX_TOKEN_CHARS = 8000
"""What fits into a request line, which aiohttp bounds at 8190 characters; a token with every claim has some 500."""
MAX_KEYS = 8
"""Each may cost a signature check per attempt to connect; a rotation needs two."""
MIN_SECRET_BYTES = 32
"""RFC 7518 section 3.2: an HS256 key has at least the size of the hash. What is shorter can be guessed offline."""
MIN_RSA_BITS = 2048
"""RFC 7518 section 3.3."""
MAX_NAMED_ROOMS = 256
"""Rooms that one token may name."""

Algorithm = Literal["HS256", "RS256", "ES256"]

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_SIGNATURE_ONLY: Any = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
"""PyJWT checks the signature; the claims are checked here, by the clock that is passed in."""


class KeyFormatError(ValueError):
    """A text that holds no usable key; says what was expected and never repeats the text."""


@dataclass(frozen=True, slots=True)
class Key:
    """What checks a signature, and the one algorithm that it is for."""

    algorithm: Algorithm
    material: bytes | RSAPublicKey | EllipticCurvePublicKey = field(repr=False)


def read_secrets(text: str) -> tuple[Key, ...]:
    """Return the secrets in `text`, one a line; empty lines and those that begin with # count for nothing.

    Raises `KeyFormatError`.
    """
    if "-----BEGIN" in text:
        raise KeyFormatError("expected secrets, one a line, got a PEM file; public keys have a setting of their own")
    lines = [line.strip() for line in text.splitlines()]
    keys = tuple(secret_key(line) for line in lines if line and not line.startswith("#"))
    return _bounded(keys, "a secret")


def secret_key(secret: str) -> Key:
    """Return a secret as a key; raise `KeyFormatError` where it could be guessed."""
    material = secret.encode()
    if len(material) < MIN_SECRET_BYTES:
        raise KeyFormatError(
            f"expected a secret of at least {MIN_SECRET_BYTES} bytes, got {len(material)}; "
            "`openssl rand -hex 32` makes a good one"
        )
    return Key("HS256", material)


def read_public_keys(text: str) -> tuple[Key, ...]:
    """Return the public keys (RSA or P-256, PEM) in `text`, or raise `KeyFormatError`."""
    return _bounded(tuple(_public_key(match[1], match[0]) for match in _PEM.finditer(text)), "a PEM public key")


def _bounded(keys: tuple[Key, ...], what: str) -> tuple[Key, ...]:
    if 1 <= len(keys) <= MAX_KEYS:
        return keys
    raise KeyFormatError(f"expected {what}, and at most {MAX_KEYS} of them, got {len(keys)}")


def _public_key(label: str, pem: str) -> Key:
    if "PRIVATE" in label:
        raise KeyFormatError("expected a public key, got a private one: it has no business on this server")
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError:
        raise KeyFormatError(f"expected a PEM public key (RSA or P-256), got an unreadable {label}") from None
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise KeyFormatError(f"expected an RSA key of at least {MIN_RSA_BITS} bits, got {key.key_size}")
        return Key("RS256", key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return Key("ES256", key)
    raise KeyFormatError("expected an RSA (RS256) or P-256 (ES256) public key, got one of another kind")


def bearer_of(token: str | None) -> tuple[Role, str]:
    """Return as whom a token lets its bearer connect, not yet checked; raise `UnauthorizedError` where it does not say.

    For requests that name no client themselves: what it says is then to be held against the token by `authenticate`.
    """
    if not token or len(token) > MAX_TOKEN_CHARS or not _COMPACT.fullmatch(token):
        raise UnauthorizedError("expected Bearer and a signed JWT")
    try:
        claims = jwt.decode(token, options={"verify_signature": False} | _SIGNATURE_ONLY)
    except (jwt.PyJWTError, RecursionError):
        raise UnauthorizedError("expected Bearer and a signed JWT") from None
    role, subject = claims.get("role"), claims.get("sub")
    if not isinstance(subject, str) or not isinstance(role, str) or role not in Role.__members__:
        raise UnauthorizedError("sub, role: expected a client id, and WEB or DEVICE")
    return Role(role), subject


class TokenAuthenticator:
    """Accept tokens that any of the keys signed.

    `keys` is asked at each token, so that keys may change while the server runs. Clocks may differ by
    `leeway_seconds`. With an `audience` a token must be meant for it; without one, a token that names an audience is
    meant for somebody else (RFC 7519 section 4.1.3).
    """

    def __init__(self, keys: Callable[[], Sequence[Key]], *, leeway_seconds: float, audience: str | None) -> None:
        self._keys = keys
        self._leeway_seconds = leeway_seconds
        self._audience = audience

    def reconfigure(self, *, leeway_seconds: float, audience: str | None) -> None:
        """Judge tokens by other settings from now on."""
        self._leeway_seconds, self._audience = leeway_seconds, audience

    def authenticate(self, role: Role, client_id: str, token: str | None, now: float) -> Grant:
        """Return what `token` grants at `now`, seconds since 1970; raise `UnauthorizedError`."""
        if not token:
            raise UnauthorizedError("expected one in the address, in an Authorization header or in an auth event")
        if len(token) > MAX_TOKEN_CHARS or not _COMPACT.fullmatch(token):
            raise UnauthorizedError("expected a signed JWT")
        claims = self._verified(token)
        expires = self._check_times(claims, now)
        self._check_audience(claims.get("aud"))
        if claims.get("sub") != client_id:
            raise UnauthorizedError("sub: it is not the client id of the address")
        if claims.get("role") != role.value:
            raise UnauthorizedError(f"role: the address has {role.value}, the token another or none")
        return Grant(
            role,
            client_id,
            rooms=_rooms(claims),
            devices=_devices(claims),
            publish=_flag(claims, "publish", default=True),
            subscribe=_flag(claims, "subscribe", default=True),
            admin=_flag(claims, "admin", default=False),
            expires=expires,
        )

    def _verified(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token that one of the keys signed. The keys are tried in turn: they are few."""
        keys = self._keys()
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
            for key in keys:
                if key.algorithm != algorithm:
                    continue
                try:
                    return jwt.decode(token, key.material, [key.algorithm], _SIGNATURE_ONLY)
                except jwt.InvalidSignatureError:
                    continue
        except (jwt.PyJWTError, RecursionError):
            raise UnauthorizedError("expected a signed JWT") from None
        known = sorted({key.algorithm for key in keys})
        if algorithm in known:
            raise UnauthorizedError("its signature is by no key of this server")
        raise UnauthorizedError(f"alg: expected {' or '.join(known)}")

    def _check_times(self, claims: Mapping[str, Any], now: float) -> float:
        expires = _time(claims, "exp")
        if expires is None:
            raise UnauthorizedError("exp: it has none")
        if expires <= now - self._leeway_seconds:
            raise UnauthorizedError(f"exp: it expired {now - expires:.0f} s ago")
        for claim in ("nbf", "iat"):
            begins = _time(claims, claim)
            if begins is not None and begins > now + self._leeway_seconds:
                raise UnauthorizedError(f"{claim}: it is valid only in {begins - now:.0f} s")
        return expires

    def _check_audience(self, given: object) -> None:
        audiences = given if isinstance(given, list) else [] if given is None else [given]
        if self._audience is None and audiences:
            raise UnauthorizedError("aud: it is meant for another service; this one has no audience configured")
        if self._audience is not None and self._audience not in audiences:
            raise UnauthorizedError("aud: it is not meant for this service")


def _time(claims: Mapping[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None:
        return None
    # The comparison takes NaN and integers of thousands of digits alike.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise UnauthorizedError(f"{claim}: expected seconds since 1970")
    return float(value)


def _flag(claims: Mapping[str, Any], claim: str, *, default: bool) -> bool:
    value = claims.get(claim, default)
    if not isinstance(value, bool):
        raise UnauthorizedError(f"{claim}: expected true or false")
    return value


def _rooms(claims: Mapping[str, Any]) -> frozenset[int] | None:
    value = claims.get("rooms")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MAX_NAMED_ROOMS:
        raise UnauthorizedError(f"rooms: expected a list of at most {MAX_NAMED_ROOMS} room ids")
    if any(isinstance(room, bool) or not isinstance(room, int) for room in value):
        raise UnauthorizedError("rooms: expected integers")
    return frozenset(value)


def _devices(claims: Mapping[str, Any]) -> frozenset[str] | None:
    value = claims.get("devices")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MAX_NAMED_DEVICES:
        raise UnauthorizedError(f"devices: expected a list of at most {MAX_NAMED_DEVICES} device ids")
    if any(not isinstance(device, str) for device in value):
        raise UnauthorizedError("devices: expected strings")
    return frozenset(value)


def issue(
    key: Key,
    *,
    client_id: str,
    role: Role,
    now: float,
    ttl_seconds: float,
    rooms: Iterable[int] | None = None,
    devices: Iterable[str] | None = None,
    publish: bool = True,
    subscribe: bool = True,
    admin: bool = False,
    audience: str | None = None,
) -> str:
    """Return a token signed with `key`, which must be a secret; claims that say no more than none are left out."""
    claims: dict[str, Any] = {"sub": client_id, "role": role.value, "iat": int(now), "exp": int(now + ttl_seconds)}
    if rooms is not None:
        claims["rooms"] = list(rooms)
    if devices is not None:
        claims["devices"] = list(devices)
    claims |= {} if publish else {"publish": False}
    claims |= {} if subscribe else {"subscribe": False}
    claims |= {"admin": True} if admin else {}
    claims |= {} if audience is None else {"aud": audience}
    if not isinstance(key.material, bytes):
        raise TypeError("a public key signs nothing")
    return jwt.encode(claims, key.material, key.algorithm)
