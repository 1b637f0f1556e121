"""Files that are read again when they change, and only then; the clock is passed in."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from signaling import tokens
from signaling.credentials import keyfiles
from signaling.credentials.keyfiles import KeyFileError, KeyRing, WatchedFile
from tests.helpers.tokens import OTHER_SECRET, SECRET, ec_key, public_pem

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("one")
    return path


def watched(file: Path, clock: Clock) -> WatchedFile[str]:
    def parse(text: str) -> str:
        if "bad" in text:
            raise ValueError("expected something better")
        return text

    return WatchedFile(str(file), parse, clock)


def put(path: Path, text: str) -> None:
    """Replace a file as careful programs do: written beside it, renamed over it."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def test_a_change_is_noticed_at_the_next_look(file: Path) -> None:
    clock = Clock()
    value = watched(file, clock)
    put(file, "two")
    clock.now += 0.9
    assert value.get() == "one", "between looks no system call is made"
    clock.now += 0.1
    assert value.get() == "two"
    put(file, "six")  # of the same size, and perhaps within the same tick of the file system's clock
    clock.now += 1
    assert value.get() == "six"


def test_a_symbolic_link_that_is_turned_is_noticed(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    clock = Clock()
    value = watched(link, clock)
    other = tmp_path / "other"
    other.write_text("two")
    link.unlink()
    link.symlink_to(other)
    clock.now += 1
    assert value.get() == "two"


def test_what_cannot_be_used_keeps_the_last_value_and_is_said_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    value = watched(file, clock)
    for broken in (lambda: put(file, "bad"), file.unlink, lambda: file.write_bytes(b"\xff\xfe")):
        caplog.clear()
        broken()
        for _ in range(3):
            clock.now += 1
            assert value.get() == "one"
        assert caplog.text.count("key_file_unusable") == 1
        assert "bad" not in caplog.text
    put(file, "two")
    clock.now += 1
    assert value.get() == "two"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"bad", "expected something better"),
        (b"\xff", "expected text"),
        (b"x" * (keyfiles.MAX_FILE_BYTES + 1), "at most 65536 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_at_the_start(file: Path, content: bytes | None, said: str) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(KeyFileError, match=said) as caught:
        watched(file, Clock())
    assert str(file) in str(caught.value)


def test_a_ring_holds_the_keys_of_all_its_sources_and_no_more_than_it_may(tmp_path: Path) -> None:
    secrets, pem = tmp_path / "secrets", tmp_path / "keys.pem"
    secrets.write_text("\n".join([OTHER_SECRET] * tokens.MAX_KEYS))
    pem.write_text(public_pem(ec_key()))
    ring = KeyRing(SECRET, [str(secrets)], [str(pem)])
    assert [key.algorithm for key in ring.current()] == ["HS256"] * tokens.MAX_KEYS
    secrets.write_text(OTHER_SECRET)
    ring.reload()
    assert [key.algorithm for key in ring.current()] == ["HS256", "HS256", "ES256"]
    assert bool(ring)
    assert not KeyRing(None, [], [])


def test_a_reload_that_changes_nothing_is_quiet(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        value = watched(file, Clock())
        os.utime(file)
        value.reload()
        assert caplog.text == ""
        put(file, "two")
        value.reload()
    assert "key_file_reloaded" in caplog.text
