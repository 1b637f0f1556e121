"""What is accepted from clients and what is sent to them, as text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling import protocol
from signaling.protocol import ErrorCode, ProtocolError, Role, decode, encode

CANDIDATE = "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.5 rport 46154 generation 0"


def text(event: str, data: Any = None, **top: Any) -> str:
    return json.dumps({"event": event, "data": data, **top})


@pytest.mark.parametrize(
    ("role", "message", "expected"),
    [
        # The published document's own examples.
        (Role.WEB, text("create_room", {}), protocol.CreateRoom()),
        (Role.WEB, text("join_as_publisher", {"room_id": 166, "inviter": 7}), ("room_id", 166)),
        (Role.DEVICE, text("join_as_publisher", {"room_id": 166, "inviter": "123"}), ("inviter", "123")),
        (Role.WEB, text("invite_devices", {"room_id": 166}), ("devices", None)),
        (Role.WEB, text("join_as_subscriber", {"room_id": 166, "feed": 5}), ("feed", 5)),
        (Role.WEB, text("start_receiving", {"sdp": "v=0", "feed": 5}), ("feed", 5)),
        (Role.WEB, text("start_receiving", {"sdp": "v=0"}), ("feed", None)),
        (Role.DEVICE, text("offer_from_device", {"sdp": "v=0"}), ("sdp", "v=0")),
        (Role.DEVICE, text("unpublish", {}), protocol.Unpublish()),
        (Role.DEVICE, text("leave", {}), ("room_id", None)),
        # Data missing or null; unknown fields; the additions.
        (Role.WEB, '{"event": "create_room"}', protocol.CreateRoom()),
        (Role.WEB, text("create_room", None), protocol.CreateRoom()),
        (Role.WEB, text("create_room", {"colour": "blue"}, more=1), protocol.CreateRoom()),
        (Role.WEB, text("join_as_publisher", {"room_id": 1}), ("inviter", None)),
        (Role.WEB, text("invite_devices", {"room_id": 1, "devices": ["a", 2]}), ("devices", ("a", 2))),
        (Role.WEB, text("join_as_subscriber", {"room_id": 1, "feed": 2, "tracks": ["x"]}), ("tracks", ("x",))),
        (Role.WEB, text("start_receiving", {"sdp": "v=0", "type": "answer", "feed": None}), ("feed", None)),
        (Role.WEB, text("offer_from_device", {"sdp": "v=0", "type": "offer"}), ("sdp", "v=0")),
        (Role.WEB, text("leave", {"room_id": 3}), ("room_id", 3)),
        (Role.WEB, text("invite_devices", {"room_id": 1, "standing": True}), ("standing", True)),
        (Role.WEB, text("invite_devices", {"room_id": 1}), ("standing", False)),
        (Role.WEB, text("list_devices"), protocol.ListDevices()),
        (Role.WEB, text("stop_receiving", {"feed": 4}), ("feed", 4)),
        (Role.WEB, text("pause_receiving", {"feed": 4}), ("kinds", None)),
        (Role.WEB, text("pause_receiving", {"feed": 4, "kinds": ["audio"]}), ("kinds", ("audio",))),
        (Role.WEB, text("resume_receiving", {"feed": 4, "kinds": None}), ("kinds", None)),
    ],
)
def test_events_are_read(role: Role, message: str, expected: Any) -> None:
    request_id, event = decode(role, message)
    assert request_id is None
    if isinstance(expected, tuple):
        field, value = expected
        assert getattr(event, field) == value
    else:
        assert event == expected


@pytest.mark.parametrize(
    "data",
    [
        {},
        None,
        {"typ": "sub"},
        {"candidate": None, "typ": "pub"},
        {"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0},
        {"candidate": CANDIDATE, "sdpMid": "0", "sdpMLineIndex": 0, "typ": "sub"},
        {"candidate": CANDIDATE, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "x"},
        {"candidate": CANDIDATE.removeprefix("candidate:")},
        {"candidate": {"candidate": CANDIDATE, "sdpMid": "0"}, "typ": "sub"},
        {"candidate": {"candidate": ""}, "typ": "sub"},
        {"candidate": {}, "typ": "sub"},
        {"candidate": "candidate:1 1 UDP 2122252543 5d3e8b9e-2f6c-4b5c.local 50000 typ host"},
        {"candidate": "candidate:1 1 tcp 1518214911 fd00::1 9 typ host tcptype active"},
    ],
)
@pytest.mark.parametrize("role", list(Role))
def test_every_form_of_ice_is_accepted(role: Role, data: Any) -> None:
    assert isinstance(decode(role, text("ice", data))[1], protocol.Ice)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"candidate": 5}, "candidate"),
        ({"candidate": []}, "candidate"),
        ({"candidate": {"candidate": 5}}, "candidate"),
        ({"candidate": "hello"}, "candidate"),
        ({"candidate": "candidate:1 1 udp 1 192.0.2.1 70000 typ host"}, "port"),
        ({"candidate": "candidate:1 1 udp 1 192.0.2.1 -1 typ host"}, "port"),
        ({"candidate": "candidate:1 1 udp 99999999999 192.0.2.1 9 typ host"}, "priority"),
        ({"candidate": "candidate:1 999 udp 1 192.0.2.1 9 typ host"}, "component"),
        ({"candidate": "candidate:1 1 udp 1 192.0.2.1 9 host"}, "typ type"),
        ({"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host " + "x" * 2000}, "1024"),
        ({"candidate": CANDIDATE, "typ": "host"}, "typ"),
    ],
)
def test_a_malformed_candidate_is_bad_data(data: Any, named: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(Role.WEB, text("ice", data))
    assert caught.value.code is ErrorCode.BAD_DATA
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        ("", ErrorCode.BAD_JSON, "not JSON"),
        ("{", ErrorCode.BAD_JSON, "not JSON"),
        ("[" * 100_000, ErrorCode.BAD_JSON, "nested"),
        ('{"event": "create_room", "data": NaN}', ErrorCode.BAD_JSON, "NaN"),
        ('{"event": "leave", "data": {"room_id": ' + "9" * 5000 + "}}", ErrorCode.BAD_JSON, "not JSON"),
        ("[]", ErrorCode.BAD_JSON, "expected a JSON object, got an empty list"),
        ('"create_room"', ErrorCode.BAD_JSON, "expected a JSON object, got a string"),
        ("{}", ErrorCode.BAD_JSON, "event: expected a string, got null"),
        ('{"event": 5}', ErrorCode.BAD_JSON, "event: expected a string, got an integer"),
        (text("dance"), ErrorCode.UNKNOWN_EVENT, "'dance'"),
        (text("welcome"), ErrorCode.UNKNOWN_EVENT, "'welcome'"),
        (text("create_room", []), ErrorCode.BAD_DATA, "data: expected an object, got an empty list"),
        (text("create_room", "x"), ErrorCode.BAD_DATA, "data: expected an object, got a string"),
        (text("join_as_publisher"), ErrorCode.BAD_DATA, "room_id: expected an integer, got nothing"),
        (text("join_as_publisher", {"room_id": "1"}), ErrorCode.BAD_DATA, "room_id: expected an integer, got a string"),
        (text("join_as_publisher", {"room_id": True}), ErrorCode.BAD_DATA, "room_id: expected an integer, got a bool"),
        (text("join_as_publisher", {"room_id": 1.0}), ErrorCode.BAD_DATA, "room_id: expected an integer, got a frac"),
        (text("join_as_publisher", {"room_id": 10**400}), ErrorCode.BAD_DATA, "of at most 64 bits"),
        (text("leave", {"room_id": -(2**64)}), ErrorCode.BAD_DATA, "room_id: expected an integer of at most 64 bits"),
        (text("start_receiving", {"sdp": "v", "feed": 2**63}), ErrorCode.BAD_DATA, "of at most 64 bits"),
        (text("join_as_publisher", {"room_id": None}), ErrorCode.BAD_DATA, "room_id: expected an integer, got null"),
        (text("join_as_publisher", {"room_id": 1, "inviter": []}), ErrorCode.BAD_DATA, "inviter: expected a string or"),
        (text("join_as_subscriber", {"room_id": 1}), ErrorCode.BAD_DATA, "feed: expected an integer, got nothing"),
        (text("join_as_subscriber", {"room_id": 1, "feed": 1, "tracks": []}), ErrorCode.BAD_DATA, "tracks: expected 1"),
        (text("join_as_subscriber", {"room_id": 1, "feed": 1, "tracks": [3]}), ErrorCode.BAD_DATA, "tracks[0]: expect"),
        (text("invite_devices", {"room_id": 1, "devices": "a"}), ErrorCode.BAD_DATA, "devices: expected at most 256"),
        (text("invite_devices", {"room_id": 1, "devices": ["a"] * 257}), ErrorCode.BAD_DATA, "devices: expected at mo"),
        (text("invite_devices", {"room_id": 1, "standing": 1}), ErrorCode.BAD_DATA, "standing: expected true or false"),
        (text("pause_receiving", {"feed": 1, "kinds": []}), ErrorCode.BAD_DATA, 'kinds: expected a list of "audio"'),
        (text("pause_receiving", {"feed": 1, "kinds": ["x"]}), ErrorCode.BAD_DATA, "kinds[0]: expected 'audio' or"),
        (text("pause_receiving", {"kinds": ["audio"]}), ErrorCode.BAD_DATA, "feed: expected an integer, got nothing"),
        (text("start_receiving", {}), ErrorCode.BAD_DATA, "sdp: expected a non-empty string, got nothing"),
        (text("start_receiving", {"sdp": ""}), ErrorCode.BAD_DATA, "sdp: expected a non-empty string, got an empty"),
        (text("start_receiving", {"sdp": "v", "feed": "1"}), ErrorCode.BAD_DATA, "feed: expected an integer"),
        (
            text("invite_devices", {"room_id": 1, "devices": ["\ud800"]}),
            ErrorCode.BAD_DATA,
            "devices[0]: expected text",
        ),
        (text("invite_devices", {"room_id": 1, "devices": [0.5] * 20_000}), ErrorCode.BAD_DATA, "devices[0]: expected"),
        (text("join_as_publisher", {"room_id": 1, "inviter": "\ud800"}), ErrorCode.BAD_DATA, "inviter: expected text"),
        (text("start_receiving", {"sdp": "\ud800"}), ErrorCode.BAD_DATA, "sdp: expected"),
        (text("offer_from_device", {"sdp": 5}), ErrorCode.BAD_DATA, "sdp: expected a non-empty string, got an integer"),
        (
            text("join_as_subscriber", {"room_id": 1, "feed": 1, "tracks": ["t"] * 65}),
            ErrorCode.BAD_DATA,
            "a list of 65",
        ),
        (text("leave", {"room_id": "all"}), ErrorCode.BAD_DATA, "room_id: expected an integer, got a string"),
        (text("create_room", {}, id=[]), ErrorCode.BAD_DATA, "id: expected a number or a string"),
        (text("create_room", {}, id=10**400), ErrorCode.BAD_DATA, "got an integer of 1329 bits, more than 64"),
        (text("create_room", {}, id=True), ErrorCode.BAD_DATA, "id: expected a number or a string"),
        (text("create_room", {}, id="x" * 200), ErrorCode.BAD_DATA, "200 characters"),
        ('{"event": "create_room", "id": 1e999}', ErrorCode.BAD_DATA, "id: expected a number"),
    ],
)
def test_what_is_wrong_is_named(message: str, code: ErrorCode, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(Role.WEB, message)
    assert caught.value.code is code
    assert words in caught.value.message


@pytest.mark.parametrize(
    "event", ["create_room", "invite_devices", "join_as_subscriber", "start_receiving", "start_streaming"]
)
def test_a_device_has_none_of_a_webs_events(event: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(Role.DEVICE, text(event, {"room_id": 1, "feed": 1, "sdp": "v=0"}, id="q"))
    assert (caught.value.code, caught.value.event, caught.value.request_id) == (ErrorCode.UNKNOWN_EVENT, event, "q")


@pytest.mark.parametrize("request_id", [0, 5, -1, 1.5, "", "a", None])
def test_the_request_id_is_given_back(request_id: Any) -> None:
    message = {"event": "join_as_publisher", "data": {"room_id": 1}, "id": request_id}
    assert decode(Role.WEB, json.dumps(message))[0] == request_id
    message["data"] = {"room_id": "x"}
    with pytest.raises(ProtocolError) as caught:
        decode(Role.WEB, json.dumps(message))
    assert caught.value.request_id == request_id


def test_replies_have_the_documents_shape() -> None:
    assert json.loads(encode(protocol.RoomCreated(room_id=166))) == {"event": "room_created", "data": {"room_id": 166}}
    assert json.loads(encode(protocol.OfferToSubscriber(sdp="v=0", feed=3), "q")) == {
        "event": "offer_to_subscriber",
        "data": {"type": "offer", "sdp": "v=0", "feed": 3},
        "id": "q",
    }
    assert json.loads(encode(protocol.AnswerToClient(sdp="v=0"))) == {
        "event": "answer_to_client",
        "data": {"type": "answer", "sdp": "v=0"},
    }
    welcome = protocol.Welcome(client_id="1", role=Role.WEB, resume=None, ice_servers=(), server="aiosfu")
    assert json.loads(encode(welcome)) == {
        "event": "welcome",
        "data": {
            "client_id": "1",
            "role": "WEB",
            "resume": None,
            "ice_servers": [],
            "protocol": 1,
            "server": "aiosfu",
        },
    }


def test_an_error_names_its_event_and_repeats_the_id() -> None:
    error = protocol.Error(code=ErrorCode.BAD_SDP, message="m", failed="start_receiving")
    assert json.loads(encode(error, 7)) == {
        "event": "error",
        "data": {"code": "bad_sdp", "message": "m", "event": "start_receiving", "id": 7},
        "id": 7,
    }
    bare = protocol.Error(code=ErrorCode.BAD_JSON, message="m")
    assert json.loads(encode(bare)) == {"event": "error", "data": {"code": "bad_json", "message": "m"}}


def test_an_unknown_events_name_is_cut_and_made_printable() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(Role.WEB, json.dumps({"event": "\ud800" + "x" * 1000}))
    assert caught.value.event is not None
    assert len(caught.value.event) == protocol.MAX_ECHO_CHARS
    encode(protocol.Error(code=caught.value.code, message=caught.value.message, failed=caught.value.event))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["room_id", "feed", "sdp", "candidate", "typ", "devices", "tracks", "inviter", "x"])
EVENT_NAMES = st.sampled_from([name for events in protocol.EVENTS.values() for name in events]) | st.text(max_size=10)


@given(
    role=st.sampled_from(list(Role)),
    event=EVENT_NAMES | JSON_VALUES,
    data=st.dictionaries(FIELDS, JSON_VALUES, max_size=4) | JSON_VALUES,
    request_id=JSON_VALUES,
)
def test_any_json_is_an_event_or_a_protocol_error(role: Role, event: Any, data: Any, request_id: Any) -> None:
    message = json.dumps({"event": event, "data": data, "id": request_id})
    try:
        decode(role, message)
    except ProtocolError as error:
        shown = protocol.Error(code=error.code, message=error.message, failed=error.event)
        json.loads(encode(shown, error.request_id))


@given(role=st.sampled_from(list(Role)), message=st.text())
def test_any_text_is_an_event_or_a_protocol_error(role: Role, message: str) -> None:
    with pytest.raises(ProtocolError):
        decode(role, message + "#")
