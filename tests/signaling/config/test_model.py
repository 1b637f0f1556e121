"""Settings: flag over environment over default; errors name the setting, what came and what is allowed."""

from __future__ import annotations

import argparse
import ipaddress

import pytest

from signaling.config import model as config
from signaling.config import sources as config_sources
from signaling.config.model import ServerConfig
from signaling.config.sources import ConfigError

WILDCARD = "0.0.0.0"  # noqa: S104  read, never bound


def load(*words: str, **environ: str) -> ServerConfig:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config_sources.add_arguments(parser)
    return config_sources.load(vars(parser.parse_args(words)), environ).settings


def test_defaults() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.media_port) == ("127.0.0.1", 8002, 8003)
    assert (settings.announce, settings.ice_server, settings.demo) == ((), (), False)


def test_a_flag_wins_over_the_environment_which_wins_over_the_default() -> None:
    assert load(AIOSFU_PORT="9000").port == 9000
    assert load("--port", "9001", AIOSFU_PORT="9000").port == 9001
    assert load("--no-demo", AIOSFU_DEMO="1").demo is False
    assert load(AIOSFU_DEMO="true").demo is True
    assert load("--demo").demo is True
    assert load(AIOSFU_PORT="").port == 8002, "an empty variable is as good as none"


def test_lists_are_repeated_flags_or_separated_by_commas() -> None:
    assert load("--announce", "192.0.2.1", "--announce", "2001:db8::1").announce == ("192.0.2.1", "2001:db8::1")
    assert load(AIOSFU_ANNOUNCE="192.0.2.1, 192.0.2.2").announce == ("192.0.2.1", "192.0.2.2")
    assert load("--media-host", "127.0.0.1", AIOSFU_MEDIA_HOST="10.0.0.1").media_host == ("127.0.0.1",)


@pytest.mark.parametrize("name", list(ServerConfig.model_fields))
def test_every_setting_is_a_flag_and_a_variable_with_help(name: str) -> None:
    parser = argparse.ArgumentParser()
    config_sources.add_arguments(parser)
    text = " ".join(parser.format_help().split())
    assert config.flag_name(name) in text
    assert config.env_name(name) in text.replace("- ", "-").replace("_ ", "_")
    assert ServerConfig.model_fields[name].description


@pytest.mark.parametrize(
    ("given", "server"),
    [
        ("stun:stun.example.org:3478", {"urls": "stun:stun.example.org:3478"}),
        ("stun:[2001:db8::1]:3478", {"urls": "stun:[2001:db8::1]:3478"}),
        ("stuns:stun.example.org", {"urls": "stuns:stun.example.org"}),
        (
            "turn:user:pa:ss%2Fw%40rd@turn.example.org:3478?transport=tcp",
            {"urls": "turn:turn.example.org:3478?transport=tcp", "username": "user", "credential": "pa:ss/w@rd"},
        ),
        ("turns:u:p@192.0.2.1", {"urls": "turns:192.0.2.1", "username": "u", "credential": "p"}),
    ],
)
def test_ice_servers(given: str, server: dict[str, str]) -> None:
    assert load("--ice-server", given).ice_server == (server,)


