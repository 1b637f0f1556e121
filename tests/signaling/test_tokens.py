"""JWTs: what is accepted, what is refused and how that is said; keys and their texts. Time is passed in."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling import tokens
from signaling.auth import Grant, UnauthorizedError
from signaling.protocol import Role
from signaling.tokens import Key, KeyFormatError, TokenAuthenticator
from tests.helpers.tokens import (
    OTHER_SECRET,
    SECRET,
    by_hand,
    claims,
    ec_key,
    private_pem,
    public_pem,
    rsa_key,
    token,
)

NOW = 1_800_000_000.0


def authenticator(*keys: Key, audience: str | None = None) -> TokenAuthenticator:
    chosen = keys or (tokens.secret_key(SECRET),)
    return TokenAuthenticator(lambda: chosen, leeway_seconds=30, audience=audience)


def grant(text: str | None, *keys: Key, now: float = NOW, audience: str | None = None) -> Grant:
    return authenticator(*keys, audience=audience).authenticate(Role.WEB, "web", text, now)


def refusal(text: str | None, *keys: Key, now: float = NOW, audience: str | None = None) -> str:
    with pytest.raises(UnauthorizedError) as caught:
        grant(text, *keys, now=now, audience=audience)
    message = str(caught.value)
    assert not text or len(text) < 20 or text not in message
    return message


def test_a_token_with_nothing_but_what_must_be_grants_everything_but_admin() -> None:
    assert grant(token(exp=NOW + 60)) == Grant(Role.WEB, "web", expires=NOW + 60)


def test_a_token_may_limit() -> None:
    limited = grant(
        token(exp=NOW + 60, rooms=[1, 2], devices=["cam"], publish=False, subscribe=False, admin=True, nbf=NOW, iat=NOW)
    )
    assert (limited.rooms, limited.devices) == (frozenset({1, 2}), frozenset({"cam"}))
    assert (limited.publish, limited.subscribe, limited.admin) == (False, False, True)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"sub": "other"}, "sub:"),
        ({"sub": None}, "sub:"),
        ({"sub": 5}, "sub:"),
        ({"role": "DEVICE"}, "role:"),
        ({"role": None}, "role:"),
        ({"role": ["WEB"]}, "role:"),
        ({"exp": None}, "exp: it has none"),
        ({"exp": "tomorrow"}, "exp: expected seconds"),
        ({"exp": True}, "exp: expected seconds"),
        ({"exp": 10**400}, "exp: expected seconds"),
        ({"exp": float("nan")}, "exp: expected seconds"),
        ({"exp": float("inf")}, "exp: expected seconds"),
        ({"exp": NOW - 30}, "exp: it expired 30 s ago"),
        ({"nbf": NOW + 31}, "nbf: it is valid only in 31 s"),
        ({"iat": NOW + 31}, "iat: it is valid only in 31 s"),
        ({"nbf": []}, "nbf: expected seconds"),
        ({"aud": "somebody"}, "aud: it is meant for another"),
        ({"rooms": 5}, "rooms: expected a list"),
        ({"rooms": ["5"]}, "rooms: expected integers"),
        ({"rooms": [True]}, "rooms: expected integers"),
        ({"rooms": list(range(257))}, "rooms: expected a list of at most 256"),
        ({"devices": "cam"}, "devices: expected a list"),
        ({"devices": [5]}, "devices: expected strings"),
        ({"devices": [str(number) for number in range(257)]}, "devices: expected a list of at most 256"),
        ({"publish": "no"}, "publish: expected true or false"),
        ({"subscribe": 0}, "subscribe: expected true or false"),
        ({"admin": "yes"}, "admin: expected true or false"),
    ],
)
def test_a_claim_that_is_wrong_is_named(changed: dict[str, Any], named: str) -> None:
    text = by_hand({"alg": "HS256"}, claims(**{"exp": NOW + 60} | changed), SECRET.encode())
    assert refusal(text).startswith(named)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_clocks_may_differ_by_the_leeway(claim: str) -> None:
    changed: dict[str, Any] = {"exp": NOW + 60, claim: NOW + 30}
    assert grant(token(**changed)).client_id == "web"
    assert grant(token(exp=NOW - 29.5)).client_id == "web"


def test_the_clock_is_the_one_that_is_passed_in() -> None:
    text = token(exp=NOW + 60)
    assert grant(text, now=NOW + 89)
    assert "expired 30 s ago" in refusal(text, now=NOW + 90)
    assert "expired" in refusal(token(exp=1_000), now=time.time())


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "a.b", "a.b.c", "a.b.c.d", "...", "\ud800.a.b", "é.a.b", "a" * 9000),
        f"{token()}=",
        f" {token()}",
        token().replace(".", "..", 1),
        by_hand({"alg": "HS256", "crit": ["exp"]}, claims(), SECRET.encode()),
        by_hand({"alg": "HS256", "b64": False, "crit": ["b64"]}, claims(), SECRET.encode()),
        by_hand({"alg": ["HS256"]}, claims(), SECRET.encode()),
        by_hand({}, claims(), SECRET.encode()),
        by_hand({"alg": "HS256", "kid": 5}, claims(), SECRET.encode()),
    ],
)
def test_what_is_no_jwt_is_refused(text: str) -> None:
    assert refusal(text)


def test_no_token_says_where_one_goes() -> None:
    assert "Authorization" in refusal(None)


# --- algorithms ----------------------------------------------------------------------------------------------------


def public_key(pem: str) -> Key:
    (key,) = tokens.read_public_keys(pem)
    return key


@pytest.mark.parametrize(("private", "algorithm"), [(rsa_key(), "RS256"), (ec_key(), "ES256")], ids=["RS256", "ES256"])
def test_public_keys_check_their_own_algorithm_and_no_other(private: Any, algorithm: str) -> None:
    key = public_key(public_pem(private))
    good = jwt.encode(claims(exp=NOW + 60), private, algorithm)
    assert grant(good, key).client_id == "web"
    # The public key is no secret: an HS256 token under it is anybody's.
    for pem in (public_pem(private), public_pem(private).strip()):
        forged = by_hand({"alg": "HS256", "typ": "JWT"}, claims(exp=NOW + 60), pem.encode())
        assert refusal(forged, key) == f"alg: expected {algorithm}"
    assert refusal(by_hand({"alg": "none"}, claims(exp=NOW + 60)) + "AAAA", key) == f"alg: expected {algorithm}"
    other = {"RS256": "PS256", "ES256": "ES256K"}[algorithm]
    relabelled = by_hand({"alg": other}, claims(exp=NOW + 60), b"x")
    assert refusal(relabelled, key) == f"alg: expected {algorithm}"
    stranger = rsa_key(2056) if algorithm == "RS256" else None
    if stranger is not None:
        assert "by no key" in refusal(jwt.encode(claims(exp=NOW + 60), stranger, "RS256"), key)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS384", "HS512", "hs256", "RS256", ""])
def test_a_secret_checks_hs256_and_nothing_else(algorithm: str) -> None:
    for secret in (b"", SECRET.encode()):
        assert refusal(by_hand({"alg": algorithm}, claims(exp=NOW + 60), secret))
    if algorithm.startswith("HS"):
        assert refusal(jwt.encode(claims(exp=NOW + 60), SECRET * 2, algorithm)) == "alg: expected HS256"


def test_a_stripped_or_changed_signature_is_refused() -> None:
    head, body, signature = token(exp=NOW + 60).split(".")
    assert refusal(f"{head}.{body}.")
    changed = ("A" if signature[0] != "A" else "B") + signature[1:]
    assert "by no key" in refusal(f"{head}.{body}.{changed}")
    other_body = token(exp=NOW + 60, admin=True).split(".")[1]
    assert "by no key" in refusal(f"{head}.{other_body}.{signature}")


def test_each_of_several_keys_is_tried() -> None:
    keys = (tokens.secret_key(OTHER_SECRET), public_key(public_pem(ec_key())), tokens.secret_key(SECRET))
    assert grant(token(exp=NOW + 60), *keys)
    assert grant(token(exp=NOW + 60, secret=OTHER_SECRET), *keys)
    assert grant(jwt.encode(claims(exp=NOW + 60), ec_key(), "ES256", headers={"kid": "any"}), *keys)
    assert "ES256 or HS256" in refusal(jwt.encode(claims(exp=NOW + 60), rsa_key(), "RS256"), *keys)


def test_an_audience_must_match_when_there_is_one() -> None:
    for given_audience in ("cams", ["x", "cams"]):
        assert grant(token(exp=NOW + 60, aud=given_audience), audience="cams")
    for bad in (None, "other", ["other"], 5, {"cams": 1}):
        assert refusal(token(exp=NOW + 60, aud=bad), audience="cams").startswith("aud:")


# --- keys ----------------------------------------------------------------------------------------------------------


def test_secrets_are_lines() -> None:
    keys = tokens.read_secrets(f"# old one below\n{SECRET}\r\n\n  {OTHER_SECRET}  \n")
    assert [key.material for key in keys] == [SECRET.encode(), OTHER_SECRET.encode()]
    assert SECRET not in repr(keys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got 0"),
        ("# only this\n", "got 0"),
        ("hunter2", "at least 32 bytes, got 7"),
        ("\n".join([SECRET] * 9), "at most 8"),
        (public_pem(ec_key()), "got a PEM file"),
    ],
)
def test_bad_secrets(text: str, said: str) -> None:
    with pytest.raises(KeyFormatError, match=said) as caught:
        tokens.read_secrets(text)
    assert "hunter2" not in str(caught.value)


def test_public_keys_are_pem_blocks() -> None:
    keys = tokens.read_public_keys(f"the first\n{public_pem(rsa_key())}\nthe second\n{public_pem(ec_key())}")
    assert [key.algorithm for key in keys] == ["RS256", "ES256"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got 0"),
        ("ssh-rsa AAAA", "got 0"),
        (private_pem(ec_key()), "got a private one"),
        (public_pem(ec_key("P-384")), "one of another kind"),
        (public_pem(rsa_key(1024)), "at least 2048 bits, got 1024"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "unreadable PUBLIC KEY"),
        (public_pem(ec_key()) * 9, "at most 8"),
    ],
)
def test_bad_public_keys(text: str, said: str) -> None:
    with pytest.raises(KeyFormatError, match=said):
        tokens.read_public_keys(text)


# --- made by us, and made up ---------------------------------------------------------------------------------------


@given(
    rooms=st.none() | st.frozensets(st.integers(1, 2**31), max_size=4),
    devices=st.none() | st.frozensets(st.from_regex(r"[A-Za-z0-9._~-]{1,8}", fullmatch=True), max_size=4),
    publish=st.booleans(),
    subscribe=st.booleans(),
    admin=st.booleans(),
    audience=st.none() | st.just("cams"),
)
def test_what_is_issued_is_granted(
    rooms: frozenset[int] | None,
    devices: frozenset[str] | None,
    audience: str | None,
    **flags: bool,
) -> None:
    text = tokens.issue(
        tokens.secret_key(SECRET),
        client_id="web",
        role=Role.WEB,
        now=NOW,
        ttl_seconds=5,
        rooms=rooms,
        devices=devices,
        audience=audience,
        **flags,
    )
    expected = Grant(Role.WEB, "web", rooms=rooms, devices=devices, expires=NOW + 5, **flags)
    assert grant(text, audience=audience) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_.-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"))
def test_any_text_is_refused_and_never_an_exception_else(text: str) -> None:
    refusal(text)


@given(
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "x"]), JSON),
    st.dictionaries(st.sampled_from(["sub", "role", "exp", "nbf", "iat", "aud", "rooms", "devices", "publish"]), JSON),
)
def test_any_signed_json_is_granted_or_refused(header: dict[str, Any], payload: dict[str, Any]) -> None:
    text = by_hand({"alg": "HS256"} | header, payload, SECRET.encode())
    with contextlib.suppress(UnauthorizedError):
        assert grant(text).client_id == payload["sub"]
