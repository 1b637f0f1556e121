"""What the documentation names exists: links, files, commands and their flags, settings, metrics, paths, figures."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import importlib.util
import io
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from signaling import cli
from signaling.client import Viewer
from signaling.config import sources as config_sources
from signaling.config.model import ServerConfig, env_name
from tests.helpers.server import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
DOCUMENTS = tuple(
    sorted(
        str(path.relative_to(ROOT))
        for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "signaling/*.md", "static/*.md", "tests/**/*.md")
        for path in ROOT.glob(pattern)
    )
)
"""The same in every process: pytest-xdist compares the tests' ids."""

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+?)$", re.MULTILINE)
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
_HTTP_PATH = re.compile(r"(?:GET |DELETE )?(/[a-z0-9_./{}<>A-Z-]*)")
_OUR_FILE = re.compile(r"(?:\.ci|deploy|docs|sfu|signaling|static|tests)/[\w./*-]*")

OTHER_FLAGS = {"--network", "--output", "--seed", "--target", "--ulimit"}
"""Of modules under `tests/` and of Docker, named without their command."""
SYSTEM_PATHS = ("/dev/", "/etc/", "/proc/", "/run/", "/tmp/", "/usr/", "/var/", "/opt/")  # noqa: S108  not opened
METRICS = ("aiosfu_", "process_")
SOURCES = (
    "signaling/**/*.py",
    "sfu/**/*.py",
    "static/js/*.js",
    "tests/benchmarks/*.py",
    "deploy/**/*",
    "tests/fuzz/*.py",
)
PARTS_OF_A_COMMAND = re.compile(r"^(?:;|&&?|\|\|?|>>?|<|\(|\))$")


@functools.cache
def read(document: str) -> str:
    return _COMMENT.sub("", (ROOT / document).read_text())


def prose(document: str) -> str:
    """Return the text without its blocks of code."""
    return _FENCE.sub("", read(document))


def blocks(document: str, language: str) -> list[str]:
    """Return the blocks of code in one language, as they stand."""
    return [body for name, body in _FENCE.findall(read(document)) if name == language]


def inline(document: str) -> list[str]:
    """Return what stands between backticks."""
    return _CODE.findall(prose(document))


@functools.cache
def anchors(path: Path) -> frozenset[str]:
    """Return what a link into a document may name, as GitHub makes it of headings."""
    found: list[str] = []
    for heading in _HEADING.findall(_FENCE.sub("", path.read_text())):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).strip().replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return frozenset(found)


# --- links and files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    broken = []
    for link in _LINK.findall(prose(document)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / document).parent / target if target else ROOT / document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_exist(document: str) -> None:
    named = {text for text in inline(document) if _OUR_FILE.fullmatch(text)} - {"docs/benchmarks/results.json"}
    places = ROOT, (ROOT / document).parent
    patterns = {name: re.sub(r"[A-Z]{4,}", "*", name.rstrip("/")) for name in named}  # TARGET stands for any
    missing = [name for name, pattern in patterns.items() if not any(any(each.glob(pattern)) for each in places)]
    assert missing == []


def test_every_page_is_found_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in _LINK.findall(read("README.md"))}
    pages = {name for name in DOCUMENTS if name.startswith("docs/") and name.count("/") == 1}
    assert pages - linked == set()


# --- commands --------------------------------------------------------------------------------------------------------


class Command(NamedTuple):
    """One command of a shell, as it is to be typed."""

    words: tuple[str, ...]
    is_whole: bool
    """From a block of code; between backticks some only name a part."""


def commands(document: str) -> Iterator[Command]:
    for body in blocks(document, "sh"):
        for line in body.replace("\\\n", " ").splitlines():
            for words in _split(line):
                yield Command(words, is_whole=True)
    for text in inline(document):
        if text.split(" ", 1)[0] in {"aiosfu", "make", "python"} and "..." not in text:
            for words in _split(text):
                yield Command(words, is_whole=False)


