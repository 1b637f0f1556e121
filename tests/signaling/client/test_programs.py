"""`aiosfu device` and `aiosfu view` as real processes."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import av
import pytest

from signaling.client import Viewer, read_frame_counter
from tests.helpers.server import running_server, until
from tests.helpers.tokens import SECRET, token

from . import media
from .stage import SOURCE, Program, a_device, counters, pictures

if TYPE_CHECKING:
    from pathlib import Path

STOP_SECONDS = 2.0
"""Programs promise to end within this time."""
TOKEN = "a-token-that-nobody-is-to-see"  # noqa: S105  the point of the test


async def test_view_saves_a_playable_file_and_a_snapshot(tmp_path: Path) -> None:
    recording, snapshot = tmp_path / "out.mkv", tmp_path / "out.png"
    async with running_server() as server:
        async with (
            a_device(server.server_url),
            Program(
                *("view", "--server", server.server_url, "--device", "cam-1", "--seconds", "3"),
                *("--save", str(recording), "--snapshot", str(snapshot)),
            ) as program,
        ):
            status, out, err = await program.end()
        assert (status, err) == (0, "")
        lines = out.splitlines()
        assert len([line for line in lines if line.startswith("cam-1  640x360")]) >= 2
        assert lines[-1].startswith("summary  cam-1  640x360")
        for word in ("fps", "bit/s", "lost 0 of", "jitter", "pictures", "sound frames", f"saved to {recording}"):
            assert word in lines[-1]
        await server.wait_empty()
    check_recording(recording, ("h264", "opus"), 3.0)
    with av.open(str(snapshot)) as image:
        picture = next(image.decode(video=0))
    assert (picture.width, picture.height) == (640, 360)
    assert read_frame_counter(picture) is not None
    media.assert_colours(picture)


def check_recording(path: Path, codecs: tuple[str, str], seconds: float) -> None:
    """Fail unless picture and sound of a file play, last `seconds`, and belong together."""
    with av.open(str(path)) as container:
        names = tuple(stream.codec_context.name.removeprefix("lib") for stream in container.streams)
        assert names == codecs
        frames = list(container.decode(video=0))
    with av.open(str(path)) as container:
        sound = list(container.decode(audio=0))
    assert frames[-1].time == pytest.approx(seconds, abs=0.8)
    assert sound[-1].time == pytest.approx(seconds, abs=0.8)
    seen = counters(frames)
    assert seen == sorted(set(seen))
    # Counter and time advance together: 30 a second.
    assert (seen[-1] - seen[0]) / 30 == pytest.approx(float(frames[-1].time or 0) - float(frames[0].time or 0), abs=0.1)
    media.assert_colours(frames[-1])
    assert media.peak_hz(sound[10:60]) == pytest.approx(440, abs=8)


@pytest.mark.parametrize(("suffix", "codecs"), [("mp4", ("h264", "aac")), ("webm", ("vp8", "opus"))])
async def test_view_saves_other_formats(tmp_path: Path, suffix: str, codecs: tuple[str, str]) -> None:
    recording = tmp_path / f"out.{suffix}"
    async with running_server() as server:
        async with (
            a_device(server.server_url),
            Program(
                "view", "--server", server.server_url, "--save", str(recording), "--seconds", "2", "--quiet"
            ) as program,
        ):
            assert await program.end() == (0, "", "")
        await server.wait_empty()
    check_recording(recording, codecs, 2.0)


async def test_view_runs_until_interrupted() -> None:
    async with running_server() as server:
        async with a_device(server.server_url), Program("view", "--server", server.server_url) as program:
            await program.line("640x360")
            status, out, err, took = await program.stop(signal.SIGINT)
        assert (status, err) == (0, "")
        assert "summary  cam-1" in out
        assert took < STOP_SECONDS
        await server.wait_empty()


async def test_view_interrupted_before_anything_came_fails() -> None:
    async with running_server() as server:
        async with Program("view", "--server", server.server_url) as program:
            await until(lambda: bool(server.service.rooms.state.rooms), timeout=20)
            status, _, err, took = await program.stop()
        assert (status, err) == (1, "aiosfu: stopped before anything was received\n")
        assert took < STOP_SECONDS
        await server.wait_empty()


async def test_view_with_nothing_to_see_fails_and_says_why() -> None:
    before = "import signaling.client.cli_view as v; v.GIVE_UP_SECONDS = 0.5"
    async with running_server() as server:
        async with Program("view", "--server", server.server_url, before=before) as program:
            status, out, err = await program.end()
        assert (status, out) == (1, "")
        assert err == "aiosfu: no device is connected to the server (waited 0.5 s)\n"
        await server.wait_empty()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["view", "--server", "nonsense"], 2, "server address 'nonsense': expected something like ws://127.0.0.1:8002"),
        (["view", "--save", "out.avi"], 2, "expected a name that ends in .mkv, .mp4, .webm"),
        (["view", "--save", "no/such/out.mkv"], 2, "there is no directory 'no/such'"),
        (["view", "--seconds", "0"], 2, "expected a number of seconds above 0, got '0'"),
        (["device", "--source", "missing.mp4"], 1, "source 'missing.mp4': no such file"),
        (["device", "--source", "testsrc", "--id", "a b"], 2, "client id 'a b': expected"),
        (["device", "--source", "testsrc", "--codec", "vp9"], 2, "invalid choice: 'vp9'"),
        (["device"], 2, "--source"),
    ],
)
async def test_bad_settings_are_one_clear_line(arguments: list[str], status: int, says: str) -> None:
    async with Program(*arguments) as program:
        ended, out, err = await program.end()
    assert ended == status
    assert out == ""
    assert says in err
    assert "Traceback" not in err


async def test_view_of_no_server_fails_and_says_why() -> None:
    before = "import signaling.client.viewer as v; v.CONNECT_SECONDS = 0.2"
    async with Program("view", "--server", "ws://127.0.0.1:1", "--token", TOKEN, before=before) as program:
        status, out, err = await program.end()
    assert (status, out) == (1, "")
    assert err == "aiosfu: cannot connect to 127.0.0.1:1: Connection refused\n"


async def test_view_waits_for_devices_and_outlives_a_restart() -> None:
    async with running_server(check_tasks=False) as server:
        port, url = server.port, server.server_url
        async with Program("view", "--server", url, "--standing") as program:
            await until(lambda: bool(server.service.rooms.state.rooms), timeout=20)
            async with a_device(url):
                await program.line("cam-1  640x360")
                await server.server.stop()
                assert "trying again" in await program.line("no server: ")
                async with running_server(port=port, check_tasks=False):
                    await program.line("the server is back")
                    await program.line("cam-1  640x360")
                    status, out, err, took = await program.stop()
            assert (status, err) == (0, "")
            assert took < STOP_SECONDS
            assert out.count("summary  cam-1") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_device_shows_its_state_and_ends_in_good_order(number: signal.Signals) -> None:
    async with running_server() as server:
        environment = {"AIOSFU_SERVER": server.server_url, "AIOSFU_TOKEN": TOKEN}
        arguments = ("device", "--source", "testsrc=640x360", "--id", "cam-1")
        async with Program(*arguments, env=environment) as program:
            await program.line("waiting")
            async with Viewer(server.server_url) as viewer:
                feed = await viewer.next_feed()
                counters(await pictures(feed, 3))
                line = await program.line("streaming")
                assert "640x360" in line
                assert "fps" in line
                assert "bit/s" in line
                status, out, err, took = await program.stop(number)
                assert (status, err) == (0, "")
                assert took < STOP_SECONDS
                assert TOKEN not in line + out
                await until(lambda: feed.ended is not None)
                assert feed.ended == "left"
        await server.wait_empty()


async def test_device_without_a_server_keeps_trying_and_can_be_stopped() -> None:
    arguments = ("device", "--server", "ws://127.0.0.1:1", "--source", "testsrc", "--token", TOKEN)
    async with Program(*arguments) as program:
        line = await program.line("reconnecting")
        assert line == "reconnecting  cannot connect to 127.0.0.1:1: Connection refused\n"
        status, out, err, took = await program.stop()
    assert (status, err) == (0, "")
    assert took < STOP_SECONDS
    assert TOKEN not in out


async def test_both_commands_have_the_id_of_their_token() -> None:
    async with running_server(auth_secret=SECRET) as server:
        device = ("device", "--server", server.server_url, "--source", SOURCE, "--quiet")
        async with Program(*device, "--token", token("garden", "DEVICE")):
            view = ("view", "--server", server.server_url, "--standing", "--seconds", "1")
            async with Program(*view, "--token", token("anna")) as program:
                status, out, err = await program.end()
        assert (status, err) == (0, "")
        assert "summary  garden" in out
        await server.wait_empty()
