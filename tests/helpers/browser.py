"""A real Chromium for tests: found, installed where that is possible, and driven by Playwright.

`python -m tests.helpers.browser --install` makes sure that there is one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Response

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What a Chromium is called on the systems that package it."""
INSTALL_TIMEOUT_SECONDS = 600
"""A download of some 100 MB on a slow line."""
WAIT_MS = 20_000
"""An upper bound for what takes a second or two: the machine may be busy."""

ALLOW_CAMERA = "--use-fake-ui-for-media-stream"
"""Says yes to every question for a permission; without it, headless, the answer is no."""

CAMERA = "--use-fake-device-for-media-stream=fps=15"
"""Half a camera's usual rate: a test sees that pictures come, and coding them is what keeps a browser busy."""
_ALWAYS = (
    "--no-sandbox",  # containers seldom have user namespaces
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    ALLOW_CAMERA,
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
)
_HIDE_NO_ADDRESS = "--disable-features=WebRtcHideLocalIpsWithMdns"
FLAGS = (
    *_ALWAYS,
    CAMERA,
    # Each window's address bar would bring a page of its own, half of what a visit costs.
    f"{_HIDE_NO_ADDRESS},WebUIOmniboxPopup,WebUIOmniboxAimPopup",
)
_MEASURED_FLAGS = (*_ALWAYS, "--use-fake-device-for-media-stream=fps=30", _HIDE_NO_ADDRESS)
"""For benchmarks, whose figures are of browsers and cameras as people have them."""


class BrowserMissingError(Exception):
    """There is no Chromium and it cannot be installed; the text says what to do."""


def find_chromium() -> str | None:
    """Return the path of a Chromium: the one `AIOSFU_CHROMIUM` names, or the first on the PATH."""
    chosen = os.environ.get("AIOSFU_CHROMIUM")
    if chosen:
        return shutil.which(chosen)
    return next(filter(None, map(shutil.which, NAMES)), None)


def install_chromium() -> str:
    """Return the path of a Chromium, installing it by apt-get where there is none.

    Raises `BrowserMissingError`.
    """
    found = find_chromium()
    if found:
        return found
    if os.environ.get("AIOSFU_CHROMIUM"):
        raise BrowserMissingError("AIOSFU_CHROMIUM names no program that can be run: set it to a Chromium's path.")
    prefix = _root_prefix()
    if prefix is None or shutil.which("apt-get") is None:
        raise BrowserMissingError(
            "No Chromium: install one (Debian: apt install chromium; Ubuntu, Fedora, macOS: Chromium or Google Chrome) "
            "so that it is on the PATH, or set AIOSFU_CHROMIUM to its path."
        )
    _run([*prefix, "apt-get", "update"])
    _run([*prefix, "apt-get", "install", "-y", "--no-install-recommends", "chromium"])
    found = find_chromium()
    if found is None:
        raise BrowserMissingError("apt-get installed chromium, but none of its names is on the PATH.")
    return found


def _root_prefix() -> list[str] | None:
    """Return what to put before a command that needs root; None where root cannot be had without a question."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def _run(command: Sequence[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise BrowserMissingError(f"{' '.join(command)} took over {INSTALL_TIMEOUT_SECONDS} s.") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise BrowserMissingError(f"{' '.join(command)} failed: {' '.join(last)}")


class Chromium:
    """One test's visit to a running browser, whose pages may not have errors."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._forgiven: list[str] = []
        self.problems: list[str] = []
        """Errors on the console, uncaught exceptions and failed loads of all pages, in order."""

    async def open(self, url: str, *, width: int = 1280, height: int = 800, dark: bool = True) -> Page:
        """Open `url` as a new visitor would: nothing is shared with other pages."""
        page = await self.blank(width=width, height=height, dark=dark)
        await page.goto(url)
        return page

    async def blank(self, *, width: int = 1280, height: int = 800, dark: bool = True, touch: bool = False) -> Page:
        """Open an empty page of a new visitor; with `touch` one who has fingers and no pointer."""
        context = await self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            has_touch=touch,
            is_mobile=touch,
            # Playwright turns motion down by itself; people mostly do not.
            reduced_motion="no-preference",
        )
        context.set_default_timeout(WAIT_MS)
        self._contexts.append(context)
        page = await context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("response", self._response)
        return page

    def forgive(self, text: str) -> None:
        """Expect problems that contain `text`: the browser reports a lost server on the console."""
        self._forgiven.append(text)

    async def close(self) -> None:
        """Close every page that was opened here, then fail if one of them had an error."""
        for context in self._contexts:
            await context.close()
        left = [problem for problem in self.problems if not any(text in problem for text in self._forgiven)]
        assert not left, f"the pages had problems: {left}"

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status} for {response.url}")