def _split(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.wordchars += ":@,{}*="
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not PARTS_OF_A_COMMAND.fullmatch(word):
            words.append(word)
            continue
        while words and (words[0] in {"sudo", "env", "$"} or re.match(r"[A-Z_]+=", words[0])):
            words.pop(0)
        if words:
            yield (words[0].rsplit("/", 1)[-1], *words[1:])
        words = []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_our_commands_are_understood(document: str) -> None:
    refused = {}
    for command in commands(document):
        problem = _problem(command)
        if problem:
            refused[shlex.join(command.words)] = problem
    assert refused == {}


def _problem(command: Command) -> str | None:
    words = list(command.words)
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        unknown = {word for word in words[1:] if "=" not in word and not word.startswith("-")} - targets
        return f"no such target: {unknown}" if unknown else None
    if words[:2] == ["python", "-m"]:
        ours = words[2].split(".")[0] in {"tests", "signaling", "deploy"}
        return "no such module" if ours and importlib.util.find_spec(words[2]) is None else None
    if words[0] != "aiosfu" or len(words) == 1 or "--help" in words or set(words[1:]) <= own_flags():
        return None
    return _problem_of_ours(words[1:], is_whole=command.is_whole)


def _problem_of_ours(words: list[str], *, is_whole: bool) -> str | None:
    errors = io.StringIO()
    parser = cli._parser(words)
    if not is_whole:
        known = subcommands().get(words[0])
        unknown = None if known is None else {word for word in words if word.startswith("--")} - known
        return f"unknown: {words[0] if unknown is None else unknown}" if unknown is None or unknown else None
    try:
        with contextlib.redirect_stderr(errors):
            arguments = vars(parser.parse_args(words))
        if words[0] in {"serve", "config"} and not arguments.get("config"):
            config_sources.load(arguments, {})
    except SystemExit:
        return errors.getvalue()
    except config_sources.ConfigError as error:
        return str(error)
    return None


@functools.cache
def subcommands() -> dict[str, frozenset[str]]:
    """Return the flags of each of our commands."""
    found = {}
    for name in ("serve", *cli._COMMANDS):
        parser = cli._parser([name])
        (choices,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
        found[name] = frozenset(choices.choices[name]._option_string_actions)
    return found


@functools.cache
def own_flags() -> frozenset[str]:
    """Return the flags of `aiosfu` itself, without a command."""
    return frozenset(cli._parser([])._option_string_actions)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_flags_exist(document: str) -> None:
    known = frozenset().union(own_flags(), *subcommands().values()) | OTHER_FLAGS
    ours = (text for text in inline(document) if text.startswith(("--", "aiosfu ")))
    named = {flag for text in ours for flag in _FLAG.findall(text)}
    assert named - known == set()


def test_the_commands_are_named_in_the_documentation() -> None:
    ours = [command.words for name in DOCUMENTS for command in commands(name) if command.words[0] == "aiosfu"]
    named = {words[1] for words in ours if len(words) > 1}
    assert set(subcommands()) - named == set()


# --- names -----------------------------------------------------------------------------------------------------------


@functools.cache
def words_of_the_source() -> frozenset[str]:
    texts = (path.read_text(errors="ignore") for each in SOURCES for path in ROOT.glob(each) if path.is_file())
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))


def is_composed(name: str) -> bool:
    """Return whether `name` may come of a formatted string: `p50_to_control` of `p50` and `}_to_control`."""
    text = "\n".join(path.read_text() for path in ROOT.glob("tests/benchmarks/*.py"))
    heads = (name[: match.start()] for match in re.finditer("_", name))
    return any(head in words_of_the_source() and "}" + name[len(head) :] in text for head in heads)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_names_exist_in_the_source(document: str) -> None:
    """Log lines, error codes, settings, events, fields: whatever is written with underscores."""
    named = {text for text in inline(document) if _SNAKE.fullmatch(text) and not text.startswith(METRICS)}
    assert {name for name in named - words_of_the_source() if not is_composed(name)} == set()


@pytest.mark.parametrize("document", [*DOCUMENTS, "deploy/Dockerfile", "deploy/compose.yaml"])
def test_variables_exist(document: str) -> None:
    known = {env_name(name) for name in ServerConfig.model_fields} | config_sources.OTHER_VARIABLES
    assert set(re.findall(r"AIOSFU_[A-Z_]*[A-Z]", read(document))) - known == set()


