"""An RTSP camera, as small as it can be: H264 over interleaved TCP (RFC 2326, RFC 6184).

Its parameter sets are in the SDP only.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import struct
from typing import TYPE_CHECKING

import av
from aiortc.codecs import get_encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from . import media

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_H264 = RTCRtpCodecParameters(mimeType="video/H264", clockRate=90_000, payloadType=96)


class RtspCamera:
    """Serves a raw H264 file again and again, in real time; `unplug` cuts everybody off."""

    def __init__(self, path: Path) -> None:
        with av.open(str(path)) as container:
            units = [self._nals(bytes(packet)) for packet in container.demux(video=0) if packet.size]
        self._sets = [nal for nal in units[0] if nal[0] & 31 in {7, 8}]
        self._pictures = [[nal for nal in unit if nal[0] & 31 not in {7, 8}] for unit in units]
        self._writers: set[asyncio.StreamWriter] = set()
        self.viewers = 0
        """Sessions that have played, ever."""
        self.port = 0

    @staticmethod
    def _nals(annex_b: bytes) -> list[bytes]:
        return [part.rstrip(b"\0") for part in annex_b.split(b"\0\0\1") if part.rstrip(b"\0")]

    @property
    def url(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.port}/camera"

    def unplug(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        playing: asyncio.Task[None] | None = None
        try:
            while request := await self._request(reader):
                method, headers = request
                answer = {"CSeq": headers["cseq"], "Session": "1"}
                body = ""
                if method == "DESCRIBE":
                    body, answer["Content-Type"] = self._sdp(), "application/sdp"
                elif method == "SETUP":
                    answer["Transport"] = "RTP/AVP/TCP;unicast;interleaved=0-1"
                elif method == "PLAY":
                    self.viewers += 1
                    playing = asyncio.create_task(self._play(writer))
                lines = [f"{name}: {value}" for name, value in (answer | {"Content-Length": str(len(body))}).items()]
                writer.write(("RTSP/1.0 200 OK\r\n" + "\r\n".join(lines) + "\r\n\r\n" + body).encode())
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            if playing is not None:
                playing.cancel()
                await asyncio.wait([playing])
            writer.close()

    @staticmethod
    async def _request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]] | None:
        while (first := await reader.readexactly(1)) == b"$":  # the player's RTCP
            _, size = struct.unpack("!BH", await reader.readexactly(3))
            await reader.readexactly(size)
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        return head[0].split()[0], headers

    def _sdp(self) -> str:
        sets = ",".join(base64.b64encode(nal).decode() for nal in self._sets)
        return (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\na=control:track1\r\n"
        )

    async def _play(self, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        packer = get_encoder(_H264)
        began, sequence = loop.time(), 0
        for number in range(10**6):
            packet = av.Packet(b"".join(b"\0\0\0\1" + nal for nal in self._pictures[number % len(self._pictures)]))
            packet.pts, packet.time_base = number * 90_000 // media.RATE, media.VIDEO_TIME_BASE
            payloads, timestamp = packer.pack(packet)
            for index, payload in enumerate(payloads):
                marker = 0x80 if index == len(payloads) - 1 else 0
                rtp = struct.pack("!BBHII", 0x80, 96 | marker, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 1) + payload
                writer.write(struct.pack("!cBH", b"$", 0, len(rtp)) + rtp)
                sequence += 1
            await writer.drain()
            await asyncio.sleep(max(0.0, began + (number + 1) / media.RATE - loop.time()))


@contextlib.asynccontextmanager
async def rtsp_camera(path: Path) -> AsyncIterator[RtspCamera]:
    """Run a camera that shows the raw H264 file at `path`."""
    camera = RtspCamera(path)
    server = await asyncio.start_server(camera.handle, "127.0.0.1", 0)
    camera.port = server.sockets[0].getsockname()[1]
    try:
        yield camera
    finally:
        server.close()
        camera.unplug()
        await server.wait_closed()
