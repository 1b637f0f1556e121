"""The quick form: every kept input, hypothesis's own and some thousand mutations, for each target."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfu.negotiation import parse_answer, parse_offer

from .answers import TRACKS
from .harness import CORPUS, run, try_input
from .targets import TARGETS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from .harness import Target

QUICK_INPUTS = 1500
MAX_CORPUS_FILES = 400
MAX_CORPUS_BYTES = 500_000

ACCEPT: dict[str, Callable[[str], object]] = {
    "offers": lambda text: parse_offer(text, max_tracks=2).accepted,
    "answers": lambda text: parse_answer(text, TRACKS).tracks,
}

each_target = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))


def test_the_corpus_has_seeds_for_each_target_and_stays_small() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted(TARGETS)
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert len(files) <= MAX_CORPUS_FILES
    assert sum(path.stat().st_size for path in files) <= MAX_CORPUS_BYTES


@each_target
def test_what_once_failed_and_what_clients_send_is_read(target: Target) -> None:
    for data in target.corpus():
        try_input(target, data)


@each_target
def test_no_made_input_escapes(target: Target) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.strategy)
    def check(data: bytes) -> None:
        target.one_input(data)

    check()


@each_target
def test_no_mutated_input_escapes(target: Target) -> None:
    corpus = target.corpus()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def check(rng: random.Random) -> None:
        target.one_input(target.mutate(rng, corpus))

    check()


@each_target
def test_a_short_run_finds_nothing(target: Target) -> None:
    report = run(target, QUICK_INPUTS, seed=1)
    assert report.failures == {}
    assert report.inputs == QUICK_INPUTS


@pytest.mark.parametrize("name", ["offers", "answers"])
def test_clients_own_descriptions_are_accepted(name: str) -> None:
    """So that a limit which an honest client meets is noticed here."""
    for path in (CORPUS / name).iterdir():
        if path.name.startswith(("chromium-", "aiortc-", "firefox-")):
            assert ACCEPT[name](path.read_text()), path.name


@pytest.mark.parametrize(
    ("name", "where", "broken"),
    [
        ("frames", "signaling.sockets.frames.MAX_CONTROL_PAYLOAD_BYTES", 10**9),
        ("frames", "signaling.sockets.frames.FrameReader._drop_read", lambda reader: setattr(reader, "_at", 0)),
        ("offers", "sfu.sdp_checks.MAX_SSRC", 10**30),
        ("rtcp", "sfu.rtp.rtcp.MAX_NACKED_PACKETS", 10**9),
        ("tcp", "sfu.transport.tcp.MAX_UNPROVED_FRAMES", 10**9),
    ],
)
def test_a_planted_bug_is_found(name: str, where: str, broken: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a target which no longer reaches the code that it is for is noticed here."""
    monkeypatch.setattr(where, broken)
    assert run(TARGETS[name], QUICK_INPUTS, seed=1).failures


def test_a_run_reports_what_fails_once_with_an_input_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_input(data: bytes) -> None:
        if data[:1] == b"\0":
            raise KeyError("zero")

    broken = replace(TARGETS["rtp"], one_input=one_input, mutate=lambda rng, _corpus: rng.randbytes(1))
    report = run(broken, 3000, seed=2)
    assert not report.ok
    assert list(report.failures.values()) == [b"\0"]
    assert "KeyError at test_fuzz.py" in next(iter(report.failures))
    assert report.failed > 1
    monkeypatch.setattr("tests.fuzz.harness.MAX_INPUT_SECONDS", 0.0)
    assert any("SlowError" in what for what in run(TARGETS["rtcp"], 50, seed=3).failures)
