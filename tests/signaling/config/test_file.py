"""The TOML file, where settings come from, and `aiosfu config`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from signaling import cli
from signaling.config import sources as config_sources
from signaling.config import text as config_text
from signaling.config.model import ServerConfig
from signaling.config.sources import ConfigError, Loaded
from tests.helpers.settings_document import DOCUMENT, with_table

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2-" * 8


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "aiosfu.toml"


def load(*words: str, **environ: str) -> Loaded:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config_sources.add_arguments(parser)
    return config_sources.load(vars(parser.parse_args(words)), environ)


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(file: Path) -> None:
    file.write_text('port = 1\nmedia_port = 1\nmax_rooms = 1\nannounce = ["192.0.2.1", "192.0.2.2"]\nturn_ttl = 90.5\n')
    given = load("--config", str(file), "--port", "3", AIOSFU_PORT="2", AIOSFU_MEDIA_PORT="2")
    settings, origins = given.settings, given.origins
    assert (settings.port, settings.media_port, settings.max_rooms, settings.max_feeds) == (3, 2, 1, 1000)
    assert (settings.announce, settings.turn_ttl) == (("192.0.2.1", "192.0.2.2"), 90.5)
    assert [origins[name] for name in ("port", "media_port", "max_rooms", "max_feeds")] == [
        "flag --port",
        "environment AIOSFU_MEDIA_PORT",
        f"file {file}",
        "default",
    ]
    assert load(AIOSFU_CONFIG=str(file)).settings.max_rooms == 1


def test_paths_count_from_the_file_and_secrets_may_be_in_it(file: Path) -> None:
    file.write_text('auth_secret_file = ["keys/a", "/b"]\nturn_secret_file = "c"\nturn_url = "turn:h"\n')
    settings = load("--config", str(file)).settings
    assert settings.auth_secret_file == (str(file.parent / "keys/a"), "/b")
    assert settings.turn_secret_file == str(file.parent / "c")
    by_flag = load("--config", str(file), "--turn-secret-file", "c").settings
    assert by_flag.turn_secret_file == os.path.relpath("c"), "a flag's counts from where the command is run"
    file.write_text('auth_secret_file = "a"\n')
    assert load("--config", str(file)).settings.auth_secret_file == (str(file.parent / "a"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("demo = true\nport = 99999\n", ", line 2: port: got '99999', expected an integer from 0 to 65535"),
        ("port = true\n", ", line 1: port: got 'true', expected an integer"),
        ("announce = 'example.org'\n", ", line 1: announce: got 'example.org', expected IP addresses"),
        ("announce = ['192.0.2.1', 'x']\n", ", line 1: announce: got 'x', expected IP addresses"),
        ("\n[host]\nname = 1\n", "host: got \"{'name': 1}\", expected an address or name"),
        ("media-port = 1\n", "'media-port' is no setting; did you mean 'media_port'?"),
        ("[server]\nport = 1\n", "'server' is no setting; settings are in no section"),
        ("port = \n", "expected a TOML file: Invalid value (at line 1, column 8)"),
        ("auth_secret = 'hunter2'\n", ", line 1: auth_secret: got '***', expected at least 32 bytes"),
        ("auth_secret_file = []\n", ", line 1: auth_secret_file: got '[]', expected a file"),
        ("auth_secret_file = 7\n", ", line 1: auth_secret_file: got '7', expected a file"),
        ("ice_server = 'turn:u:hunter2@'\n", ", line 1: ice_server: got 'turn:***@', expected stun:HOST:PORT"),
        ("a = '" + "x" * 300_000 + "'", "expected at most 262144 bytes"),
    ],
)
def test_an_error_names_the_place_what_came_and_what_is_allowed(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load("--config", str(file))
    assert str(caught.value).startswith(str(file))
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_elsewhere_is_not_laid_at_the_files_door(file: Path) -> None:
    file.write_text("port = 1\n")
    with pytest.raises(ConfigError, match=r"^--port \(AIOSFU_PORT\): got 'x'"):
        load("--config", str(file), "--port", "x")


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot read .*: No such file"), (b"\xff", "which is UTF-8 text")]
)
def test_a_file_that_cannot_be_read(file: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load("--config", str(file))


def test_a_variable_that_is_no_setting_is_told() -> None:
    found = load(AIOSFU_PROT="1", AIOSFU_TOKEN="t", AIOSFU_SERVER="s", OTHER="x").unknown_variables
    assert found == ("AIOSFU_PROT is no setting; did you mean 'AIOSFU_PORT'?",)


def test_the_example_has_every_setting_with_its_default() -> None:
    lines = config_text.example().splitlines()
    values: dict[str, object] = {}
    for line in lines:
        if line.startswith("#") and not line.startswith("# "):
            values |= tomllib.loads(line.removeprefix("#"))
    assert list(values) == list(ServerConfig.model_fields)
    unset = {name for name, field in ServerConfig.model_fields.items() if field.default in (None, ())}
    defaults = {name: value for name, value in values.items() if name not in unset}
    assert ServerConfig.model_validate(defaults) == ServerConfig()
    assert max(map(len, lines)) <= 120
    assert tomllib.loads(config_text.example()) == {}, "as it stands it changes nothing"


def test_the_effective_values_are_toml_with_their_origins_and_without_secrets(file: Path) -> None:
    file.write_text(f'ice_server = "turn:us%40er:hunter2@192.0.2.1:3478?transport=tcp"\nauth_secret = "{SECRET}"\n')
    loaded = load("--config", str(file), "--turn-url", "turn:h", "--turn-secret", "hunter2", "--announce", "192.0.2.1")
    text = config_text.effective(loaded)
    values = tomllib.loads(text)
    assert "hunter2" not in text
    assert (values["auth_secret"], values["turn_secret"]) == ("***", "***")
    assert values["ice_server"] == ["turn:us%40er:***@192.0.2.1:3478?transport=tcp"]
    assert values["announce"] == ["192.0.2.1"]
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert lines["announce"].endswith("  # flag --announce")
    assert lines["ice_server"].endswith(f"  # file {file}")
    assert lines["port"].endswith("  # default")
    assert len(lines) == len(ServerConfig.model_fields) - text.count(" is not set") + 1


def test_the_table_in_the_documentation_is_true() -> None:
    text = DOCUMENT.read_text()
    assert with_table(text) == text, "run python -m tests.helpers.settings_document"
    for name in ServerConfig.model_fields:
        assert f"| `--{name.replace('_', '-')}` |" in text


async def run(*words: str, **environ: str) -> tuple[str, str, int | None]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIOSFU_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "signaling", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean | environ,
    )
    out, err = await process.communicate()
    return out.decode(), err.decode(), process.returncode


async def test_the_command_shows_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "aiosfu.toml"
    file.write_text("max_rooms = 7\n")
    out, err, status = await run("config", "--config", str(file), AIOSFU_PORT="9000", AIOSFU_PROT="1")
    assert status == 0
    assert tomllib.loads(out)["port"] == 9000
    assert f"max_rooms = 7                                   # file {file}\n" in out
    assert err == "aiosfu: AIOSFU_PROT is no setting; did you mean 'AIOSFU_PORT'?\n"
    file.write_text("max_rooms = 0\n")
    assert await run("config", "--config", str(file)) == (
        "",
        f"aiosfu: {file}, line 1: max_rooms: got '0', expected an integer from 1 to 1000000\n",
        2,
    )


def test_the_command_prints_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "--example"]) == 0
    assert capsys.readouterr().out == config_text.example()
