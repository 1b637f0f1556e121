"""The stock comparison: an aiortc `MediaRelay` server as its examples write it. It encodes for each viewer."""

import sys

import aioice.ice
from aiohttp import web
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay

relay = MediaRelay()
tracks: list[MediaStreamTrack] = []
peers: set[RTCPeerConnection] = set()


async def connect(request: web.Request) -> web.Response:
    pc = RTCPeerConnection()
    peers.add(pc)
    pc.on("track", tracks.append)
    if request.path == "/watch":
        for track in tracks:
            pc.addTrack(relay.subscribe(track))
    await pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
    await pc.setLocalDescription(await pc.createAnswer())
    return web.Response(text=pc.localDescription.sdp)


if __name__ == "__main__":
    host, port = sys.argv[1], int(sys.argv[2])
    # aiortc leaves loopback out by itself.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [host]  # noqa: ARG005  aioice's signature
    app = web.Application()
    app.add_routes([web.post("/publish", connect), web.post("/watch", connect)])
    web.run_app(app, host=host, port=port, print=None, access_log=None)
