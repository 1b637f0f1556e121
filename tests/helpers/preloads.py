"""What each page preloads: every module that its script reaches, so that none is found only when another has come.

`python -m tests.helpers.preloads` writes the links into the pages; a test holds them to the modules' imports.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

STATIC = Path(__file__).parents[2] / "static"
PAGES = ("index.html", "device.html", "inspect.html", "status.html")

_SCRIPT = re.compile(r'^( *)<script type="module" src="/static/js/([\w-]+\.js)"></script>\n', re.MULTILINE)
_PRELOAD = re.compile(r' *<link rel="modulepreload" href="[^"]*">\n')
_IMPORT = re.compile(r'^(?:import|export) (?:[^"\'()]* from )?"\./([\w-]+\.js)";', re.MULTILINE)


def reached(script: str) -> list[str]:
    """Return the modules that `script` imports, directly or not, nearest first and without itself."""
    found = [script]
    for name in found:
        names = _IMPORT.findall((STATIC / "js" / name).read_text())
        found += [other for other in dict.fromkeys(names) if other not in found]
    return found[1:]


def with_preloads(page: str) -> str:
    """Return a page's text with the links that it should have."""
    text = _PRELOAD.sub("", page)
    match = _SCRIPT.search(text)
    if match is None:
        return text
    links = [f'{match[1]}<link rel="modulepreload" href="/static/js/{name}">\n' for name in reached(match[2])]
    return text[: match.end()] + "".join(links) + text[match.end() :]


def main() -> int:
    """Bring the pages up to date."""
    for name in PAGES:
        path = STATIC / name
        path.write_text(with_preloads(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
