"""`aiosfu doctor`: examine a server, the machine it runs on and the way to it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from signaling import doctor, logs
from signaling.config import sources as config_sources
from signaling.doctor.network import shown_certificate

if TYPE_CHECKING:
    from signaling.config.sources import Loaded

EXIT_OK = 0
EXIT_FOUND = 1
"""Something is broken."""
EXIT_BAD_SETTING = 2
TOKEN_VARIABLE = "AIOSFU_TOKEN"  # noqa: S105  a variable's name
FINGERPRINT_VARIABLE = "AIOSFU_TLS_FINGERPRINT"
MAX_STREAM_SECONDS = 600.0

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own flags and those of `aiosfu serve`."""
    parser.usage = "aiosfu doctor [--server URL] [--config FILE] [OPTION ...]"  # all would bury what is wrong with one
    parser.add_argument(
        "--server",
        type=_url,
        metavar="URL",
        help="examine the way to this server, https://HOST or http://HOST:PORT; default: the server of this machine "
        "that the settings describe, and the machine",
    )
    parser.add_argument(
        "--tls-fingerprint",
        metavar="SHA256",
        type=_fingerprint,
        default=os.environ.get(FINGERPRINT_VARIABLE) or "",
        help=f"certificate to accept of --server (env {FINGERPRINT_VARIABLE})",
    )
    parser.add_argument(
        "--token",
        default="",
        help="a WEB client's token, to ask the server what it tells clients, and with the admin grant how it is; "
        f"better given as {TOKEN_VARIABLE}. Without one the doctor makes its own by the server's --auth-secret-file",
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=5.0, help="how long to watch the test stream, 0 for none (default 5)"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    config_sources.add_arguments(parser)


async def run(arguments: argparse.Namespace) -> int:
    """Print the findings; return the exit status."""
    try:
        loaded = config_sources.load(vars(arguments), os.environ)
    except config_sources.ConfigError as error:
        sys.stderr.write(f"aiosfu: {error}\n")
        return EXIT_BAD_SETTING
    if arguments.server is None and not loaded.settings.port:
        sys.stderr.write("aiosfu: --port is 0, so the server's port is unknown; give --server\n")
        return EXIT_BAD_SETTING
    logs.configure("error")  # what the clients and parsers log on the way is among the findings
    findings = await doctor.examine(await _subject(arguments, loaded))
    if arguments.json:
        sys.stdout.write(json.dumps(doctor.as_values(findings), indent=2) + "\n")
    else:
        sys.stdout.write(doctor.as_text(findings))
    for text in loaded.unknown_variables:
        sys.stderr.write(f"aiosfu: {text}\n")
    return EXIT_FOUND if any(finding.level == "fail" for finding in findings) else EXIT_OK


async def _subject(arguments: argparse.Namespace, loaded: Loaded) -> doctor.Subject:
    settings = loaded.settings
    token = arguments.token or os.environ.get(TOKEN_VARIABLE, "")
    if arguments.server is not None:
        return doctor.Subject(
            settings,
            arguments.server,
            is_local=False,
            fingerprint=arguments.tls_fingerprint,
            token=token,
            stream_seconds=arguments.seconds,
        )
    url = settings.local_url(settings.port).rstrip("/")
    # This machine's own server is whoever listens there: its certificate has another name than 127.0.0.1.
    shown = await shown_certificate(url)
    return doctor.Subject(
        settings,
        url,
        is_local=True,
        fingerprint="" if shown is None else shown.fingerprint,
        token=token,
        stream_seconds=arguments.seconds,
        files=_files_with_secrets(loaded),
    )


def _files_with_secrets(loaded: Loaded) -> tuple[str, ...]:
    settings = loaded.settings
    found = [path for path in (settings.turn_secret_file,) if path is not None]
    secret = ("auth_secret", "turn_secret")
    if loaded.file is not None and any(loaded.origins[name].startswith("file") for name in secret):
        found.append(str(loaded.file))
    return tuple(found)


def _url(text: str) -> str:
    parts = urlsplit(text)
    try:
        valid = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an address such as https://cams.example.org")
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}"


def _fingerprint(text: str) -> str:
    if text and not re.fullmatch("[0-9A-Fa-f]{64}", text.replace(":", "")):
        raise argparse.ArgumentTypeError(f"{text!r}: expected the 64 hexadecimal digits of a SHA-256")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_STREAM_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of seconds from 0 to {MAX_STREAM_SECONDS:g}")
    return value
