"""IceLite answers checks as RFC 8445 and RFC 8489 ask, and believes nobody who cannot prove the password."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from sfu.transport.ice import MAX_PATHS, IceLite, StunError, request_ufrag


@dataclass(frozen=True)
class FakePath:
    remote: tuple[str, int]


PATH = FakePath(("192.0.2.1", 5000))
OTHER = FakePath(("2001:db8::1", 6000))


def check(
    ice: IceLite[FakePath],
    *,
    ufrag: str | None = None,
    password: str | None = None,
    remote: str = "remote",
    attributes: dict[str, object] | None = None,
) -> bytes:
    message = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.REQUEST,
        attributes={"USERNAME": f"{ufrag or ice.local_ufrag}:{remote}", "PRIORITY": 1, **(attributes or {})},
    )
    message.add_message_integrity((password or ice.local_password).encode())
    return bytes(message)


def error_code(response: bytes | None) -> int | None:
    assert response is not None
    return stun.parse_message(response).error_code


def test_a_check_is_answered_with_its_own_address_and_proved_by_our_password() -> None:
    ice: IceLite[FakePath] = IceLite()
    for path in (PATH, OTHER):
        request = check(ice)
        reply = ice.handle_request(request, path)
        assert reply.authentic
        assert reply.response is not None
        response = stun.parse_message(reply.response)
        assert response.message_class is stun.Class.RESPONSE
        assert response.transaction_id == stun.parse_message(request).transaction_id
        assert response.attributes["XOR-MAPPED-ADDRESS"] == path.remote
        assert response.check_message_integrity(ice.local_password.encode())


def test_the_first_proven_path_is_used_until_another_is_nominated() -> None:
    ice: IceLite[FakePath] = IceLite()
    ice.handle_request(check(ice), PATH)
    ice.handle_request(check(ice), OTHER)
    assert ice.selected == PATH
    ice.handle_request(check(ice, attributes={"USE-CANDIDATE": None}), OTHER)
    assert ice.selected == OTHER


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"password": "wrong"}, 401),
        ({"remote": "stranger"}, 401),
        ({"attributes": {"ICE-CONTROLLED": 1}}, 487),
    ],
)
def test_a_wrong_check_gets_its_error_and_changes_nothing(change: dict[str, object], code: int) -> None:
    ice: IceLite[FakePath] = IceLite()
    ice.remote_ufrag = "remote"
    reply = ice.handle_request(check(ice, **change), PATH)  # type: ignore[arg-type]  # the table mixes both kinds
    assert error_code(reply.response) == code
    assert not reply.authentic
    assert ice.selected is None
    assert ice.paths == ()


def test_a_check_without_integrity_is_a_bad_request() -> None:
    ice: IceLite[FakePath] = IceLite()
    message = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.REQUEST,
        attributes={"USERNAME": f"{ice.local_ufrag}:remote"},
    )
    reply = ice.handle_request(bytes(message), PATH)
    assert error_code(reply.response) == 400
    assert ice.selected is None


def test_remembered_paths_are_bounded_and_the_one_in_use_stays() -> None:
    ice: IceLite[FakePath] = IceLite()
    paths = [FakePath(("192.0.2.1", 1000 + number)) for number in range(MAX_PATHS + 5)]
    forgotten = [ice.handle_request(check(ice), path).forgotten for path in paths]
    assert len(ice.paths) == MAX_PATHS
    assert ice.selected == paths[0]
    assert paths[0] in ice.paths
    assert [path for path in forgotten if path is not None] == paths[1:6]


def test_the_ufrag_is_read_without_trusting_the_rest() -> None:
    ice: IceLite[FakePath] = IceLite()
    assert request_ufrag(check(ice, password="wrong")) == ice.local_ufrag


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01\x00\x00",
        b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
        b"\x01\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
        b"\x00\x01\x00\x04\x00\x00\x00\x00" + bytes(16),
        b"\x00\x01\x00\x08\x21\x12\xa4\x42" + bytes(12) + b"\x00\x06\xff\xffabcd"[:8],
    ],
)
def test_what_is_no_binding_request_is_refused(data: bytes) -> None:
    if data[20:22] == b"\x00\x06":
        # A USERNAME that claims more than there is names nobody; the full parse then refuses it.
        assert request_ufrag(data) == "abcd"
        with pytest.raises(StunError):
            IceLite[FakePath]().handle_request(data[:-1], PATH)
        return
    with pytest.raises(StunError):
        request_ufrag(data)


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_stun_errors(data: bytes) -> None:
    ice: IceLite[FakePath] = IceLite()
    header = b"\x00\x01" + len(data).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + os.urandom(12)
    for candidate in (data, header + data):
        for read in (request_ufrag, lambda raw: ice.handle_request(raw, PATH)):
            with contextlib.suppress(StunError):
                read(candidate)
    assert ice.selected is None


def test_a_restart_answers_both_generations_and_the_new_one_moves_the_connection() -> None:
    ice: IceLite[FakePath] = IceLite()
    ice.remote_ufrag = "remote"
    ice.handle_request(check(ice), PATH)
    old = (ice.local_ufrag, ice.local_password)
    ice.restart()
    ice.remote_ufrag = "newer"
    assert ice.local_ufrags == (ice.local_ufrag, old[0])
    assert (ice.local_ufrag, ice.local_password) != old
    assert ice.selected == PATH, "media goes on where it was"
    early = check(ice, ufrag=old[0], password=old[1], attributes={"USE-CANDIDATE": None})
    assert ice.handle_request(early, OTHER).authentic
    assert ice.selected == OTHER, "the old generation counts until the new one has come"
    assert ice.handle_request(check(ice, remote="newer"), PATH).authentic
    assert ice.selected == PATH, "without a nomination: the old network may be gone"
    late = check(ice, ufrag=old[0], password=old[1], attributes={"USE-CANDIDATE": None})
    reply = ice.handle_request(late, OTHER)
    assert reply.response is not None
    assert stun.parse_message(reply.response).check_message_integrity(old[1].encode())
    assert ice.selected == PATH
    assert not ice.handle_request(check(ice, remote="remote"), PATH).authentic, "a mixture of generations"
    ice.restart()
    assert not ice.handle_request(late, OTHER).authentic, "two generations ago"


def test_a_successor_answers_whoever_was_told_the_same_credentials() -> None:
    ice: IceLite[FakePath] = IceLite()
    ice.remote_ufrag = "remote"
    ice.handle_request(check(ice), PATH)
    successor = ice.successor()
    assert (successor.selected, successor.paths, successor.remote_ufrag) == (None, (), None)
    assert successor.handle_request(check(ice, remote="another"), OTHER).authentic
    assert successor.selected == OTHER
