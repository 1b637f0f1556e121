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
WAIT_SECONDS = 20
"""An upper bound for what takes a second or two: the machine may be busy."""
STOP_SECONDS = 10
LAST_WORDS = 500
"""Characters of a Firefox that does not start that go into the error."""

PREFERENCES: dict[str, bool | int] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
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


# Statistics are had of connections, and pages keep theirs to themselves.
KEEP_CONNECTIONS = """() => {
  window.peerConnections = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...given) {
      super(...given);
      window.peerConnections.push(this);
    }
  };
}"""

# What getStats says of a track in a video element; the element itself counts no frames where there is no screen, and
# an AudioContext does not start where there is no sound card.
RECEIVED = """async (selector, kind) => {
  const tracks = document.querySelector(selector)?.srcObject?.getTracks() ?? [];
  const id = tracks.find((track) => track.kind === kind)?.id;
  const open = window.peerConnections.filter((pc) => pc.connectionState !== "closed");
  // Those of a connection that is closed meanwhile never come.
  const late = () => new Promise((resolve) => setTimeout(() => resolve(new Map()), 1_000));
  const reports = await Promise.all(open.map((pc) => Promise.race([pc.getStats(), late()])));
  const all = reports.flatMap((report) => [...report.values()]);
  return all.find((report) => report.type === "inbound-rtp" && report.trackIdentifier === id) ?? {};
}"""

# An element that is there, can be clicked and has not moved from one picture to the next.
STANDS_STILL = """async (selector) => {
  const place = async () => {
    const element = document.querySelector(selector);
    if (!element || element.disabled || !element.checkVisibility()) return null;
    element.scrollIntoView({ block: "center" });
    await new Promise(requestAnimationFrame);
    const { x, y, width, height } = element.getBoundingClientRect();
    return [x, y, width, height].join();
  };
  const before = await place();
  return before !== null && before === (await place());
}"""


