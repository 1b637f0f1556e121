"""Mutators: what is done to bytes, to lines of text and to JSON. Fast, since a million inputs are to be made."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

MAX_REPEATS = 600
"""Copies of one line: as many as a section may have, to find what is quadratic."""
MAX_JSON_DEPTH = 40

BYTES = (0, 1, 2, 0x0F, 0x10, 0x1F, 0x20, 0x3F, 0x40, 0x7F, 0x80, 0x90, 0xB0, 0xBE, 0xBF, 0xC0, 0xC8, 0xCE, 0xDF, 0xFF)
NUMBERS = (
    *("0", "-1", "1", "8", "15", "35", "63", "72", "96", "127", "128", "255", "256", "65535", "65536", "2147483648"),
    *("4294967295", "4294967296", "99999999999999999999", "1e9", "0x10", "٣", "", " ", "1" * 400, "1" * 5000),
)
SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, 1e308, -0.0, 2**31, 2**53, 2**64, 10**400, "", "0", "1", "x" * 5000),
    *("\ud800", "\u2028", "\0", "é", "🎥", [], {}, [[]], {"candidate": {}}, ["a"] * 300, [0.5] * 300),
)


def pick(rng: Random, items: Sequence[Any]) -> Any:
    """Return one item; quicker than `Random.choice`."""
    return items[int(rng.random() * len(items))]


def mutate_bytes(rng: Random, corpus: list[bytes], tokens: Sequence[bytes] = (), *, most: int = 4) -> bytes:
    """Return a corpus entry with one to `most` changes."""
    data = bytearray(pick(rng, corpus))
    for _ in range(1 + int(rng.random() * most)):
        _BYTE_CHANGES[int(rng.random() * len(_BYTE_CHANGES))](rng, data, corpus, tokens)
    return bytes(data)


def _flip(rng: Random, data: bytearray, _corpus: list[bytes], _tokens: Sequence[bytes]) -> None:
    if data:
        data[int(rng.random() * len(data))] ^= 1 << int(rng.random() * 8)


def _set(rng: Random, data: bytearray, _corpus: list[bytes], _tokens: Sequence[bytes]) -> None:
    if data:
        data[int(rng.random() * len(data))] = pick(rng, BYTES)


def _set_near_start(rng: Random, data: bytearray, _corpus: list[bytes], _tokens: Sequence[bytes]) -> None:
    if data:
        data[int(rng.random() * min(len(data), 24))] = int(rng.random() * 256)


def _number(rng: Random, data: bytearray, _corpus: list[bytes], _tokens: Sequence[bytes]) -> None:
    at = int(rng.random() * (len(data) + 1))
    width = pick(rng, (2, 4))
    highest = (1 << 8 * width) - 1
    number = pick(rng, (0, 1, highest, 1 << (8 * width - 1), min(len(data), highest)))
    data[at : at + width] = number.to_bytes(width, "big")


def _cut(rng: Random, data: bytearray, _corpus: list[bytes], _tokens: Sequence[bytes]) -> None:
    at = int(rng.random() * (len(data) + 1))
    del data[at : at + 1 + int(rng.random() * 16)]


def _truncate(rng: Random, data: bytearray, _corpus: list[bytes], _tokens: Sequence[bytes]) -> None:
    del data[int(rng.random() * (len(data) + 1)) :]


def _repeat(rng: Random, data: bytearray, _corpus: list[bytes], _tokens: Sequence[bytes]) -> None:
    at = int(rng.random() * (len(data) + 1))
    data[at:at] = data[at : at + 1 + int(rng.random() * 16)] * (1 + int(rng.random() * 4))


def _splice(rng: Random, data: bytearray, corpus: list[bytes], _tokens: Sequence[bytes]) -> None:
    other = pick(rng, corpus)
    data[int(rng.random() * (len(data) + 1)) :] = other[int(rng.random() * (len(other) + 1)) :]


def _token(rng: Random, data: bytearray, _corpus: list[bytes], tokens: Sequence[bytes]) -> None:
    if tokens:
        at = int(rng.random() * (len(data) + 1))
        token = pick(rng, tokens)
        data[at : at + (len(token) if rng.random() < 0.5 else 0)] = token


_BYTE_CHANGES = (_flip, _set, _set, _set_near_start, _number, _cut, _truncate, _repeat, _splice, _token)


def mutate_lines(rng: Random, corpus: list[bytes], tokens: Sequence[str]) -> bytes:
    """Return a text of the corpus with some lines changed, in what makes SDP: numbers, values and their order."""
    # The shorter of two: a browser's own is slow to parse, and most of what can go wrong does so in a short one.
    lines = min(pick(rng, corpus), pick(rng, corpus), key=len).decode("utf-8", "replace").split("\r\n")
    for _ in range(1 + int(rng.random() * 4)):
        at = int(rng.random() * len(lines))
        _LINE_CHANGES[int(rng.random() * len(_LINE_CHANGES))](rng, lines, at, tokens)
        if not lines:
            break
    data: bytes = "\r\n".join(lines).encode("utf-8", "replace")
    return data


def _drop_line(_rng: Random, lines: list[str], at: int, _tokens: Sequence[str]) -> None:
    del lines[at]


def _move_line(rng: Random, lines: list[str], at: int, _tokens: Sequence[str]) -> None:
    lines.insert(int(rng.random() * len(lines)), lines.pop(at))


def _repeat_line(rng: Random, lines: list[str], at: int, _tokens: Sequence[str]) -> None:
    lines.insert(int(rng.random() * len(lines)), lines[at])


def _flood_line(rng: Random, lines: list[str], at: int, _tokens: Sequence[str]) -> None:
    if rng.random() < 0.004:  # these are slow by themselves
        lines[at:at] = [lines[at]] * int(rng.random() * MAX_REPEATS)


def _change_part(rng: Random, lines: list[str], at: int, tokens: Sequence[str]) -> None:
    """Replace one part of a line, where parts are what stands between spaces, colons, slashes and the like."""
    line = lines[at]
    separator = pick(rng, " :/;=")
    parts = line.split(separator)
    part = int(rng.random() * len(parts))
    parts[part] = pick(rng, NUMBERS) if rng.random() < 0.6 else pick(rng, tokens)
    lines[at] = separator.join(parts)


def _change_ending(rng: Random, lines: list[str], at: int, tokens: Sequence[str]) -> None:
    lines[at] = lines[at][: int(rng.random() * (len(lines[at]) + 1))] + (
        pick(rng, tokens) if rng.random() < 0.5 else ""
    )


def _insert_line(rng: Random, lines: list[str], at: int, tokens: Sequence[str]) -> None:
    lines.insert(at, pick(rng, tokens))


_LINE_CHANGES = (
    *(_drop_line, _move_line, _repeat_line, _flood_line, _change_part, _change_part, _change_part),
    *(_change_ending, _insert_line),
)


def mutate_json(rng: Random, corpus: list[bytes], names: Sequence[str]) -> bytes:
    """Return a JSON text of the corpus with some values changed; now and then not JSON any more."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, corpus, [name.encode() for name in names])
    try:
        tree = json.loads(pick(rng, corpus))
    except (ValueError, RecursionError):
        return mutate_bytes(rng, corpus)
    for _ in range(1 + int(rng.random() * 3)):
        tree = _change_node(rng, tree, names, 0)
    return json.dumps(tree).encode()


def _change_node(rng: Random, node: Any, names: Sequence[str], depth: int) -> Any:
    roll = rng.random()
    if isinstance(node, dict) and node and roll < 0.8 and depth < MAX_JSON_DEPTH:
        if roll < 0.1:
            node[pick(rng, names)] = _scalar(rng)
        elif roll < 0.2:
            del node[pick(rng, list(node))]
        else:
            key = pick(rng, list(node))
            node[key] = _change_node(rng, node[key], names, depth + 1)
        return node
    if isinstance(node, list) and node and roll < 0.7 and depth < MAX_JSON_DEPTH:
        if roll < 0.1:
            return node * int(rng.random() * 300)
        at = int(rng.random() * len(node))
        node[at] = _change_node(rng, node[at], names, depth + 1)
        return node
    if roll > 0.95:
        return [node] if roll > 0.975 else {pick(rng, names): node}
    return pick(rng, names) if roll > 0.9 else _scalar(rng)


def _scalar(rng: Random) -> Any:
    value = pick(rng, SCALARS)
    # What a later change may change itself is copied.
    return copy.deepcopy(value) if isinstance(value, (list, dict)) else value
