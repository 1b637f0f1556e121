"""axe-core, the accessibility checker, run inside a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.helpers import npm

if TYPE_CHECKING:
    from playwright.async_api import Page

VERSION = "4.10.3"
"""Pinned: a newer one may have new rules, which are to be met on purpose."""
SERIOUS = {"serious", "critical"}


def install_axe() -> str:
    """Return its source, after installing it beside the Python that runs this."""
    return (npm.package("axe-core", VERSION) / "axe.min.js").read_text()


async def assert_accessible(page: Page) -> None:
    """Fail on serious or critical findings, in the present colour scheme and, as to contrast, in the other one.

    Colours over moving pictures cannot be judged and are left out by axe. Motion is turned down for good: colours on
    their way from one scheme to the other are neither's.
    """
    await page.evaluate(install_axe())
    await page.emulate_media(reduced_motion="reduce")
    found = await _findings(page, {"resultTypes": ["violations"]})
    schemes = ["dark", "light"]
    is_dark = await page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    present, other = schemes if is_dark else reversed(schemes)
    await page.emulate_media(color_scheme=other)  # type: ignore[arg-type]  # one of the two
    found += await _findings(page, {"runOnly": ["color-contrast"]})
    await page.emulate_media(color_scheme=present)  # type: ignore[arg-type]  # as above
    assert not found, "\n".join(found)


async def _findings(page: Page, options: dict[str, Any]) -> list[str]:
    result: dict[str, Any] = await page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{finding['id']}: {node['html'][:160]} {node['failureSummary']}"
        for finding in result["violations"]
        if finding["impact"] in SERIOUS
        for node in finding["nodes"]
    ]
