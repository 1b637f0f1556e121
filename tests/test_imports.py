"""Imports point one way: the rules of the house, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

IMPURE = {"asyncio", "socket", "selectors", "select", "time", "datetime", "threading", "random", "secrets", "aiohttp"}
"""What pure code may not import: I/O, clocks, chance."""

SIGNALING_ORDER = [
    ("cli", "cli_config", "cli_doctor", "cli_token", "__main__"),
    ("app", "doctor"),
    ("config_text", "credentials", "reloading"),
    ("config_sources",),
    ("config", "tls_self_signed"),
    ("config_types",),
    ("admin",),
    ("admin_access", "status"),
    ("admin_openapi", "metrics"),
    ("admin_models", "metrics_collector"),
    ("connect",),
    ("listener", "keyfiles", "notify", "resources", "tls"),
    ("session",),
    ("websocket", "heartbeat"),
    ("service",),
    ("logs_clients",),
    ("registry", "engine_calls", "pacer", "drain"),
    ("requests", "rooms"),
    ("transitions",),
    ("state",),
    ("observer",),
    ("effects",),
    ("tokens",),
    ("auth",),
    ("protocol", "schema"),
    ("inbound", "outbound"),
    ("codes", "faults"),
    ("candidates", "frames", "limits", "logs", "origins", "outbox", "proxies", "timers", "turn"),
]
"""A module imports from the lines below its own, or from its own line."""
SIGNALING_PURE = (
    "admin_models",
    "admin_openapi",
    "requests",
    "rooms",
    "transitions",
    "state",
    "effects",
    "protocol",
    "schema",
    "inbound",
    "outbound",
    "codes",
    "candidates",
    "auth",
    "frames",
    "limits",
    "observer",
    "origins",
    "outbox",
    "timers",
    "tokens",
    "turn",
)
KNOW_THE_ENGINE = {
    *("engine_calls.py", "service.py", "app.py", "system.py", "config.py"),
    *("observer.py", "logs_clients.py", "metrics.py", "metrics_collector.py", "status.py"),  # they read its values
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


def rank(module: str) -> int:
    return next(index for index, line in enumerate(SIGNALING_ORDER) if module in line)


@pytest.mark.parametrize("path", server_modules(), ids=str)
def test_the_services_imports_point_one_way(path: Path) -> None:
    own = path.parts[1].removesuffix(".py")
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "signaling" or len(parts) < 2:
            continue
        other = parts[1]
        assert other != "client", f"{path} imports {name}; only by name, and only when asked for"
        assert rank(other) > rank(own) or other == own or {other, own} == {"cli", "__main__"}, f"{path} imports {name}"


@pytest.mark.parametrize("path", server_modules(), ids=str)
def test_only_the_service_talks_to_the_engine_and_by_its_public_names(path: Path) -> None:
    names = {name for name in imports(path) if name.split(".")[0] == "sfu"}
    assert all(len(name.split(".")) <= 2 for name in names)
    if path.name not in KNOW_THE_ENGINE:
        assert not names


@pytest.mark.parametrize("path", server_modules(), ids=str)
def test_pure_signalling_code_has_no_clock_and_no_io(path: Path) -> None:
    if path.parts[1].removesuffix(".py") in SIGNALING_PURE:
        assert not tops(path) & IMPURE


@pytest.mark.parametrize("path", modules("signaling/client"), ids=str)
def test_the_clients_need_nothing_of_the_server(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] != "sfu", f"{path} imports {name}"
        if parts[0] == "signaling" and len(parts) > 1:
            assert parts[1] in {"client", "protocol", "codes", "logs"}, f"{path} imports {name}"


def test_every_server_module_has_its_place() -> None:
    for path in server_modules():
        rank(path.parts[1].removesuffix(".py"))


@pytest.mark.parametrize("path", [*modules("sfu"), *modules("signaling")], ids=str)
def test_no_file_outgrows_a_reader(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) < 450
