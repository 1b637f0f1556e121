"""A real stream through the running server, by clients of our own."""

from __future__ import annotations

import importlib
import math
import secrets
from typing import TYPE_CHECKING, Any

from signaling.config.model import flag_name, machine_addresses
from signaling.credentials.keyfiles import KeyFileError
from signaling.protocol import Role

from .findings import fail, note, ok, warn
from .told import issue_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signaling.config.model import ServerConfig

    from .findings import Finding, Subject

SLOW_START_SECONDS = 3.0
"""From connecting to the first picture; half a second is usual, and the invitation takes a round trip more."""
MAX_LOSS = 0.01
"""What retransmission does not mend is seen from about here on."""
SLOW_SECONDS = 0.4
"""From drawing to decoding, both on this machine: encoder and jitter buffer take a tenth."""


async def check_stream(subject: Subject) -> Sequence[Finding]:
    """Publish a test picture, watch it, and say how it was."""
    suffix = secrets.token_hex(4)
    names = {"device_id": f"doctor-device-{suffix}", "viewer_id": f"doctor-viewer-{suffix}"}
    try:
        given = _tokens(subject.settings, names)
    except KeyFileError as error:
        return [fail("stream", str(error), "mend the file")]
    if given is None:
        return [_left_out()]
    # By name, as the server's side never needs the clients'; their codecs take a second to import.
    selftest: Any = importlib.import_module("signaling.client.selftest")
    errors: Any = importlib.import_module("signaling.client.errors")
    try:
        measured = await selftest.measure(
            subject.url.replace("http", "ws", 1),
            **names,
            **given,
            tls_fingerprint=subject.fingerprint,
            seconds=subject.stream_seconds,
            timeout=subject.stream_timeout_seconds,
        )
    except errors.ServerError as error:
        return [_refused(error.code, str(error), has_token=bool(given["device_token"]))]
    except errors.NoFeedError as error:
        return [no_picture(subject, str(error))]
    except errors.ClientError as error:
        return [fail("stream", str(error), "see the findings above; the server's log says more at --log-level info")]
    return _judge(measured)


def _tokens(settings: ServerConfig, names: dict[str, str]) -> dict[str, str] | None:
    """Return a token for each client; empty where none are asked for, None where they cannot be made."""
    device = issue_token(settings, Role.DEVICE, names["device_id"])
    viewer = issue_token(settings, Role.WEB, names["viewer_id"])
    return None if device is None or viewer is None else {"device_token": device, "viewer_token": viewer}


def _left_out() -> Finding:
    text = "left out: the server asks for tokens, and no secret to make some was given"
    return note("stream", text, f"give the doctor a secret that the server has by {flag_name('auth_secret_file')}")


def _refused(code: str, text: str, *, has_token: bool) -> Finding:
    if code == "unauthorized" and not has_token:
        return _left_out()
    if code == "unauthorized":
        advice = (
            f"give the doctor the secret that the server runs with ({flag_name('auth_secret_file')}); compare clocks"
        )
        return fail("stream", f"the server refuses our token: {text}", advice)
    if code == "server_full":
        return fail("stream", f"the server takes no more clients: {text}", "raise the limit that it names, or end some")
    return fail("stream", f"the server refuses: {text}", "see the protocol's table of errors")


def no_picture(subject: Subject, why: str) -> Finding:
    """Return what to say when signalling works and media does not arrive."""
    text = f"signalling works, but no picture came: {why}"
    announced = subject.settings.announce if subject.is_local else ()
    if not announced or {*announced} & {*machine_addresses(), "127.0.0.1", "::1"}:
        return fail("stream", text, _media_advice(subject))
    # A healthy server behind NAT looks like this to its own machine.
    advice = (
        "many routers do not lead a machine to its own public address: try from another network, by `aiosfu doctor "
        f"--server`; if no picture comes there either, {_media_advice(subject)}"
    )
    return warn("stream", f"{text}; clients are told of {', '.join(announced)} only", advice)


def _media_advice(subject: Subject) -> str:
    settings = subject.settings
    port = settings.media_port if subject.is_local and settings.media_port else "the media port (8003 by default)"
    return (
        f"let UDP {port} through firewalls, here and at the provider, in both directions; behind NAT or in a container "
        f"give {flag_name('announce')} the address at which clients reach it"
    )


def _judge(measured: Any) -> list[Finding]:  # noqa: ANN401  `client.selftest.Measured`, which is imported by name
    packets = measured.packets + measured.packets_lost
    loss = measured.packets_lost / packets if packets else 0.0
    delay = "unknown" if math.isnan(measured.delay_seconds) else f"{measured.delay_seconds * 1000:.0f} ms"
    text = (
        f"first picture after {measured.first_frame_seconds:.1f} s, {measured.pictures} pictures, "
        f"{measured.packets_lost} of {packets} packets lost ({loss:.1%}), delay {delay}"
    )
    if loss > MAX_LOSS:
        return [warn("stream", text, "look at `udp` above, at the server's CPU, and at the line to it")]
    if measured.first_frame_seconds > SLOW_START_SECONDS or measured.delay_seconds > SLOW_SECONDS:
        return [
            warn(
                "stream", text, "look at the CPU of this machine and of the server: both were busy, or the line is long"
            )
        ]
    return [ok("stream", text)]