class Tab:
    """One page."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    async def evaluate(self, function: str, *arguments: Any) -> Any:
        """Return what a JavaScript function gives, or its promise; arguments and result must be JSON."""
        given = ", ".join(map(json.dumps, arguments))
        text = f"(async () => JSON.stringify((await ({function})({given})) ?? null))()"
        done = await self._run(text)
        return json.loads(done["result"]["value"])

    async def wait_for(self, function: str, *arguments: Any, seconds: float = WAIT_SECONDS) -> Any:
        """Return what the function, or its promise, gives, once that is true; look again twenty times a second."""
        found = await self.evaluate(
            f"""async (...given) => {{
              const deadline = performance.now() + {1000 * seconds};
              for (;;) {{
                const found = await ({function})(...given);
                if (found || performance.now() > deadline) return found;
                await new Promise((go) => setTimeout(go, 50));
              }}
            }}""",
            *arguments,
        )
        assert found, f"not within {seconds} s: {function} {arguments}"
        return found

    async def wait_text(self, selector: str, text: str, seconds: float = WAIT_SECONDS) -> None:
        """Return when the first element of a selector reads `text`."""
        condition = "(selector, text) => document.querySelector(selector)?.textContent === text"
        await self.wait_for(condition, selector, text, seconds=seconds)

    async def wait_frames(self, selector: str, count: int = 10, seconds: float = WAIT_SECONDS) -> None:
        """Return when so many more pictures of a video element have been decoded."""
        before = await self._wait_more(selector, "video", "framesDecoded", 0, seconds)
        await self._wait_more(selector, "video", "framesDecoded", before + count, seconds)

    async def wait_sound(self, selector: str, energy: float = 1e-4) -> None:
        """Return when a video element has got more sound: energy of full scale times seconds, muted or not."""
        before = await self._wait_more(selector, "audio", "totalAudioEnergy", 0, WAIT_SECONDS)
        await self._wait_more(selector, "audio", "totalAudioEnergy", before + energy, WAIT_SECONDS)

    async def _wait_more(self, selector: str, kind: str, field: str, than: float, seconds: float) -> float:
        condition = f"""async (selector, kind, field, than) => {{
          const value = (await ({RECEIVED})(selector, kind))[field];
          return value > than && value;
        }}"""
        return float(await self.wait_for(condition, selector, kind, field, than, seconds=seconds))

    async def click(self, selector: str) -> None:
        """Click the first element of a selector as a mouse does, once it is there and can be."""
        # In the background nothing is drawn.
        await self._firefox.command("browsingContext.activate", context=self._context)
        await self.wait_for(STANDS_STILL, selector)
        element = (await self._run(f"document.querySelector({json.dumps(selector)})"))["result"]
        origin = {"type": "element", "element": {"sharedId": element["sharedId"]}}
        steps = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": steps}
        await self._firefox.command("input.performActions", context=self._context, actions=[mouse])

    async def close(self) -> None:
        await self._firefox.command("browsingContext.close", context=self._context)

    async def _run(self, expression: str) -> Any:
        target = {"context": self._context}
        done = await self._firefox.command("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert done["type"] == "success", f"{expression}: {done.get('exceptionDetails', {}).get('text')}"
        return done


class Firefox:
    """A running browser. `problems` has what its pages reported as errors."""

    def __init__(self, link: aiohttp.ClientWebSocketResponse) -> None:
        self._link = link
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self.problems: list[str] = []

    @contextlib.asynccontextmanager
    async def page(self, url: str) -> AsyncIterator[Tab]:
        """Open `url` as a new visitor would, nothing shared with other pages; it is closed at the end of the block."""
        visitor = (await self.command("browser.createUserContext"))["userContext"]
        try:
            context = (await self.command("browsingContext.create", type="tab", userContext=visitor))["context"]
            await self.command("browsingContext.navigate", context=context, url=url, wait="complete")
            yield Tab(self, context)
        finally:
            with contextlib.suppress(ConnectionError):
                await self.command("browser.removeUserContext", userContext=visitor)

    async def command(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        if self._link.closed:
            raise ConnectionResetError("Firefox is gone")
        self._last += 1
        answer = self._answers[self._last] = asyncio.get_running_loop().create_future()
        await self._link.send_json({"id": self._last, "method": method, "params": parameters})
        async with asyncio.timeout(WAIT_SECONDS + START_SECONDS):
            return await answer

    async def read(self) -> None:
        """Hand out what comes until the socket closes."""
        async for message in self._link:
            data = json.loads(message.data)
            if data["type"] == "event":
                if data["method"] == "log.entryAdded" and data["params"]["level"] == "error":
                    self.problems.append(str(data["params"]["text"]))
                continue
            answer = self._answers.pop(data["id"])
            if answer.done():
                continue  # whoever asked was cancelled
            if data["type"] == "success":
                answer.set_result(data["result"])
            else:
                answer.set_exception(AssertionError(f"{data['error']}: {data['message']}"))
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("Firefox is gone"))


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
            draining = asyncio.create_task(_drain(process), name="firefox-stderr")
            async with _connected(url) as firefox:
                yield firefox
                with contextlib.suppress(TimeoutError, ConnectionError):
                    async with asyncio.timeout(STOP_SECONDS):
                        await firefox.command("browser.close")
        finally:
            await _stop(process)
            if draining is not None:
                await draining


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Firefox]:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/session", max_msg_size=0) as link:
        firefox = Firefox(link)
        reading = asyncio.create_task(firefox.read(), name="firefox-events")
        try:
            await firefox.command("session.new", capabilities={})
            await firefox.command("session.subscribe", events=["log.entryAdded"])
            await firefox.command("script.addPreloadScript", functionDeclaration=KEEP_CONNECTIONS)
            yield firefox
        finally:
            await link.close()
            await asyncio.gather(reading, return_exceptions=True)


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
    raise BrowserMissingError(f"Firefox ended with {await process.wait()}: {said[-LAST_WORDS:]}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.read(65_536):
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
            return
    process.kill()
    await process.wait()
