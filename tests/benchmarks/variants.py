"""Variants: ways to send and to receive that were tried, each timed alone: `python -m tests.benchmarks.variants`.

CPU (user and system) a packet of 1,000 bytes over loopback, whose receiving half the kernel does in the sender's time.
The server uses what won; docs/performance.md says what that was and why.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import struct
import time
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from cffi import FFI
from pylibsrtp import Policy, Session

from sfu.rtp.packet import build_packet
from sfu.transport.dtls import MediaTransport, PacketBuffer
from sfu.transport.fanout import Fanout, Outlet
from sfu.transport.kernel import UDP_SEGMENT
from sfu.transport.port import MediaPort
from sfu.transport.udp import UdpPath

from .report import markdown

if TYPE_CHECKING:
    from collections.abc import Callable

VIEWERS: Final = 150
PAYLOAD_BYTES: Final = 988
UDP_GRO: Final = 104
RECEIVED: Final = 64

Frame = list[bytes]


class Viewer:
    """A socket that is never read, and the keys that packets to it are encrypted with."""

    def __init__(self, port: MediaPort) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.sock.bind(("127.0.0.1", 0))
        self.address = self.sock.getsockname()
        policy = Policy(os.urandom(28), Policy.SSRC_ANY_OUTBOUND, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM)
        policy.allow_repeat_tx = True
        self.session = Session(policy)
        self.transport = SimpleNamespace(tx_session=self.session._srtp[0], tag_bytes=16, drops=Counter[str]())
        self.outlet = Outlet(UdpPath(port._sockets[0], self.address), cast("MediaTransport", self.transport))
        self.connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.connected.connect(self.address)


def frames(count: int, packets: int) -> list[Frame]:
    """Return frames of packets that SRTP has not seen."""
    return [
        [
            build_packet(
                payload_type=96,
                sequence_number=(number * packets + index) & 0xFFFF,
                timestamp=number * 3000,
                ssrc=packets,
                marker=False,
                extensions=b"",
                payload=bytes(PAYLOAD_BYTES),
            )
            for index in range(packets)
        ]
        for number in range(count)
    ]


def control(frame: Frame) -> list[tuple[int, int, bytes]]:
    """Return the control message for a segmented send of a frame with GCM's tag."""
    return [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("@H", len(frame[0]) + 16))]


class Senders:
    """The ways to send one frame to every viewer."""

    def __init__(self, port: MediaPort, viewers: list[Viewer]) -> None:
        self.sock = port._sockets[0].sock
        self.viewers = viewers
        self.outlets = [viewer.outlet for viewer in viewers]
        self.many = Fanout(port.drops)
        self.buffer = PacketBuffer()
        self.ways: dict[str, Callable[[Frame], None]] = {
            "sendto, packet by packet": self.sendto,
            "a connected socket a viewer, send": self.connected,
            "UDP_SEGMENT sendmsg a viewer": self.segmented,
            "a connected socket a viewer, UDP_SEGMENT sendmsg": self.connected_segmented,
            "libsrtp called directly, UDP_SEGMENT sendmsg a viewer": self.direct_segmented,
            "the server's fan-out (direct, UDP_SEGMENT, sendmmsg for 32 viewers)": self.fan_out,
        }

    def sendto(self, frame: Frame) -> None:
        for viewer in self.viewers:
            for packet in frame:
                self.sock.sendto(viewer.session.protect(packet), viewer.address)

    def connected(self, frame: Frame) -> None:
        for viewer in self.viewers:
            for packet in frame:
                viewer.connected.send(viewer.session.protect(packet))

    def segmented(self, frame: Frame) -> None:
        segments = control(frame)
        for viewer in self.viewers:
            self.sock.sendmsg([viewer.session.protect(packet) for packet in frame], segments, 0, viewer.address)

    def connected_segmented(self, frame: Frame) -> None:
        segments = control(frame)
        for viewer in self.viewers:
            viewer.connected.sendmsg([viewer.session.protect(packet) for packet in frame], segments)

    def direct_segmented(self, frame: Frame) -> None:
        segments = control(frame)
        for viewer in self.viewers:
            _, size = MediaTransport.protect_run(cast("MediaTransport", viewer.transport), frame, self.buffer)
            self.sock.sendmsg((self.buffer.memory[:size],), segments, 0, viewer.address)

    def fan_out(self, frame: Frame) -> None:
        self.many.send([frame], self.outlets)


def time_sending(port: MediaPort, viewers: list[Viewer], packets: int, rounds: int) -> dict[str, float]:
    """Return microseconds a packet for each way to send frames of so many packets."""
    ways = Senders(port, viewers).ways
    prepared = iter(frames(rounds * len(ways), packets))
    result = {}
    for name, send in ways.items():
        began = time.process_time()
        for _ in range(rounds):
            send(next(prepared))
        result[name] = (time.process_time() - began) * 1e6 / (rounds * packets * len(viewers))
    return result


