"""The table of `docs/settings.md`, which is made from the model.

`python -m tests.helpers.settings_document` brings it up to date; a test fails while it is not.
"""

from __future__ import annotations

import re
from pathlib import Path

from signaling.config import text as config_text

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"
_TABLE = re.compile(r"(<!-- table: settings -->\n).*?(<!-- end of table -->)", re.DOTALL)


def with_table(text: str) -> str:
    """Return the document's text with the table as the model has it."""
    return _TABLE.sub(lambda match: match[1] + config_text.table() + match[2], text)


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
