"""Shorten the texts of a list to a number of bytes in total. Short texts stay, long ones are cut to the same length."""

from __future__ import annotations

import json
from collections.abc import Sequence

from reconciler.store.texts import CUT

_encode = json.JSONEncoder(ensure_ascii=False).encode


def shortened(texts: Sequence[str], budget: int) -> list[str]:
    """Return each text, or its beginning and CUT, so that all have at most `budget` bytes as JSON (without quotes).

    If the budget does not suffice for a CUT each, each cut text is only CUT.
    """
    most = _level(
        [len(text) for text in texts], budget
    )  # a character has at least one byte, so no text keeps more characters
    sizes = [size(text[: most + 1]) for text in texts]
    level = _level(sizes, budget)
    return [text if length <= level else _beginning(text, level) for text, length in zip(texts, sizes, strict=True)]


def size(text: str) -> int:
    """Return the bytes of a text as JSON, without its quotes."""
    return len(_encode(text).encode("utf-8", "replace")) - 2


def _level(sizes: Sequence[int], budget: int) -> int:
    """Return the length to which the long texts are cut. The long ones share what the short ones leave."""
    left = len(sizes)
    for each in sorted(sizes):
        if each * left > budget:
            return budget // left
        budget, left = budget - each, left - 1
    return max(sizes, default=0)


def _beginning(text: str, level: int) -> str:
    room = max(0, level - len(CUT.encode()))
    part = text[:room]
    while part and (length := size(part)) > room:
        part = part[: len(part) * room // length]
    return part + CUT