async def test_metrics_and_paths_are_served() -> None:
    async with running_server() as server, aiohttp.ClientSession() as http:

        async def get(path: str) -> tuple[int, str]:
            async with http.get(server.http_url + path) as response:
                return response.status, await response.text()

        _, exposition = await get("/metrics")
        served = set(re.findall(r"^(?:# TYPE )?(aiosfu_\w+|process_\w+)", exposition, re.MULTILINE))
        served |= {name.removesuffix("_total").removesuffix("_info") for name in served}
        for document in DOCUMENTS:
            text = read(document)
            metrics = set(re.findall(r"\b(?:aiosfu|process)_[a-z_]*[a-z]\b", text)) - words_of_the_source()
            assert metrics - served == set(), document
            for path in {match[1] for each in inline(document) if (match := _HTTP_PATH.fullmatch(each))}:
                if f"{path}/".startswith((*SYSTEM_PATHS, "/ws/")):
                    continue
                whole = re.sub("/api/v1$", "/api/v1/server", path)
                filled = re.sub(r"\{\w+\}|[A-Z][A-Z_]+", "1", whole)
                if filled == whole:
                    status, _ = await get(whole)
                    assert status != 404, f"{document}: {path}"
                else:
                    found = await server.app.router.resolve(make_mocked_request("GET", filled))
                    assert getattr(found.http_exception, "status", 0) != 404, f"{document}: {path}"


# --- code ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_code_can_be_read(document: str) -> None:
    for body in blocks(document, "python"):
        compile(body, document, "exec")
    for body in blocks(document, "json"):
        json.loads(body)
    for body in blocks(document, "toml"):
        settings = tomllib.loads(body)
        ServerConfig.model_validate(settings)
        assert settings.keys() <= ServerConfig.model_fields.keys()


@pytest.mark.timeout(30)
async def test_the_readmes_python_shows_its_picture() -> None:
    (body,) = (each for each in blocks("README.md", "python") if "Device(" in each)
    assert len([line for line in body.splitlines() if line and "import" not in line]) <= 10
    async with running_server(check_tasks=False) as server:
        program = body.replace("ws://127.0.0.1:8002", server.server_url)
        assert program != body
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        try:
            async with Viewer(server.server_url, standing=True) as viewer:
                feed = await viewer.next_feed(timeout=20)
                assert feed.video is not None
                frame: Any = await feed.video.recv()
                assert feed.device == "blue"
                blue, green, red = (int(each) for each in frame.to_ndarray(format="bgr24")[240, 320])
                assert blue > 180
                assert max(green, red) < 80
        finally:
            process.kill()
            await process.wait()


# --- figures ---------------------------------------------------------------------------------------------------------


def result(scenario: str, field: str, **match: object) -> float:
    """Return one figure of the benchmarks; `match` names its row."""
    rows = json.loads((ROOT / "docs/benchmarks/results.json").read_text())[scenario]["rows"]
    (row,) = (row for row in rows if all(row[name] == value for name, value in match.items()))
    return float(row[field])


def assert_shown(text: str, actual: float) -> None:
    """Fail unless `text` is `actual`, rounded to the digits that it shows: 3,000 has two of them, 153 three."""
    shown = text.replace(",", "")
    decimals = len(shown.partition(".")[2])
    zeros = len(shown) - max(2, len(shown.rstrip("0")))
    unit = 10.0 ** (-decimals or max(0, zeros))
    assert abs(float(shown) - actual) <= unit / 2 + 1e-9, f"{text} is said, {actual} was measured"


COSTS = {"aiosfu": ("aiosfu", "us_per_packet", " us"), "Janus VideoRoom 1.1.2": ("janus", "us_per_packet", " us")}
COSTS |= {f"{name}, share of one core": (name.lower(), "cpu_percent", " %") for name in ("aiosfu", "Janus")}


def rows_of_table(document: str, first_header: str) -> list[list[str]]:
    """Return the cells of the table whose header row begins with `first_header`."""
    _, found, rest = read(document).partition(f"| {first_header} |")
    assert found, f"{document} has no table that begins with {first_header!r}"
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_readmes_table_of_costs_is_what_was_measured() -> None:
    shown = {row[0]: row[1:] for row in rows_of_table("README.md", "| 50 viewers")}
    assert shown.keys() == COSTS.keys()
    for title, (server, field, unit) in COSTS.items():
        for viewers, cell in zip((50, 150, 300), shown[title], strict=True):
            assert cell.endswith(unit)
            assert_shown(cell.removesuffix(unit), result("cost", field, server=server, viewers=viewers))


