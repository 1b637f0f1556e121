"""What each event of a client asks of the rooms. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import inputs, protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .effects import Client
    from .inputs import ClientRequest
    from .protocol import Kind, RequestId

ALL_KINDS: frozenset[Kind] = frozenset(("audio", "video"))


def to_request(client: Client, event: protocol.Inbound, request_id: RequestId | None) -> ClientRequest:
    """Return what `event` asks of the rooms. `Ice`, `Auth` and `Ping` ask nothing of them: they are not to be given."""
    return _REQUESTS[type(event)](client, event, request_id)


def _kinds(event: protocol.PauseReceiving | protocol.ResumeReceiving) -> frozenset[Kind]:
    return ALL_KINDS if event.kinds is None else frozenset(event.kinds)


_REQUESTS: Mapping[type[protocol.Inbound], Callable[[Client, Any, RequestId | None], ClientRequest]] = {
    protocol.CreateRoom: lambda client, _event, id_: inputs.RoomRequested(client, id_),
    protocol.JoinAsPublisher: lambda client, event, id_: inputs.JoinRequested(client, event.room_id, id_),
    protocol.InviteDevices: lambda client, event, id_: inputs.InviteRequested(
        client, event.room_id, None if event.devices is None else tuple(map(str, event.devices)), id_, event.standing
    ),
    protocol.ListDevices: lambda client, _event, id_: inputs.DevicesRequested(client, id_),
    protocol.OfferFromDevice: lambda client, event, id_: inputs.OfferReceived(client, event.sdp, id_),
    protocol.JoinAsSubscriber: lambda client, event, id_: inputs.SubscribeRequested(
        client, event.room_id, event.feed, event.tracks, id_
    ),
    protocol.StartReceiving: lambda client, event, id_: inputs.AnswerReceived(client, event.sdp, event.feed, id_),
    protocol.StopReceiving: lambda client, event, id_: inputs.StopReceivingRequested(client, event.feed, id_),
    protocol.PauseReceiving: lambda client, event, id_: inputs.PauseRequested(
        client, event.feed, _kinds(event), paused=True, request_id=id_
    ),
    protocol.ResumeReceiving: lambda client, event, id_: inputs.PauseRequested(
        client, event.feed, _kinds(event), paused=False, request_id=id_
    ),
    protocol.Unpublish: lambda client, _event, id_: inputs.UnpublishRequested(client, id_),
    protocol.Leave: lambda client, event, id_: inputs.LeaveRequested(client, event.room_id, id_),
}