def receive_one_by_one(sock: socket.socket) -> int:
    """Drain a socket as the server does."""
    count = 0
    try:
        while True:
            sock.recvfrom(2048)
            count += 1
    except BlockingIOError:
        return count


class ManyReceiver:
    """Drain a socket by recvmmsg, into memory of its own."""

    def __init__(self) -> None:
        self.ffi = FFI()
        self.ffi.cdef(
            """
            struct iovec { void *iov_base; size_t iov_len; };
            struct msghdr { void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
                            void *msg_control; size_t msg_controllen; int msg_flags; };
            struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
            int recvmmsg(int sockfd, struct mmsghdr *msgvec, unsigned int vlen, int flags, void *timeout);
            """
        )
        self.libc: Any = self.ffi.dlopen(None)
        self.data = self.ffi.new("char[]", RECEIVED * 2048)
        self.names = self.ffi.new("char[]", RECEIVED * 16)
        self.vectors = self.ffi.new("struct iovec[]", RECEIVED)
        self.messages = self.ffi.new("struct mmsghdr[]", RECEIVED)
        self.view, self.name_view = self.ffi.buffer(self.data), self.ffi.buffer(self.names)
        for number in range(RECEIVED):
            self.vectors[number].iov_base = self.data + number * 2048
            self.vectors[number].iov_len = 2048
            header = self.messages[number].msg_hdr
            header.msg_name, header.msg_namelen = self.names + number * 16, 16
            header.msg_iov, header.msg_iovlen = self.vectors + number, 1

    def __call__(self, sock: socket.socket) -> int:
        """Return how many datagrams were there, each made bytes with its address, as the server needs them."""
        count = 0
        while (some := self.libc.recvmmsg(sock.fileno(), self.messages, RECEIVED, 0, self.ffi.NULL)) > 0:
            for number in range(some):
                start = number * 2048
                _ = self.view[start : start + self.messages[number].msg_len]
                _ = self.name_view[number * 16 : number * 16 + 16]
            count += some
        return count


def time_receiving(datagrams: int, burst: int) -> dict[str, float]:
    """Return microseconds a datagram for each way to drain bursts of so many."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    result = {}
    drains: dict[str, Callable[[socket.socket], int]] = {"recvfrom": receive_one_by_one, "recvmmsg": ManyReceiver()}
    for name, drain in drains.items():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)  # noqa: FBT003  the standard library's signature
            spent = 0.0
            for _ in range(datagrams // burst):
                for _ in range(burst):
                    sender.sendto(bytes(1000), sock.getsockname())
                began = time.process_time()
                received = drain(sock)
                spent += time.process_time() - began
                assert received == burst
            result[name] = spent * 1e6 / (datagrams // burst * burst)
    sender.close()
    return result


def gro_joins(*, segmented: bool) -> float:
    """Return how many datagrams one receive call gives with UDP_GRO, from a sender that segments or does not."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        sock.settimeout(1)
        packets = [bytes(1000)] * 12
        if segmented:
            sender.sendmsg(packets, [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("@H", 1000))], 0, sock.getsockname())
        else:
            for packet in packets:
                sender.sendto(packet, sock.getsockname())
        calls = received = 0
        while received < len(packets):
            received += len(sock.recv(65_536)) // 1000
            calls += 1
        return received / calls


async def run(rounds: int, viewers: int) -> list[dict[str, Any]]:
    """Time everything; return rows for a table."""
    port = MediaPort()
    await port.open(["127.0.0.1"], 0, tcp=False)
    crowd = [Viewer(port) for _ in range(viewers)]
    by_size = {packets: time_sending(port, crowd, packets, max(rounds // packets, 1)) for packets in (1, 2, 6)}
    rows: list[dict[str, Any]] = [
        {"variant": name, **{f"us, {packets} at once": round(times[name], 2) for packets, times in by_size.items()}}
        for name in by_size[1]
    ]
    by_burst = {burst: time_receiving(rounds * 20, burst) for burst in (1, 2, 6)}
    rows += [
        {"variant": name, **{f"us, {burst} at once": round(times[name], 2) for burst, times in by_burst.items()}}
        for name in by_burst[1]
    ]
    for segmented in (False, True):
        name = f"UDP_GRO, datagrams a call, sender {'segments' if segmented else 'sends one by one'}"
        rows.append({"variant": name, "us, 6 at once": gro_joins(segmented=segmented)})
    for viewer in crowd:
        viewer.sock.close()
        viewer.connected.close()
    port.close()
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.variants", description=__doc__)
    parser.add_argument("--rounds", type=int, default=600, help="packets sent to each viewer (default 600)")
    arguments = parser.parse_args()
    print(markdown(asyncio.run(run(arguments.rounds, VIEWERS))))  # noqa: T201  the output


if __name__ == "__main__":
    main()
