"""How the load speaks to each server: our protocol, Janus's VideoRoom API, the stock server's two requests."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp

if TYPE_CHECKING:
    from .network import Network
    from .processes import Kind

REPLY_TIMEOUT_SECONDS = 20.0
MAX_WAITING_EVENTS = 4096
"""Events of one socket that nobody has read: 600 viewers' worth of presence, and some."""
JANUS_KEEPALIVE_SECONDS = 20.0
JANUS_RETRY_SECONDS = 0.05


class SignallingError(Exception):
    """A server that refused or did not answer."""


class Viewer(Protocol):
    """A viewer that has joined and may subscribe."""

    async def subscribe(self) -> str:
        """Ask for the feed and return the server's offer."""
        ...

    async def start(self, answer: str) -> None:
        """Give our answer."""
        ...


class Signalling(Protocol):
    """One server's signalling."""

    def __init__(self, host: str) -> None: ...

    async def publish(self, number: int, offer: str) -> str:
        """Publish the source `number` and return the server's answer."""
        ...

    async def viewer(self, number: int) -> Viewer:
        """Join as a viewer of the source `number`, whose media flows."""
        ...

    async def watch(self, offer: str) -> str:
        """Watch by an offer of ours, where the server answers viewers."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


def signalling_for(kind: Kind, network: Network) -> Signalling:
    """Return the signalling that a server speaks."""
    kinds: dict[Kind, type[Signalling]] = {"aiosfu": OurSignalling, "janus": JanusSignalling, "stock": StockSignalling}
    return kinds[kind](f"{network.server_host}:{network.signalling_port}")


class _Socket:
    """One WebSocket with a reader of its own, since pings are answered while somebody reads."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._reader = asyncio.create_task(self._read())

    async def send(self, event: str, **data: Any) -> None:
        await self._socket.send_json({"event": event, "data": data})

    async def expect(self, event: str) -> dict[str, Any]:
        """Return the data of the next event of that name; others are passed over, errors raised."""
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_SECONDS):
                while True:
                    message = await self._events.get()
                    if message["event"] == event:
                        data: dict[str, Any] = message["data"]
                        return data
                    if message["event"] in {"error", "closed"}:
                        raise SignallingError(f"waiting for {event}: {message}")
        except TimeoutError:
            raise SignallingError(f"no {event} within {REPLY_TIMEOUT_SECONDS} s") from None

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])
        await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._put(message.json())
        self._put({"event": "closed", "data": {"code": self._socket.close_code}})

    def _put(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._events.put_nowait(message)


class OurSignalling:
    """The protocol of this project: each viewer and each device is a client of its own."""

    def __init__(self, host: str) -> None:
        self._url = f"ws://{host}/ws/connect"
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._sockets: list[_Socket] = []
        self._rooms: dict[int, int] = {}
        self._hosts: dict[int, _Socket] = {}
        self._feeds: dict[int, int] = {}
        self._learning = asyncio.Lock()

    async def publish(self, number: int, offer: str) -> str:
        """Invite a device from a room of its own and answer for it."""
        device = await self._connect("DEVICE", f"device-{number}")
        host = await self._connect("WEB", f"host-{number}")
        await host.send("create_room")
        room = self._rooms[number] = (await host.expect("room_created"))["room_id"]
        await host.send("join_as_publisher", room_id=room, inviter=f"host-{number}")
        await host.expect("joined_as_publisher")
        await host.send("invite_devices", room_id=room, devices=[f"device-{number}"])
        await device.expect("start_streaming")
        await device.send("join_as_publisher", room_id=room, inviter=f"host-{number}")
        await device.expect("joined_as_publisher")
        await device.send("offer_from_device", sdp=offer)
        self._hosts[number] = host
        return str((await device.expect("answer_to_client"))["sdp"])

    async def viewer(self, number: int) -> OurViewer:
        """Join the device's room with a socket of the viewer's own."""
        async with self._learning:
            if number not in self._feeds:
                self._feeds[number] = (await self._hosts[number].expect("start_listening"))["feed"]
        name = f"viewer-{secrets.token_hex(6)}"
        socket = await self._connect("WEB", name)
        await socket.send("join_as_publisher", room_id=self._rooms[number], inviter=name)
        await socket.expect("joined_as_publisher")
        return OurViewer(socket, self._rooms[number], self._feeds[number])

    async def watch(self, offer: str) -> str:
        """Refuse: this server offers."""
        raise SignallingError(f"this server sends offers, it takes none from a viewer ({len(offer)} characters)")

    async def close(self) -> None:
        """Close every socket."""
        await asyncio.gather(*(socket.close() for socket in self._sockets))
        await self._http.close()

    async def _connect(self, role: str, name: str) -> _Socket:
        socket = _Socket(await self._http.ws_connect(f"{self._url}/{role}/{name}/x"))
        self._sockets.append(socket)
        await socket.expect("welcome")
        return socket


class OurViewer:
    """A viewer of our server."""

    def __init__(self, socket: _Socket, room: int, feed: int) -> None:
        self._socket = socket
        self._room = room
        self._feed = feed

    async def subscribe(self) -> str:
        """Ask for the feed and return the server's offer."""
        await self._socket.send("join_as_subscriber", room_id=self._room, feed=self._feed)
        return str((await self._socket.expect("offer_to_subscriber"))["sdp"])

    async def start(self, answer: str) -> None:
        """Give our answer."""
        await self._socket.send("start_receiving", sdp=answer, feed=self._feed)

    async def leave(self) -> None:
        """Leave the room; the server closes the viewer's connection."""
        await self._socket.send("leave")
        await self._socket.expect("left")


class JanusSignalling:
    """Janus's API over one WebSocket and one session; each peer is a handle of the VideoRoom plugin."""

    def __init__(self, host: str) -> None:
        self._url = f"ws://{host}"
        self._http = aiohttp.ClientSession()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._session = 0
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def publish(self, number: int, offer: str) -> str:
        """Make a room and publish into it."""
        handle = await self.attach()
        room = {"request": "create", "room": number + 1, "publishers": 1, "bitrate": 0, "videocodec": "vp8"}
        await self.message(handle, room | {"audiocodec": "opus"})
        await self.message(handle, {"request": "join", "ptype": "publisher", "room": number + 1, "id": number + 1})
        reply = await self.message(handle, {"request": "publish"}, {"type": "offer", "sdp": offer})
        return str(reply["jsep"]["sdp"])

    async def viewer(self, number: int) -> Viewer:
        """Attach a handle."""
        return _JanusViewer(self, await self.attach(), number + 1)

    async def watch(self, offer: str) -> str:
        """Refuse: the VideoRoom offers."""
        raise SignallingError(f"this server sends offers, it takes none from a viewer ({len(offer)} characters)")

    async def attach(self) -> int:
        """Return a new handle, opening the session first where there is none."""
        if self._socket is None:
            self._socket = await self._http.ws_connect(self._url, protocols=["janus-protocol"])
            self._tasks = [asyncio.create_task(self._read(self._socket)), asyncio.create_task(self._keep_alive())]
            self._session = (await self._request({"janus": "create"}))["data"]["id"]
        reply = await self._request({"janus": "attach", "plugin": "janus.plugin.videoroom"})
        return int(reply["data"]["id"])

    async def message(self, handle: int, body: dict[str, Any], jsep: dict[str, str] | None = None) -> dict[str, Any]:
        """Send a plugin message and return its reply."""
        request: dict[str, Any] = {"janus": "message", "handle_id": handle, "body": body}
        reply = await self._request(request | ({"jsep": jsep} if jsep else {}))
        data = reply.get("plugindata", {}).get("data", {})
        if "error" in data:
            raise SignallingError(f"{body['request']}: {data['error']}")
        return reply

    async def close(self) -> None:
        """Close the socket; Janus ends the session with it."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._http.close()

    async def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._socket is not None
        transaction = secrets.token_hex(6)
        reply = self._waiting[transaction] = asyncio.get_running_loop().create_future()
        session = {"session_id": self._session} if self._session else {}
        try:
            await self._socket.send_json(request | session | {"transaction": transaction})
            async with asyncio.timeout(REPLY_TIMEOUT_SECONDS):
                message: dict[str, Any] = await reply
        except TimeoutError:
            raise SignallingError(f"Janus did not answer {request['janus']}") from None
        finally:
            del self._waiting[transaction]
        if message["janus"] == "error":
            raise SignallingError(f"{request['janus']}: {message['error']}")
        return message

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for raw in socket:
            if raw.type is not aiohttp.WSMsgType.TEXT:
                continue
            message: dict[str, Any] = raw.json()
            waiting = self._waiting.get(message.get("transaction", ""))
            if waiting is not None and not waiting.done() and message["janus"] != "ack":
                waiting.set_result(message)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(JANUS_KEEPALIVE_SECONDS)
            if self._socket is not None:
                request = {"janus": "keepalive", "session_id": self._session, "transaction": "keepalive"}
                await self._socket.send_json(request)


class _JanusViewer:
    def __init__(self, janus: JanusSignalling, handle: int, room: int) -> None:
        self._janus = janus
        self._handle = handle
        self._room = room

    async def subscribe(self) -> str:
        join = {"request": "join", "ptype": "subscriber", "room": self._room, "streams": [{"feed": self._room}]}
        async with asyncio.timeout(REPLY_TIMEOUT_SECONDS):
            while True:
                try:
                    return str((await self._janus.message(self._handle, join))["jsep"]["sdp"])
                except SignallingError as error:
                    # A feed is there a moment after its publisher is connected.
                    if "No such feed" not in str(error):
                        raise
                await asyncio.sleep(JANUS_RETRY_SECONDS)

    async def start(self, answer: str) -> None:
        await self._janus.message(self._handle, {"request": "start"}, {"type": "answer", "sdp": answer})


class StockSignalling:
    """Two requests: publish and watch, an offer in, an answer out."""

    def __init__(self, host: str) -> None:
        self._url = f"http://{host}"
        self._http = aiohttp.ClientSession()

    async def publish(self, number: int, offer: str) -> str:
        """Publish; this server knows one source only."""
        if number:
            raise SignallingError("the stock server takes one source")
        return await self._post("/publish", offer)

    async def viewer(self, number: int) -> Viewer:
        """Refuse: this server does not offer."""
        raise SignallingError(f"the stock server answers, it makes no offers (source {number})")

    async def watch(self, offer: str) -> str:
        """Watch the one source."""
        return await self._post("/watch", offer)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _post(self, path: str, offer: str) -> str:
        async with self._http.post(self._url + path, data=offer) as response:
            if response.status != 200:
                raise SignallingError(f"{path}: HTTP {response.status}")
            return await response.text()