class Browsers:
    """The Chromiums of tests that run in one loop: each start costs a second of a core, a further visit nothing."""

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright
        self._shared: Browser | None = None
        """The one with `FLAGS` as they are, once somebody has asked for it."""

    @asynccontextmanager
    async def chromium(
        self, extra_flags: Iterable[str] = (), *, without: Iterable[str] = ()
    ) -> AsyncIterator[Chromium]:
        """Have a Chromium for the block: the shared one, or with other flags one of one's own.

        `without` names `FLAGS` to leave out. Pages of two blocks know nothing of each other, and are gone with theirs.
        """
        flags = _changed(FLAGS, extra_flags, without)
        browser = await (self._share() if flags == FLAGS else _launch(self._playwright, flags))
        chromium = Chromium(browser)
        try:
            yield chromium
        finally:
            try:
                await chromium.close()
            finally:
                if browser is not self._shared:
                    await browser.close()

    async def close(self) -> None:
        """End the shared browser."""
        browser, self._shared = self._shared, None
        if browser is not None:
            await browser.close()

    async def _share(self) -> Browser:
        # A test may have brought it down, and fails for that; the next one needs a browser nevertheless.
        if self._shared is None or not self._shared.is_connected():
            self._shared = await _launch(self._playwright, FLAGS)
        return self._shared


def _changed(flags: Iterable[str], extra: Iterable[str], without: Iterable[str]) -> tuple[str, ...]:
    left_out = frozenset(without)
    return (*(flag for flag in flags if flag not in left_out), *extra)


async def _launch(playwright: Playwright, flags: Iterable[str]) -> Browser:
    path = find_chromium()
    if path is None:
        raise BrowserMissingError("No Chromium: run `python -m tests.helpers.browser --install`.")
    return await playwright.chromium.launch(executable_path=path, args=[*flags])


@asynccontextmanager
async def running_browsers() -> AsyncIterator[Browsers]:
    """Have headless Chromiums with a fake camera and microphone for the block."""
    async with async_playwright() as playwright:
        browsers = Browsers(playwright)
        try:
            yield browsers
        finally:
            await browsers.close()


@asynccontextmanager
async def running_chromium(extra_flags: Iterable[str] = ()) -> AsyncIterator[Chromium]:
    """Run one headless Chromium for the block, where nothing is shared."""
    async with running_browsers() as browsers, browsers.chromium(extra_flags) as chromium:
        yield chromium


@asynccontextmanager
async def measured_chromium(extra_flags: Iterable[str] = (), *, without: Iterable[str] = ()) -> AsyncIterator[Browser]:
    """Run one headless Chromium for a benchmark: nothing is spared that people's browsers do.

    `without` names flags to leave out.
    """
    async with async_playwright() as playwright:
        browser = await _launch(playwright, _changed(_MEASURED_FLAGS, extra_flags, without))
        try:
            yield browser
        finally:
            await browser.close()


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.helpers.browser", description="The browser for tests.")
    parser.add_argument("--install", action="store_true", required=True, help="make sure that there is a Chromium")
    parser.parse_args()
    already = find_chromium()
    try:
        path = install_chromium()
    except BrowserMissingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"Chromium is {'already there' if already else 'installed'}: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
