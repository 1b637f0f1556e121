"""Which devices are there, and who of them is asked to publish where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from signaling import protocol
from signaling.effects import Client
from signaling.events.codes import CLIENT_ID, CLIENT_ID_EXPECTED, MAX_ECHO_CHARS
from signaling.protocol import ErrorCode, Role
from signaling.state import AbsenceEnds, FeedState, Invitation, InvitationExpires

from .announcing import announce
from .turn import RefusedError, not_in_room

if TYPE_CHECKING:
    from signaling.inputs import DevicesRequested, InviteRequested
    from signaling.state import Participant, Room

    from .turn import Turn

MAX_STANDING_NAMES = 1024
"""Devices by name that one room may wait for."""


def device_came(turn: Turn, client: Client) -> None:
    """Tell every WEB of a device that has connected, and invite it into the rooms that wait for such."""
    news = protocol.DeviceOnline(device=client.id)
    for web in turn.state.webs:
        turn.send(web, news)
    for number in turn.state.standing:
        room = turn.state.rooms[number]
        inviter = room.standing.get(client.id) or room.standing.get(None)
        if inviter is None or not turn.state.participants[client].may_serve(number):
            continue
        if turn.is_crowded(room):
            _report(turn, room, inviter, (client,))
        else:
            _ask(turn, room, client, protocol.StartStreaming(room_id=room.id, inviter=inviter.id), inviter)


def device_went(turn: Turn, client: Client) -> None:
    """Tell every WEB that a device is gone."""
    news = protocol.DeviceOffline(device=client.id)
    for web in turn.state.webs:
        turn.send(web, news)


def list_devices(turn: Turn, event: DevicesRequested) -> None:
    """Tell which devices are online."""
    found = tuple(_status(turn, turn.state.participants[client]) for client in turn.state.devices)
    turn.reply(event, protocol.Devices(devices=found))


def _status(turn: Turn, device: Participant) -> protocol.DeviceStatus:
    feed = None if device.feed is None else turn.state.feeds[device.feed]
    if feed is not None and feed.state is FeedState.FLOWING:
        return protocol.DeviceStatus(device=device.client.id, state="streaming", feed=feed.id, tracks=feed.tracks)
    state: Literal["available", "invited"] = "invited" if device.rooms or device.invitations else "available"
    if device.listed is None or device.listed.state != state:
        device.listed = protocol.DeviceStatus(device=device.client.id, state=state)
    return device.listed


def invite(turn: Turn, event: InviteRequested) -> None:
    """Ask devices that do not publish to do so; share the feeds of those that do."""
    room = turn.room(event.room)
    if event.client not in room.members:
        raise not_in_room(room.id)
    wanted = list(turn.state.devices)
    if event.devices is not None:
        _check_names(event.devices)
        wanted = [Client(Role.DEVICE, name) for name in dict.fromkeys(event.devices)]
    if event.standing:
        _stand(turn, room, event)
    invited: list[Client] = []
    attached: list[Client] = []
    unavailable: list[Client] = []
    for client in wanted:
        device = turn.state.participants.get(client)
        crowded = client not in room.members and turn.is_crowded(room, len(attached))
        if device is None or crowded or not device.may_serve(room.id):
            unavailable.append(client)
        elif device.feed is None:
            invited.append(client)
        else:
            attached.append(client)
    reply = protocol.DevicesInvited(
        room_id=room.id,
        invited=tuple(client.id for client in invited),
        attached=tuple(client.id for client in attached),
        unavailable=tuple(client.id for client in unavailable),
    )
    turn.reply(event, reply)
    call = protocol.StartStreaming(room_id=room.id, inviter=event.client.id)
    for client in invited:
        _ask(turn, room, client, call, event.client)
    for client in attached:
        device = turn.state.participants[client]
        if device.feed is not None and turn.state.feeds[device.feed].state is not FeedState.FLOWING:
            _wait_for(turn, room, client, event.client)
        attach(turn, device, room)


def _check_names(names: tuple[str, ...]) -> None:
    """Refuse a name that no device can have; one that is merely not there is unavailable, and may come."""
    for number, name in enumerate(names):
        if not CLIENT_ID.fullmatch(name):
            shown = name[:MAX_ECHO_CHARS]
            raise RefusedError(
                ErrorCode.DEVICE_NOT_FOUND,
                f"devices[{number}]: no device can be called {shown!r}; a device's id has {CLIENT_ID_EXPECTED}",
            )


def _stand(turn: Turn, room: Room, event: InviteRequested) -> None:
    names: tuple[str | None, ...] = (None,) if event.devices is None else event.devices
    if len({*room.standing, *names}) > MAX_STANDING_NAMES:
        raise RefusedError(
            ErrorCode.BAD_STATE, f"room {room.id} may wait for {MAX_STANDING_NAMES} devices by name; leave devices out"
        )
    for name in names:
        room.standing.setdefault(name, event.client)
    if room.standing:
        turn.state.standing[room.id] = None


def _ask(turn: Turn, room: Room, client: Client, call: protocol.StartStreaming, inviter: Client) -> None:
    """Invite a device. One that is asked again keeps the limit of its first time."""
    # One that is away finds the first when it is back.
    if client not in room.invitations or AbsenceEnds(client) not in turn.state.timers:
        turn.send(client, call)
    _wait_for(turn, room, client, inviter)


def _wait_for(turn: Turn, room: Room, client: Client, inviter: Client) -> None:
    """Have `inviter` told when the device's media does not flow in time."""
    open_one = room.invitations.get(client)
    if open_one is not None:
        if inviter not in open_one.inviters:
            open_one.inviters += (inviter,)
        return
    due = turn.now + turn.limits.invitation_seconds
    room.invitations[client] = Invitation((inviter,), due)
    turn.state.participants[client].invitations[room.id] = None
    if InvitationExpires(room.id) not in turn.state.timers:
        turn.state.timers.set(InvitationExpires(room.id), due)


