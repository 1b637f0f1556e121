"""Protocol clients with stock aiortc connections: real sockets, real media."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)

from tests.helpers.server import ProtocolClient, until

if TYPE_CHECKING:
    from tests.helpers.server import RunningServer


class Peer(ProtocolClient):
    """A protocol client with aiortc connections; all are closed with it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.connections: list[RTCPeerConnection] = []

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.expect("welcome")
        return self

    async def close(self) -> None:
        for connection in self.connections:
            await connection.close()
        await super().close()

    def connection(self) -> RTCPeerConnection:
        made = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connections.append(made)
        return made

    async def join(self, room: int) -> None:
        await self.send("join_as_publisher", {"room_id": room, "inviter": "x"})
        assert await self.expect("joined_as_publisher") == {"room_id": room}

    async def open_room(self) -> int:
        await self.send("create_room")
        room: int = (await self.expect("room_created"))["room_id"]
        await self.join(room)
        return room

    async def invite(self, room: int) -> dict[str, Any]:
        await self.send("invite_devices", {"room_id": room})
        return await self.expect("devices_invited")

    async def publish(self) -> RTCPeerConnection:
        return await self.publish_tracks(AudioStreamTrack(), VideoStreamTrack())

    async def publish_tracks(self, *tracks: MediaStreamTrack) -> RTCPeerConnection:
        connection = self.connection()
        for track in tracks:
            connection.addTrack(track)
        await self.negotiate(connection)
        return connection

    async def negotiate(self, connection: RTCPeerConnection) -> None:
        """Offer what a connection sends now."""
        await connection.setLocalDescription(await connection.createOffer())
        await self.send("offer_from_device", {"sdp": connection.localDescription.sdp})
        await connection.setRemoteDescription(RTCSessionDescription(**await self.expect("answer_to_client")))

    async def accept_invitation(self) -> RTCPeerConnection:
        """Do as the document's device does."""
        invitation = await self.expect("start_streaming")
        await self.send("join_as_publisher", invitation)
        await self.expect("joined_as_publisher")
        return await self.publish()

    async def subscribe(
        self, room: int, feed: int, *, name_feed: bool = True, tracks: list[str] | None = None
    ) -> list[MediaStreamTrack]:
        """Do as the document's viewer does; return the tracks, whose media has not been waited for."""
        await self.send("join_as_subscriber", {"room_id": room, "feed": feed, "tracks": tracks})
        offer = await self.expect("offer_to_subscriber")
        assert (offer["type"], offer["feed"]) == ("offer", feed)
        connection = self.connection()
        received: list[MediaStreamTrack] = []
        connection.on("track", received.append)
        await connection.setRemoteDescription(RTCSessionDescription(sdp=offer["sdp"], type="offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        await self.send("ice", {"candidate": None, "typ": "sub"})
        answer = {"sdp": connection.localDescription.sdp}
        await self.send("start_receiving", answer | {"feed": feed} if name_feed else answer)
        return received


async def receive_each(tracks: list[MediaStreamTrack]) -> list[str]:
    """Return the kinds of tracks of which a frame has come: of all of them."""
    async with asyncio.timeout(15):
        await asyncio.gather(*(track.recv() for track in tracks))
    return sorted(track.kind for track in tracks)


async def assert_engine_empty(server: RunningServer) -> None:
    """Fail unless the engine has nothing left either; its tables are private, and a leak there costs most."""
    engine: Any = server.engine
    await until(lambda: not engine._feeds and not engine._subscriptions)
