"""Imports point one way: the rules of the house, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection

ROOT = Path(__file__).parent.parent

IMPURE = {"asyncio", "socket", "selectors", "select", "time", "datetime", "threading", "random", "secrets", "aiohttp"}
"""What pure code may not import: I/O, clocks, chance."""

SIGNALING_ORDER = [
    ("cli", "commands", "__main__"),
    ("app", "doctor"),
    ("config.text", "config.reloading", "credentials.loading"),
    ("config.sources",),
    ("config.model", "credentials.self_signed"),
    ("config.types",),
    ("admin.routes",),
    ("admin.access", "admin.status"),
    ("admin.openapi", "admin.metrics"),
    ("admin.models", "admin.collector"),
    ("connect",),
    ("credentials.keyfiles", "credentials.tls", "process", "sockets.listener"),
    ("session",),
    ("sockets.websocket", "sockets.heartbeat"),
    ("service",),
    ("logs_clients",),
    ("registry", "engine_calls", "sockets.pacer", "drain"),
    ("requests", "rooms"),
    ("transitions",),
    ("state",),
    ("observer",),
    ("inputs",),
    ("effects",),
    ("tokens",),
    ("auth",),
    ("protocol", "events.schema"),
    ("events.inbound", "events.outbound"),
    ("events.codes", "faults"),
    ("events.candidates", "logs", "timers", "turn"),
    ("sockets.frames", "sockets.limits", "sockets.origins", "sockets.outbox", "sockets.proxies"),
]
"""A module imports from the lines below its own. A package stands for all that it holds."""
SIGNALING_PURE = (
    "admin.models",
    "admin.openapi",
    "config.reloading",
    "requests",
    "rooms",
    "transitions",
    "state",
    "effects",
    "inputs",
    "protocol",
    "events",
    "auth",
    "observer",
    "sockets.frames",
    "sockets.limits",
    "sockets.origins",
    "sockets.outbox",
    "timers",
    "tokens",
    "turn",
)
KNOW_THE_ENGINE = {
    *("engine_calls", "service", "app", "doctor.system", "config.model"),
    *("observer", "logs_clients", "admin.metrics", "admin.collector", "admin.status"),  # they read its values
}
SFU_LAYERS = ("rtp", "forwarding", "transport")
SFU_PURE = (
    "rtp/",
    "forwarding/",
    "negotiation.py",
    "sdp_checks.py",
    "descriptions.py",
    "parameters.py",
    "numbering.py",
    "slots.py",
)


def modules(package: str) -> list[Path]:
    found = [path.relative_to(ROOT) for path in sorted((ROOT / package).rglob("*.py"))]
    assert found, package
    return found


def imports(path: Path) -> set[str]:
    """Return the absolute names of all that a module imports, wherever in it; `from a import b` gives a.b."""
    tree = ast.parse((ROOT / path).read_text())
    package = list(path.parent.parts)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{full}.{name.name}" for name in node.names}
    return found


def tops(path: Path) -> set[str]:
    return {name.split(".", maxsplit=1)[0] for name in imports(path)}


def test_relative_and_absolute_imports_are_understood() -> None:
    assert "signaling.service.Service" in imports(Path("signaling/app.py"))
    assert "sfu" in imports(Path("signaling/app.py"))
    assert "signaling.protocol.ErrorCode" in imports(Path("signaling/transitions/turn.py"))


@pytest.mark.parametrize("path", modules("sfu"), ids=str)
def test_the_engine_knows_nothing_of_the_service(path: Path) -> None:
    assert not tops(path) & {"signaling", "aiohttp", "pydantic", "tests"}


@pytest.mark.parametrize("path", modules("sfu"), ids=str)
def test_the_engines_layers(path: Path) -> None:
    layer = path.parts[1] if path.parts[1] in SFU_LAYERS else "root"
    # Values (errors, settings) are plain and may be named anywhere but in the wire layer; faults happen everywhere.
    forbidden = {"rtp": ("forwarding", "transport"), "forwarding": ("transport",), "transport": ("forwarding",)}
    for name in imports(path):
        parts = name.split(".")
        if layer == "root" or parts[0] != "sfu" or len(parts) < 2:
            continue
        assert parts[1] not in forbidden[layer], f"{path} imports {name}"
        assert parts[1] in (*SFU_LAYERS, "values", "faults"), f"{path} imports {name}"


@pytest.mark.parametrize(
    "path", [path for path in modules("sfu") if path.relative_to("sfu").as_posix().startswith(SFU_PURE)], ids=str
)
def test_pure_engine_code_has_no_clock_and_no_io(path: Path) -> None:
    assert not tops(path) & IMPURE


@pytest.mark.parametrize("path", [path for path in modules("sfu") if path.name != "dtls.py"], ids=str)
def test_only_the_dtls_transport_uses_aiortcs_privates(path: Path) -> None:
    names = {name for name in imports(path) if name.split(".", maxsplit=1)[0] in {"aiortc", "aioice", "pylibsrtp"}}
    assert not {name for name in names if any(part.startswith("_") for part in name.split("."))}
    assert not {name for name in names if name.endswith(".RTCDtlsTransport")}


def server_modules() -> list[Path]:
    return [path for path in modules("signaling") if path.parts[1] != "client" and path.name != "__init__.py"]


def within(module: str, names: Collection[str]) -> bool:
    """Return whether a module of `signaling`, as `admin.models`, is named, by itself or by its package."""
    return module in names or module.split(".", maxsplit=1)[0] in names


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts[1:])


def rank(module: str) -> int:
    return next(index for index, line in enumerate(SIGNALING_ORDER) if within(module, line))


def entry(module: str) -> str:
    """Return what stands for a module in the order: itself, or its package."""
    return next(name for line in SIGNALING_ORDER for name in line if within(module, (name,)))


@pytest.mark.parametrize("path", server_modules(), ids=str)
def test_the_services_imports_point_one_way(path: Path) -> None:
    own = name_of(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "signaling" or len(parts) < 2:
            continue
        assert parts[1] != "client", f"{path} imports {name}; only by name, and only when asked for"
        other = ".".join(parts[1:3])
        same = entry(other) == entry(own) or {other, own} == {"cli.main", "__main__"}
        assert same or rank(other) > rank(own), f"{path} imports {name}"


@pytest.mark.parametrize("path", server_modules(), ids=str)
def test_only_the_service_talks_to_the_engine_and_by_its_public_names(path: Path) -> None:
    names = {name for name in imports(path) if name.split(".")[0] == "sfu"}
    assert all(len(name.split(".")) <= 2 for name in names)
    if name_of(path) not in KNOW_THE_ENGINE:
        assert not names


@pytest.mark.parametrize("path", server_modules(), ids=str)
def test_pure_signalling_code_has_no_clock_and_no_io(path: Path) -> None:
    if within(name_of(path), SIGNALING_PURE):
        assert not tops(path) & IMPURE


@pytest.mark.parametrize("path", modules("signaling/client"), ids=str)
def test_the_clients_need_nothing_of_the_server(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] != "sfu", f"{path} imports {name}"
        if parts[0] == "signaling" and len(parts) > 1:
            known = within(".".join(parts[1:3]), {"client", "protocol", "events.codes", "logs"})
            assert known, f"{path} imports {name}"


def test_every_server_module_has_its_place() -> None:
    for path in server_modules():
        rank(name_of(path))


@pytest.mark.parametrize("path", [*modules("sfu"), *modules("signaling")], ids=str)
def test_no_file_outgrows_a_reader(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) < 450
