"""`aiosfu token`: make a token with a secret that the server has."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from signaling import tokens
from signaling.credentials.keyfiles import KeyFileError, WatchedFile
from signaling.events.codes import CLIENT_ID
from signaling.protocol import MAX_NAMED_DEVICES, Role

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_OK = 0
EXIT_BAD_SECRET = 2
SECRET_VARIABLE = "AIOSFU_AUTH_SECRET"  # noqa: S105  the server's own variable
MAX_TTL_SECONDS = 366 * 24 * 3600
"""A token cannot be taken back but by a new secret; one for a device that is far away may live for a year."""

T = TypeVar("T")

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument(
        "--secret-file",
        metavar="FILE",
        help=f"the server's --auth-secret-file, whose first secret signs; default: the secret in {SECRET_VARIABLE}",
    )
    parser.add_argument("--sub", required=True, type=_client_id, metavar="CLIENT_ID", help="client id it is for")
    parser.add_argument("--role", required=True, choices=[role.value for role in Role], help="what it may connect as")
    parser.add_argument(
        "--ttl", type=_duration, default="1h", metavar="TIME", help="how long it admits: 90s, 30m, 12h, 7d (default 1h)"
    )
    parser.add_argument(
        "--rooms", type=_list_of(int, tokens.MAX_NAMED_ROOMS), metavar="ID,...", help="only these rooms, and none new"
    )
    parser.add_argument(
        "--devices",
        type=_list_of(_client_id, MAX_NAMED_DEVICES),
        metavar="ID,...",
        help="a WEB may invite and watch only these",
    )
    parser.add_argument("--publish", action=argparse.BooleanOptionalAction, default=True, help="may publish")
    parser.add_argument("--subscribe", action=argparse.BooleanOptionalAction, default=True, help="may watch")
    parser.add_argument("--admin", action="store_true", help="may see and end what others do")
    parser.add_argument("--audience", metavar="TEXT", help="the server's --auth-audience")


async def run(arguments: argparse.Namespace) -> int:
    """Print the token; return the exit status."""
    try:
        key = _signing_key(arguments.secret_file)
    except (KeyFileError, tokens.KeyFormatError) as error:
        print(f"aiosfu token: {error}", file=sys.stderr)  # noqa: T201  the command's output
        return EXIT_BAD_SECRET
    token = tokens.issue(
        key,
        client_id=arguments.sub,
        role=Role(arguments.role),
        now=time.time(),
        ttl_seconds=arguments.ttl,
        rooms=arguments.rooms,
        devices=arguments.devices,
        publish=arguments.publish,
        subscribe=arguments.subscribe,
        admin=arguments.admin,
        audience=arguments.audience,
    )
    print(token)  # noqa: T201  the command's output
    return EXIT_OK


def _signing_key(path: str | None) -> tokens.Key:
    if path is not None:
        return WatchedFile(path, tokens.read_secrets).get()[0]
    secret = os.environ.get(SECRET_VARIABLE)
    if not secret:
        raise KeyFileError(f"expected --secret-file, or a secret in {SECRET_VARIABLE}")
    return tokens.secret_key(secret)


def _client_id(text: str) -> str:
    if CLIENT_ID.fullmatch(text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to 64 letters, digits, dots, underscores, tildes or dashes")


def _duration(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if 0 < seconds <= MAX_TTL_SECONDS:
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r}: expected a time such as 90s, 30m, 12h or 7d, at most 366d")


def _list_of(read: Callable[[str], T], limit: int) -> Callable[[str], list[T]]:
    def parse(text: str) -> list[T]:
        items = [item.strip() for item in text.split(",") if item.strip()]
        if len(items) > limit:
            raise argparse.ArgumentTypeError(f"expected at most {limit}, got {len(items)}")
        try:
            return [read(item) for item in items]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: expected ids separated by commas") from None

    return parse