@pytest.mark.parametrize(
    ("name", "given", "allowed"),
    [
        ("port", "99999", "0 to 65535"),
        ("port", "-1", "0 to 65535"),
        ("port", "http", "0 to 65535"),
        ("media_port", "1.5", "0 to 65535"),
        ("media_host", "eth0", "IP addresses"),
        ("announce", "192.0.2.1,example.org", "IP addresses"),
        ("announce", ",".join(["192.0.2.1"] * 100), "IP addresses"),
        ("ice_server", "stun.example.org", "stun:HOST:PORT"),
        ("ice_server", "turn:turn.example.org", "turn:USER:PASSWORD@HOST:PORT"),
        ("ice_server", "http://example.org", "stun:HOST:PORT"),
        ("turn_url", "turn:user:pass@turn.example.org", "turn:HOST:PORT"),
        ("turn_url", "stun:turn.example.org", "turn:HOST:PORT"),
        ("turn_ttl", "5", "60 to 604800"),
        ("auth_secret", "hunter2", "at least 32 bytes"),
        ("auth_secret_file", ",", "a file"),
        ("auth_secret_file", ",".join(["x"] * 9), "a file"),
        ("auth_leeway", "-1", "0 to 600"),
        ("allowed_origin", "cams.example.org", "https://cams.example.org"),
        ("max_sockets_per_address", "0", "1 to 1000000"),
        ("log_level", "loud", "debug, info, warning or error"),
        ("demo", "perhaps", "true or false"),
        ("max_sessions", "0", "1 to 1000000"),
        ("resume_grace", "-1", "from 0 to 3600"),
        ("stop_grace", "soon", "from 0 to 3600"),
        ("invitation_timeout", "0", "above 0, at most 3600"),
        ("outbox_bytes", "1000", "1024 to 1073741824"),
        ("max_message_bytes", "1e99", "1024 to 1073741824"),
        ("max_tracks", "65", "1 to 64"),
        ("max_sdp_bytes", "0", "1024 to 1073741824"),
        ("max_sdp_sections", "129", "1 to 128"),
        ("heartbeat_timeout", "inf", "seconds"),
        ("heartbeat_timeout", "0", "seconds"),
    ],
)
def test_an_error_names_the_setting_what_came_and_what_is_allowed(name: str, given: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**{config.env_name(name): given})
    text = str(caught.value)
    assert text.startswith(f"{config.flag_name(name)} ({config.env_name(name)}): got ")
    assert allowed in text
    assert "\n" not in text


def test_an_error_never_shows_a_turn_password() -> None:
    with pytest.raises(ConfigError) as caught:
        load("--ice-server", "turn:user:hunter2@")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(load("--ice-server", "turn:user:hunter2@192.0.2.1"))


@pytest.mark.parametrize("name", ["auth_secret", "turn_secret"])
def test_a_secret_is_shown_nowhere(name: str) -> None:
    secret = "hunter2" * 8
    turn = {"AIOSFU_TURN_URL": "turn:192.0.2.1"} if name == "turn_secret" else {}
    assert "hunter2" not in repr(load(**{config.env_name(name): secret}, **turn))
    with pytest.raises(ConfigError) as caught:
        load(config.flag_name("auth_secret"), "hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["auth_secret", "auth_secret_file", "auth_public_key_file"])
def test_an_empty_variable_does_not_turn_auth_off_in_silence(name: str) -> None:
    with pytest.raises(ConfigError, match="would turn auth off"):
        load(**{config.env_name(name): ""})


@pytest.mark.parametrize(
    "words",
    [
        ("--turn-url", "turn:192.0.2.1"),
        ("--turn-secret", "north"),
        ("--turn-url", "turn:192.0.2.1", "--turn-secret", "north", "--turn-secret-file", "x"),
    ],
)
def test_turn_takes_urls_and_one_secret(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="--turn-url: expected together with"):
        load(*words)


def test_each_track_needs_a_section() -> None:
    with pytest.raises(ConfigError, match="--max-tracks: expected at most --max-sdp-sections, 32"):
        load("--max-tracks", "33")
    assert load("--max-tracks", "64", "--max-sdp-sections", "64").engine_settings().max_sdp_sections == 64


def test_origins_are_normalised() -> None:
    given = load(AIOSFU_ALLOWED_ORIGIN="https://Cams.example.org:443, http://[::1]:3000/").allowed_origin
    assert given == ("https://cams.example.org", "http://[::1]:3000")


def test_media_hosts() -> None:
    machine = set(config.machine_addresses())
    assert not any(ipaddress.ip_address(host).is_loopback for host in machine)
    assert load().engine_settings().hosts[0] == "127.0.0.1"
    assert set(load().engine_settings().hosts) == machine | {"127.0.0.1"}
    if machine:
        assert set(load("--host", WILDCARD).engine_settings().hosts) == machine
        assert set(load("--host", "::", "--media-host", WILDCARD).engine_settings().hosts) == machine
    assert load("--media-host", "127.0.0.1").engine_settings().hosts == ("127.0.0.1",)


@pytest.mark.parametrize(("host", "loopback"), [("localhost", True), ("127.0.0.9", True), ("::1", True), ("h", False)])
def test_loopback(host: str, loopback: bool) -> None:  # noqa: FBT001  a column of the table
    assert config.is_loopback(host) is loopback