def attach(turn: Turn, device: Participant, room: Room) -> None:
    """Make a publishing device a member: its one uplink serves this room too."""
    turn.enter(device, room)
    announce(turn, device, room)


def attach_invited(turn: Turn, device: Participant) -> None:
    """Serve every room that waits for a device which publishes now, joined or not, with its one uplink.

    They wait on until its media flows: an answer is no picture yet, and where UDP does not come through there is none.
    """
    for number in list(device.invitations):
        room = turn.state.rooms[number]
        if number in device.rooms or not turn.is_crowded(room):
            attach(turn, device, room)
        else:
            decline(turn, room, device.client)


def decline(turn: Turn, room: Room, client: Client) -> None:
    """Wait no longer for a device that will not come, and tell who asked for it."""
    invitation = room.invitations.get(client)
    close_invitation(turn, room, client)
    for inviter in () if invitation is None else invitation.inviters:
        _report(turn, room, inviter, (client,))


def taken_up(turn: Turn, device: Participant) -> None:
    """Wait no longer for a device whose media flows."""
    for number in list(device.invitations):
        close_invitation(turn, turn.state.rooms[number], device.client)


def close_invitation(turn: Turn, room: Room, client: Client) -> None:
    """Forget that a device is waited for. Harmless when it is not."""
    if room.invitations.pop(client, None) is not None:
        del turn.state.participants[client].invitations[room.id]
        if not room.invitations:
            turn.state.timers.cancel(InvitationExpires(room.id))


def report_late(turn: Turn, room: Room) -> None:
    """Tell inviters of the devices that published nothing in time."""
    late: dict[Client, list[Client]] = {}
    for client, invitation in list(room.invitations.items()):
        if invitation.due > turn.now:
            break
        for inviter in invitation.inviters:
            late.setdefault(inviter, []).append(client)
        close_invitation(turn, room, client)
    for inviter, devices in late.items():
        _report(turn, room, inviter, devices)
    if room.invitations:
        turn.state.timers.set(InvitationExpires(room.id), next(iter(room.invitations.values())).due)


def _report(turn: Turn, room: Room, inviter: Client, devices: list[Client] | tuple[Client, ...]) -> None:
    if inviter in room.members:
        news = protocol.DevicesUnavailable(room_id=room.id, devices=tuple(device.id for device in devices))
        turn.send(inviter, news)
