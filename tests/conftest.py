"""What every test shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aioice.ice
import pytest

pytest.register_assert_rewrite("tests.helpers.peers", "tests.helpers.server", "tests.helpers.stock")

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _clients_gather_loopback() -> Iterator[None]:
    """Let stock aiortc clients use 127.0.0.1, which aioice leaves out; the server needs no such help."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])  # noqa: ARG005
        yield
