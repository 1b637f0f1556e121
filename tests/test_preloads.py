"""The pages ask for all their modules at once."""

from __future__ import annotations

import pytest

from tests.helpers.preloads import PAGES, STATIC, reached, with_preloads


@pytest.mark.parametrize("page", PAGES)
def test_a_page_preloads_what_its_script_reaches(page: str) -> None:
    text = (STATIC / page).read_text()
    assert text == with_preloads(text), "run `make types`"
    assert 'rel="modulepreload"' in text


def test_every_module_is_reached_by_a_page_or_is_a_library() -> None:
    pages = {"viewer-page.js", "device-page.js", "inspect-page.js", "status-page.js", "webrtc-stream.js", "aiosfu.js"}
    found = pages.union(*map(reached, pages))
    # Modules of types alone are for the checker: JSDoc names them, nothing imports them.
    assert found == {path.name for path in (STATIC / "js").glob("*.js") if "\nexport {};\n" not in path.read_text()}