def test_the_table_by_viewers_is_what_was_measured() -> None:
    table = rows_of_table("docs/sizing.md", "viewers")
    assert [int(row[0]) for row in table] == [50, 150, 300, 450, 600]
    for viewers, share, cost, delay in table:
        figures = [share.removesuffix(" %"), cost.removesuffix(" us"), *re.findall(r"([\d.]+) ms", delay)]
        fields = ("cpu_percent", "us_per_packet", "delay_p50_ms", "delay_p99_ms")
        for figure, field in zip(figures, fields, strict=True):
            assert_shown(figure, result("scale", field, viewers=int(viewers)))


JOINS = {"server": "aiosfu", "case": "100 joins within a second"}
FORTY = {"sources": 40}
FIGURES: tuple[tuple[str, str, str, str, Mapping[str, object]], ...] = (
    ("README.md", r"takes ([\d,]+) us a packet, a third", "cost", "us_per_packet", {"server": "stock", "viewers": 1}),
    ("README.md", r"their picture after (\d+) ms", "storm", "first_frame_p50_ms", JOINS),
    ("README.md", r"one in twenty after (\d+) ms", "storm", "first_frame_p95_ms", JOINS),
    ("README.md", r"in Chromium after (\d+) ms", "click", "picture_p50_ms", {"device": "streams already"}),
    ("README.md", r"after (\d+) ms where it is invited", "click", "picture_p50_ms", {"device": "waits to be invited"}),
    ("README.md", r"cheaper: (\d+) us", "many", "us_per_packet", {"server": "aiosfu", **FORTY}),
    ("README.md", r"(\d+) us there", "many", "us_per_packet", {"server": "janus", **FORTY}),
    (
        "docs/sizing.md",
        r"([\d.]+) % of a core at 300",
        "cost",
        "cpu_percent_per_viewer",
        {"server": "aiosfu", "viewers": 300},
    ),
    ("docs/sizing.md", r"([\d.]+) % at 50", "cost", "cpu_percent_per_viewer", {"server": "aiosfu", "viewers": 50}),
    ("docs/sizing.md", r"([\d.]+) % of a core \| 40 take", "many", "cpu_percent_per_viewer", {"server": "aiosfu"}),
    ("docs/sizing.md", r"memory \| (\d+) kB", "memory", "rss_kB_per_viewer", {"server": "aiosfu"}),
    ("docs/sizing.md", r"waits \| ([\d.]+) kB", "idle", "rss_kB_per_socket", {}),
    ("docs/sizing.md", r"joins \| (\d+) ms of CPU", "storm", "cpu_ms_per_join", JOINS),
    ("docs/sizing.md", r"a picture after (\d+) ms", "storm", "first_frame_max_ms", JOINS),
    ("docs/sizing.md", r"devices took (\d+) MB", "idle", "rss_MB", {}),
    ("docs/sizing.md", r"MB and ([\d.]+) % of a core for their", "idle", "idle_cpu_percent", {}),
    ("docs/sizing.md", r"after ([\d.]+) s; [\d,]+ connected", "idle", "invite_all_seconds", {}),
    ("docs/sizing.md", r"s; ([\d,]+) connected", "idle", "connects_per_second", {}),
)


@pytest.mark.parametrize(("document", "pattern", "scenario", "field", "match"), FIGURES)
def test_figures_are_what_was_measured(
    document: str, pattern: str, scenario: str, field: str, match: Mapping[str, object]
) -> None:
    (shown,) = re.findall(pattern, " ".join(read(document).split()))
    assert_shown(shown, result(scenario, field, **match))


def test_how_many_viewers_fit_one_core_is_what_was_measured() -> None:
    rows = json.loads((ROOT / "docs/benchmarks/results.json").read_text())["viewers-per-core"]["rows"]
    fitting = max(row["viewers"] for row in rows if row["within_20_ms"])
    assert f"serves {fitting} viewers on one core" in read("README.md")
    assert f"| {fitting} on one core |" in read("docs/sizing.md")
