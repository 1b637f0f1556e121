"""The `aiosfu` command: serve, config, doctor, device, view, token."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import difflib
import gc
import importlib
import os
import platform
import signal
import sys
from typing import TYPE_CHECKING

from . import faults, logs
from .app import Server, ServerStartError, own_version
from .config import sources as config_sources
from .drain import StopSignals
from .logs import EventLog
from .process import resources
from .process.notify import Notifier
from .protocol import PROTOCOL_VERSION, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .config.model import ServerConfig

log = EventLog("signaling.cli")

EXIT_OK = 0
EXIT_CANNOT_START = 1
EXIT_BAD_SETTING = 2

DEMO_DEVICE_ID = "demo"
TOKEN_VARIABLE = "AIOSFU_TOKEN"  # noqa: S105  a variable's name: other users do not see the environment
FINGERPRINT_VARIABLE = "AIOSFU_TLS_FINGERPRINT"
DEMO_STOP_TIMEOUT_SECONDS = 1.0
"""After which the demo device is killed: the whole server stops within two seconds."""

STOP_SECONDS = 5.0
"""For what is left when all streams have ended; two are promised."""

GC_THRESHOLDS = (50_000, 20, 100)
"""Objects more than were freed, then collections of the younger generation: Python's default is 700, 10, 10."""

