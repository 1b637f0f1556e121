"""The load of a soak: viewers who come and go in every way that there is, and devices that restart and lose their link.

ICE, DTLS and SRTP are real, by the benchmarks' light peers.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from sfu.transport.dtls import Certificate
from tests.benchmarks import sdp
from tests.benchmarks.light import LightPeerError
from tests.benchmarks.sink import Sink
from tests.benchmarks.source import Source
from tests.helpers.server import ProtocolClient, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.benchmarks.clip import Clip

HOST: Final = "127.0.0.1"
DEVICES: Final = 3
VIEWERS_AT_ONCE: Final = 24
MAX_WATCH_SECONDS: Final = 2.0
START_TIMEOUT_SECONDS: Final = 5.0
"""Who asks a device that restarts waits for so long in vain, and with it the end of a phase."""
MEDIA_TIMEOUT_SECONDS: Final = 15.0
"""For what takes a fraction of a second on a quiet machine, and on one with tests beside it may take some."""
CONNECT_ATTEMPTS: Final = 20
RETRY_SECONDS: Final = 0.25
ENDINGS: Final = ("leaves", "closes", "loses its socket, resumes and leaves", "vanishes")
"""How a viewer goes: in good order, by a closed page, over a bad link, or without a word."""


class SoakError(Exception):
    """A client that the server did not serve, for no reason that the load has given."""


class Device:
    """A device that is always there, but for its restarts."""

    def __init__(self, url: str, name: str, clip: Clip, certificate: Certificate) -> None:
        self.name = name
        self.epoch = 0
        """Beginnings and ends of its restarts so far: odd during one."""
        self._url = f"{url}/ws/connect/DEVICE/{name}/t"
        self._clip = clip
        self._certificate = certificate
        self._client: ProtocolClient | None = None
        self._source: Source | None = None
        self._task: asyncio.Task[None] | None = None
        self._handling = asyncio.Lock()

    async def start(self) -> None:
        """Connect, and serve invitations from now on."""
        self._client = await connect(self._url)
        self._task = asyncio.create_task(self._serve(self._client), name=self.name)

    async def restart(self, *, in_good_order: bool) -> None:
        """Come back as a new process would: after a goodbye, or after being killed."""
        self.epoch += 1
        await self.stop(in_good_order=in_good_order)
        await self.start()
        self.epoch += 1

    async def cut(self) -> None:
        """Lose the socket, and take the session over on a new one; media goes on."""
        assert self._client is not None
        async with self._handling:  # a message that has come is not lost with the socket
            await self._end_task()
        self._client.abort()
        await self._client.reconnect()
        self._task = asyncio.create_task(self._serve(self._client), name=self.name)

    async def stop(self, *, in_good_order: bool = True) -> None:
        """End; a device that is killed says nothing, on no connection."""
        await self._end_task()
        assert self._client is not None
        if not in_good_order:
            self._client.abort()
            if self._source is not None:
                self._source.vanish()
        await self._client.close()
        await self._end_source()

    async def _end_task(self) -> None:
        if self._task is not None:
            self._task.cancel()
            (failure,) = await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            if not isinstance(failure, asyncio.CancelledError):
                raise SoakError(f"{self.name} was not served: {failure}") from failure

    async def _end_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await source.close()

    async def _serve(self, client: ProtocolClient) -> None:
        while True:
            message = await next_message(client)
            async with self._handling:
                await self._handle(client, message)

    async def _handle(self, client: ProtocolClient, message: dict[str, Any]) -> None:
        match message["event"]:
            case "start_streaming":
                await client.send("join_as_publisher", message["data"])
            case "joined_as_publisher" if self._source is None:
                self._source = Source(HOST, self._certificate, self._clip)
                await client.send("offer_from_device", {"sdp": self._source.offer()})
            case "answer_to_client":
                await self._connect_source(str(message["data"]["sdp"]))
            case "stop_streaming" | "connection_lost" | "error":
                await self._end_source()

    async def _connect_source(self, answer: str) -> None:
        if self._source is not None:
            with contextlib.suppress(LightPeerError):  # stopped meanwhile; whoever watches is told
                await self._source.connect(sdp.parse(answer), offered=True)


class Load:
    """Everybody who connects to one server, and what they have done so far."""

    def __init__(self, url: str, clip: Clip, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self._url = url
        self._random = random.Random(seed)
        self._certificate = Certificate()
        self.devices = [Device(url, f"cam-{number}", clip, self._certificate) for number in range(DEVICES)]
        self._number = 0

    async def knock(self, count: int) -> None:
        """Connect and close so often: what remembers the last some hundred addresses has done so afterwards."""
        for number in range(count):
            client = await connect(f"{self._url}/ws/connect/WEB/knock-{number}/t")
            await client.close()

    async def run(self, joins: int, seconds: float, restart_seconds: float) -> None:
        """Let `joins` viewers come within `seconds`, while each device restarts or is cut every `restart_seconds`."""
        places = asyncio.Semaphore(VIEWERS_AT_ONCE)
        loop = asyncio.get_running_loop()
        began = loop.time()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._disturb(restart_seconds, over))
            viewers: set[asyncio.Task[None]] = set()
            for number in range(joins):
                await asyncio.sleep(max(0.0, began + number * seconds / joins - loop.time()))
                await places.acquire()
                viewer = tasks.create_task(self._viewer())
                viewers.add(viewer)
                viewer.add_done_callback(lambda _: places.release())
                viewer.add_done_callback(viewers.discard)
            if viewers:
                await asyncio.wait(viewers)
            over.set()

    async def _disturb(self, seconds: float, over: asyncio.Event) -> None:
        """Restart a device or cut its socket, one after the other, each to its end, until it is `over`."""
        ways = ("device killed and started", "device ended and started", "device's socket cut and resumed")
        number = 0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), seconds / len(self.devices))
                return
            device, way = self.devices[number % len(self.devices)], ways[number // len(self.devices) % len(ways)]
            await (device.cut() if "cut" in way else device.restart(in_good_order="ended" in way))
            self.done[way] += 1
            number += 1

    async def _viewer(self) -> None:
        """Join, watch and go; a device's restart meanwhile is a reason to see nothing."""
        self._number += 1
        device = self._random.choice(self.devices)
        ending = self._random.choice(ENDINGS)
        seconds = self._random.uniform(0, MAX_WATCH_SECONDS)
        epoch = device.epoch
        try:
            await self._visit(f"viewer-{self._number}", device, seconds, ending)
        except (AssertionError, LightPeerError, TimeoutError) as error:
            if device.epoch == epoch and epoch % 2 == 0:
                raise SoakError(f"viewer {self._number} of {device.name}, who {ending}: {error}") from error
            self.done["viewer whose device restarted"] += 1
        else:
            self.done[f"viewer {ending}"] += 1
        self.done["joins"] += 1

    async def _visit(self, name: str, device: Device, seconds: float, ending: str) -> None:
        client = await connect(f"{self._url}/ws/connect/WEB/{name}/t")
        sink = Sink(HOST, self._certificate)
        try:
            await self._watch(client, sink, device)
            await asyncio.sleep(seconds)
            if "resumes" in ending:
                client.abort()
                await client.reconnect()
                packets = sink.packets
                await until(lambda: sink.packets > packets, MEDIA_TIMEOUT_SECONDS)
            if "leaves" in ending:
                await client.send("leave")
                await client.expect("left")
        finally:
            if ending == "vanishes":
                client.abort()
                sink.vanish()
            await client.close()
            await sink.close()

    async def _watch(self, client: ProtocolClient, sink: Sink, device: Device) -> None:
        """Have a room of one's own, invite the device and receive its picture and sound."""
        await client.send("create_room")
        room = (await client.expect("room_created"))["room_id"]
        await client.send("join_as_publisher", {"room_id": room})
        await client.expect("joined_as_publisher")
        for _ in range(CONNECT_ATTEMPTS):
            await client.send("invite_devices", {"room_id": room, "devices": [device.name]})
            if not (await client.expect("devices_invited"))["unavailable"]:
                break
            await asyncio.sleep(RETRY_SECONDS)
        feed = (await client.expect("start_listening", START_TIMEOUT_SECONDS))["feed"]
        await client.send("join_as_subscriber", {"room_id": room, "feed": feed})
        offer = sdp.parse((await client.expect("offer_to_subscriber"))["sdp"])
        sink.expect(offer)
        await client.send("start_receiving", {"sdp": sdp.answer(sink.local, offer), "feed": feed})
        async with asyncio.timeout(MEDIA_TIMEOUT_SECONDS):
            await sink.connect(offer, offered=False)
        await until(lambda: len(sink.streams) >= 2, MEDIA_TIMEOUT_SECONDS, lambda: "no picture or no sound came")


@contextlib.asynccontextmanager
async def running_load(url: str, clip: Clip, seed: int) -> AsyncIterator[Load]:
    """Have the devices of a load connected for the block."""
    load = Load(url, clip, seed)
    async with contextlib.AsyncExitStack() as stack:
        for device in load.devices:
            await device.start()
            stack.push_async_callback(device.stop)
        yield load


async def connect(url: str) -> ProtocolClient:
    """Return a client that the server has welcomed; one that was killed may have left its id in use for a moment."""
    for _ in range(CONNECT_ATTEMPTS):
        client = ProtocolClient(url)
        await client.open()
        first = await next_message(client)
        if first["event"] == "welcome":
            return client
        await client.close()
        await asyncio.sleep(RETRY_SECONDS)
    raise SoakError(f"not welcome: {first}")


async def next_message(client: ProtocolClient) -> dict[str, Any]:
    """Return a client's next message, whatever it is; raise `SoakError` where its socket is closed."""
    async with client._news:
        await client._news.wait_for(lambda: bool(client.received) or client.close_code is not None)
    if not client.received:
        raise SoakError(f"{client.url}: closed with {client.close_code}")
    return client.received.pop(0)
