"""Grants: what each event takes, and what a client is shown. Pure; over real sockets in test_grants_sockets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from signaling import auth, protocol
from signaling.auth import Grant
from signaling.protocol import EVENTS, Role

WEB = Grant(Role.WEB, "web")
NARROW = Grant(Role.WEB, "web", rooms=frozenset({1}), devices=frozenset({"cam"}), publish=False, subscribe=False)


def test_every_event_has_a_rule() -> None:
    names = {name for events in EVENTS.values() for name in events}
    assert names <= set(auth._RULES)


def event(name: str, **data: Any) -> protocol.Inbound:
    return EVENTS[Role.WEB][name].model_validate(data)


@pytest.mark.parametrize(
    ("name", "data", "refused", "allowed_by"),
    [
        ("create_room", {}, "rooms:", Grant(Role.WEB, "web", devices=frozenset(), publish=False, subscribe=False)),
        ("join_as_publisher", {"room_id": 2}, "rooms: the token does not grant room 2", WEB),
        ("invite_devices", {"room_id": 2}, "rooms:", WEB),
        ("invite_devices", {"room_id": 1, "devices": ["cam", "gate"]}, "devices: the token does not grant gate", WEB),
        ("invite_devices", {"room_id": 1, "devices": [7]}, "devices:", WEB),
        ("join_as_subscriber", {"room_id": 1, "feed": 9}, "subscribe:", WEB),
        ("start_receiving", {"sdp": "v=0"}, "subscribe:", WEB),
        ("pause_receiving", {"feed": 9}, "subscribe:", WEB),
        ("resume_receiving", {"feed": 9}, "subscribe:", WEB),
        ("offer_from_device", {"sdp": "v=0"}, "publish:", WEB),
    ],
)
def test_what_an_event_takes(name: str, data: dict[str, Any], refused: str, allowed_by: Grant) -> None:
    asked = event(name, **data)
    assert (NARROW.refuses(asked) or "").startswith(refused)
    assert allowed_by.refuses(asked) is None


def test_subscribing_takes_the_room_too() -> None:
    may_watch = Grant(Role.WEB, "web", rooms=frozenset({1}))
    assert may_watch.refuses(event("join_as_subscriber", room_id=1, feed=9)) is None
    assert (may_watch.refuses(event("join_as_subscriber", room_id=2, feed=9)) or "").startswith("rooms:")
    assert NARROW.refuses_feed("cam") is None
    assert NARROW.refuses_feed("web") is None
    assert (NARROW.refuses_feed("gate") or "").startswith("devices:")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("leave", {}),
        ("leave", {"room_id": 2}),
        ("unpublish", {}),
        ("stop_receiving", {"feed": 9}),
        ("ice", {}),
        ("auth", {"token": "x"}),
    ],
)
def test_what_ends_something_is_never_refused(name: str, data: dict[str, Any]) -> None:
    assert NARROW.refuses(event(name, **data)) is None


def test_an_event_without_a_rule_is_refused_to_whoever_is_limited() -> None:
    class Novelty(protocol.Inbound):
        event = "novelty"

    assert WEB.refuses(Novelty()) is None
    for limited in (NARROW, Grant(Role.WEB, "web", publish=False), Grant(Role.DEVICE, "web", rooms=frozenset())):
        assert limited.refuses(Novelty()) == "the token does not grant novelty"


def test_a_grant_covers_what_another_allows() -> None:
    """Pair by pair: who resumes under less would keep what it began under more."""
    narrower: list[dict[str, Any]] = [
        {"rooms": frozenset({1})},
        {"rooms": frozenset()},
        {"devices": frozenset({"cam"})},
        {"publish": False},
        {"subscribe": False},
    ]
    for less in narrower:
        limited = replace(WEB, **less)
        assert (WEB.covers(limited), limited.covers(WEB), limited.covers(limited)) == (True, False, True), less
    one, two = (replace(WEB, devices=frozenset(names)) for names in (["cam"], ["cam", "gate"]))
    assert (two.covers(one), one.covers(two)) == (True, False)
    assert WEB.covers(replace(WEB, admin=True, expires=1.0)), "administering is no part of a session"


def test_every_device_means_every_one_that_is_granted() -> None:
    asked = event("invite_devices", room_id=1)
    assert WEB.narrow(asked) == asked
    narrowed = NARROW.narrow(asked)
    assert isinstance(narrowed, protocol.InviteDevices)
    assert (narrowed.room_id, narrowed.devices) == (1, ("cam",))
    assert NARROW.refuses(narrowed) is None
    named = event("invite_devices", room_id=1, devices=["cam"])
    assert NARROW.narrow(named) == named


def feed_of(device: str) -> list[protocol.Outbound]:
    return [
        protocol.StartListening(feed=1, room_id=1, device=device, tracks=()),
        protocol.StopListening(room_id=1, feed=1, device=device, reason="left"),
    ]


def test_a_client_is_shown_what_it_may_know() -> None:
    for shown in (*feed_of("cam"), *feed_of("web"), protocol.Left(room_id=1)):
        assert NARROW.show(shown) is shown
    for hidden in feed_of("gate"):
        assert NARROW.show(hidden) is None
        assert WEB.show(hidden) is hidden
        assert Grant(Role.DEVICE, "x", devices=frozenset()).show(hidden) is hidden


def test_a_list_of_devices_is_shortened() -> None:
    entries = tuple(protocol.DeviceStatus(device=name, state="available") for name in ("cam", "gate", "web"))
    full = protocol.Devices(devices=entries)
    assert NARROW.show(full) == protocol.Devices(devices=(entries[0], entries[2]))
    assert WEB.show(full) is full
    late = protocol.DevicesUnavailable(room_id=1, devices=("gate", "cam"))
    assert NARROW.show(late) == protocol.DevicesUnavailable(room_id=1, devices=("cam",))


def test_every_event_that_names_a_device_is_filtered_by_it() -> None:
    """A new event with the device under another name would pass the filter: this test is where one finds out."""
    named = {
        model.__name__
        for model in vars(protocol).values()
        if isinstance(model, type) and issubclass(model, protocol.Outbound) and hasattr(model, "event")
        if {"device", "devices"} & set(model.model_fields)
    }
    assert named == {
        *("StartListening", "StopListening", "TracksChanged", "DeviceOnline", "DeviceOffline"),
        *("Devices", "DevicesUnavailable"),
    }
