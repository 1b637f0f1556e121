"""What of other settings a running server can take over. Pure.

A field says itself whether it can (`reload` in `config.ServerConfig`). Besides, what a server is stays: one that asks
for tokens does not stop to by a line lost from a file, nor does https turn into http.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .model import ServerConfig, extra

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALL_OR_NONE = (
    ("auth_secret", "auth_secret_file", "auth_public_key_file"),
    ("tls_cert", "tls_key"),
)
"""Where any of a group is set the server has the ability; having it at all changes by a restart only."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about other settings."""

    settings: ServerConfig
    """The old ones with what can change changed."""
    changed: tuple[str, ...]
    """Fields that change."""
    refused: tuple[str, ...]
    """Fields that differ and need a restart."""


def plan(old: ServerConfig, new: ServerConfig) -> Plan:
    """Return what of `new` takes effect without a restart."""
    differing = [name for name in ServerConfig.model_fields if getattr(old, name) != getattr(new, name)]
    held = {name for group in _ALL_OR_NONE if _has(old, group) != _has(new, group) for name in group}
    changed = tuple(name for name in differing if extra(name).get("reload") and name not in held)
    return Plan(
        settings=old.model_copy(update={name: getattr(new, name) for name in changed}),
        changed=changed,
        refused=tuple(name for name in differing if name not in changed),
    )


def _has(settings: ServerConfig, group: Iterable[str]) -> bool:
    return any(getattr(settings, name) for name in group)
