"""A real Firefox for tests, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/) over aiohttp.

Playwright drives only a Firefox of its own making; this is the one that people have.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.helpers.browser import BrowserMissingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAMES = ("firefox-esr", "firefox")
START_SECONDS = 60
"""A first start with a new profile, on a busy machine."""
WAIT_SECONDS = 30
"""An upper bound for what takes a second or two: the machine may be busy."""
STOP_SECONDS = 10

PREFERENCES: dict[str, bool | int] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.autoplay.default": 0,
    "media.gmp-manager.updateEnabled": False,  # nothing is fetched from elsewhere
    "app.update.auto": False,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.poll_interval": 0,
    "toolkit.telemetry.enabled": False,
}


def find_firefox() -> str | None:
    """Return the path of a Firefox: the one `AIOSFU_FIREFOX` names, or the first on the PATH."""
    chosen = os.environ.get("AIOSFU_FIREFOX")
    if chosen:
        return shutil.which(chosen)
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, or of what its promise gives; it must be JSON."""
        text = f"(async () => JSON.stringify((await ({expression})) ?? null))()"
        target = {"context": self._context}
        done = await self._firefox.command("script.evaluate", expression=text, target=target, awaitPromise=True)
        assert done["type"] == "success", f"{expression}: {done.get('exceptionDetails', {}).get('text')}"
        return json.loads(done["result"]["value"])

    async def wait_for(self, condition: str, seconds: float = WAIT_SECONDS) -> None:
        """Return when the expression, or what its promise gives, is true; look again with each turn of the page."""
        found = await self.evaluate(
            f"""(async () => {{
              const deadline = performance.now() + {1000 * seconds};
              while (!(await ({condition}))) {{
                if (performance.now() > deadline) return false;
                await new Promise((go) => setTimeout(go, 50));
              }}
              return true;
            }})()"""
        )
        assert found, f"not within {seconds} s: {condition}"

    async def click(self, selector: str) -> None:
        """Click the first element of a selector, once it is there and can be."""
        await self.wait_for(f"(e => e && !e.disabled && e.checkVisibility())(document.querySelector({selector!r}))")
        await self.evaluate(f"void document.querySelector({selector!r}).click()")

    async def close(self) -> None:
        await self._firefox.command("browsingContext.close", context=self._context)


class Firefox:
    """A running browser. `problems` has what its pages reported as errors."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self.problems: list[str] = []

    async def open(self, url: str) -> Tab:
        """Open `url` in a new tab."""
        context = (await self.command("browsingContext.create", type="tab"))["context"]
        await self.command("browsingContext.navigate", context=context, url=url, wait="complete")
        return Tab(self, context)

    async def command(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        self._last += 1
        answer = self._answers[self._last] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._last, "method": method, "params": parameters})
        async with asyncio.timeout(WAIT_SECONDS + START_SECONDS):
            return await answer

    async def read(self) -> None:
        """Hand out what comes until the socket closes."""
        async for message in self._socket:
            data = json.loads(message.data)
            if data["type"] == "event":
                if data["method"] == "log.entryAdded" and data["params"]["level"] == "error":
                    self.problems.append(str(data["params"]["text"]))
                continue
            answer = self._answers.pop(data["id"])
            if data["type"] == "success":
                answer.set_result(data["result"])
            else:
                answer.set_exception(AssertionError(f"{data['error']}: {data['message']}"))


@contextlib.asynccontextmanager
async def running_firefox() -> AsyncIterator[Firefox]:
    """Run a headless Firefox with a fake camera and microphone for the block."""
    path = find_firefox()
    if path is None:
        raise BrowserMissingError("No Firefox: install one (Debian: apt install firefox-esr) or set AIOSFU_FIREFOX.")
    with tempfile.TemporaryDirectory(prefix="aiosfu-firefox-", ignore_cleanup_errors=True) as profile:
        _write_preferences(profile)
        process = await asyncio.create_subprocess_exec(
            *(path, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"HOME": profile},
        )
        draining: asyncio.Task[None] | None = None
        try:
            url = await _address(process)
            draining = asyncio.create_task(_drain(process))
            async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/session", max_msg_size=0) as socket:
                firefox = Firefox(socket)
                reading = asyncio.create_task(firefox.read())
                await firefox.command("session.new", capabilities={})
                await firefox.command("session.subscribe", events=["log.entryAdded"])
                yield firefox
                with contextlib.suppress(TimeoutError, ConnectionError):
                    async with asyncio.timeout(STOP_SECONDS):
                        await firefox.command("browser.close")
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        finally:
            await _stop(process)
            if draining is not None:
                await draining


def _write_preferences(profile: str) -> None:
    lines = [f'user_pref("{name}", {json.dumps(value)});\n' for name, value in PREFERENCES.items()]
    Path(profile, "user.js").write_text("".join(lines))


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(START_SECONDS):
        while line := (await process.stderr.readline()).decode(errors="replace"):
            said += line
            if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
                return found[1]
    raise BrowserMissingError(f"Firefox ended with {await process.wait()}: {said[-500:]}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.readline():
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
            return
    process.kill()
    await process.wait()