_COMMANDS = {
    "config": ("signaling.commands.config", "show the server's settings and where each comes from, or an example file"),
    "doctor": ("signaling.commands.doctor", "examine a server, its machine and the way to it; says what to do"),
    "device": ("signaling.client.cli_device", "publish a camera, a file, a stream or a test picture"),
    "token": ("signaling.commands.token", "make a token for a client of a server with auth on"),
    "view": ("signaling.client.cli_view", "watch devices from a terminal: numbers, recording, snapshot"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parse(words)
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        if arguments.command == "serve":
            return _serve_command(runner, arguments)
        module = importlib.import_module(_COMMANDS[arguments.command][0])
        return int(runner.run(module.run(arguments)))
    return EXIT_OK


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for; end the program with a line on what is wrong where that cannot be told."""
    parser = _parser(words)
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        (commands,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))  # noqa: SLF001  as below
        command = commands.choices[arguments.command]
        command.error(f"{unknown[0]!r} is no option of {command.prog}{_nearest(unknown[0], command)}")
    return arguments


def _nearest(word: str, command: argparse.ArgumentParser) -> str:
    known = [name for action in command._actions for name in action.option_strings]  # noqa: SLF001  it has no other list
    found = difflib.get_close_matches(word.partition("=")[0], known, n=1)
    return f"; did you mean {found[0]}?" if found else f"; `{command.prog} --help` shows them all"


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aiosfu", description="A selective forwarding unit for live cameras.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=_version_text())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="run the server",
        description="Run the server. Each option may also be set by the environment variable named with it, or in a "
        "TOML file.",
        usage="aiosfu serve [--config FILE] [OPTION ...]",  # sixty options would bury what is wrong with one
        allow_abbrev=False,
    )
    config_sources.add_arguments(serve)
    for name, (module, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".", allow_abbrev=False)
        if name in words[:1]:  # the clients' codecs take a second to import; the others do without them
            importlib.import_module(module).add_arguments(command)
    return parser


def _version_text() -> str:
    return f"aiosfu {own_version()}, protocol {PROTOCOL_VERSION}, Python {platform.python_version()}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  it is not to be had everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop


def _relax_garbage_collection() -> None:
    """Let the cycle collector run seldom.

    Packets are no cycles, and counting their allocations as a reason to look for some took 15 % of the CPU at 150
    viewers, and pauses of several milliseconds. What connections leave behind is still found: one in some thousands of
    closed objects is soon enough.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _serve_command(runner: asyncio.Runner, arguments: argparse.Namespace) -> int:
    try:
        loaded = config_sources.load(vars(arguments), os.environ)
    except config_sources.ConfigError as error:
        print(f"aiosfu: {error}", file=sys.stderr)  # noqa: T201  the command's output
        return EXIT_BAD_SETTING
    settings = loaded.settings
    _configure_logs(settings)
    for text in loaded.unknown_variables:
        log.warning("unknown_variable", problem=text)
    try:
        runner.run(serve(settings, lambda: config_sources.load(vars(arguments), os.environ).settings))
    except ServerStartError as error:
        print(f"aiosfu: {error}", file=sys.stderr)  # noqa: T201  the command's output
        return EXIT_CANNOT_START
    return EXIT_OK


def _configure_logs(settings: ServerConfig) -> None:
    logs.configure(settings.log_level, style=settings.log_format)


async def serve(settings: ServerConfig, read_again: Callable[[], ServerConfig] | None = None) -> None:
    """Run a server until SIGINT or SIGTERM, and then for as long as it drains, or until another of these.

    On SIGHUP it takes over what `read_again` returns, as far as that needs no restart. Raises `ServerStartError` when
    it cannot start.
    """
    resources.raise_file_limit()
    signals = StopSignals()
    loop = asyncio.get_running_loop()
    faults.watch(loop)
    server = Server(settings)
    token = server.issue_token(Role.DEVICE, DEMO_DEVICE_ID) if settings.demo else None
    with contextlib.suppress(NotImplementedError, AttributeError):  # Windows, again
        loop.add_signal_handler(signal.SIGHUP, _reload, server, read_again)
    await server.start()
    _relax_garbage_collection()
    notifier = Notifier()
    demo: asyncio.Task[None] | None = None
    try:
        if settings.demo:
            demo = asyncio.create_task(_run_demo(server.url, token, _fingerprint(server)), name="demo-device")
        media = server.service.engine.port
        print(f"aiosfu is ready: open {server.url} (media on UDP {media})", flush=True)  # noqa: T201  the command's output
        if settings.tls_self_signed:
            text = f"certificate is self-signed, browsers warn once; its SHA-256 is {_fingerprint(server)}"
            print(f"aiosfu's {text}", flush=True)  # noqa: T201  the command's output
        log.info("server_ready", url=server.url, media_port=media, version=own_version())
        notifier.ready(f"serving {server.url}, media on UDP {media}")
        await signals.first.wait()
        notifier.stopping(settings.drain_timeout + STOP_SECONDS)
        if server.service.is_watched and settings.drain_timeout:
            text = f"ends in {settings.drain_timeout:g} s, for it is watched; at once when told again"
            print(f"aiosfu {text}", flush=True)  # noqa: T201  the command's output
        await signals.unless_again(server.drain())
    finally:
        if demo is not None:
            demo.cancel()  # it ends its device while the server stops
        await server.stop()
        notifier.close()
        if demo is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await demo


def _reload(server: Server, read_again: Callable[[], ServerConfig] | None) -> None:
    """Take over settings that have changed; what cannot be read is logged and changes nothing."""
    settings: ServerConfig | None = None
    try:
        settings = None if read_again is None else read_again()
    except config_sources.ConfigError as error:
        log.warning("reload_refused", problem=error)
    server.reload(settings)
    _configure_logs(server.config)


def _fingerprint(server: Server) -> str:
    return "" if server.certificate is None else server.certificate.fingerprint


def _own_command() -> tuple[str, ...]:
    """Return how this program is started once more: the one-file build is its own interpreter, and runs no module."""
    return (sys.executable,) if getattr(sys, "frozen", False) else (sys.executable, "-m", "signaling")


async def _run_demo(url: str, token: str | None, fingerprint: str) -> None:
    """Run a device with a test picture until cancelled; it is started once, and said if it ends by itself.

    It takes the server's own certificate: whose name it has is not 127.0.0.1, as a rule.
    """
    given = {TOKEN_VARIABLE: token or "", FINGERPRINT_VARIABLE: fingerprint}
    try:
        device = await asyncio.create_subprocess_exec(
            *(*_own_command(), "device"),
            *("--server", url.replace("http", "ws", 1).rstrip("/"), "--id", DEMO_DEVICE_ID, "--source", "testsrc"),
            "--until-stdin-ends",  # also when we are killed
            env=os.environ | {name: value for name, value in given.items() if value},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for us; we end the device
        )
    except OSError as error:  # out of processes, say: the server does without
        log.warning("demo_device_not_started", reason=error)
        return
    try:
        status = await device.wait()
        log.warning("demo_device_ended", status=status)
    finally:
        if device.returncode is None:
            await _end(device)


async def _end(device: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        device.terminate()
    try:
        async with asyncio.timeout(DEMO_STOP_TIMEOUT_SECONDS):
            await device.wait()
    except TimeoutError:
        device.kill()
        await device.wait()
