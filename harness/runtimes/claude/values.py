"""Values of a line of the CLI, each of which may be of any type. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from harness.asides import Aside
from harness.runtimes.claude.facts import Fact
from meta.text import one_line
from meta.wire.live import AnyItem

Object = Mapping[str, Any]
Parts = Iterator[AnyItem | Fact | Aside]

_WORD = 100
"""Characters of a word."""
_LOOK = 4_000
"""Characters of a text that are looked at for its sentence: cleaning 8 MB would hold up the event loop."""


def as_text(value: object) -> str:
    """Return a text; empty if it is none."""
    return value if isinstance(value, str) else ""


def as_word(value: object) -> str:
    """Return a word of the CLI on one line."""
    if not isinstance(value, str):
        return ""
    return _clean(value) if len(value) <= _WORD else one_line(value[:_LOOK], _WORD)


def as_sentence(value: object) -> str:
    """Return the beginning of a text on one line; empty if it is none."""
    return one_line(as_text(value)[:_LOOK])


@lru_cache(512)
def _clean(word: str) -> str:
    # cached, because scrubbing takes longer than the rest of a line, and a CLI has few words
    return one_line(word, _WORD)


def as_object(value: object) -> Object:
    """Return an object; an empty one if it is none."""
    return value if isinstance(value, dict) else {}


def as_objects(value: object) -> list[Object]:
    """Return the objects of a list."""
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def as_count(value: object) -> int | None:
    """Return a whole number of things; None if it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def as_amount(value: object) -> float | None:
    """Return a number that is not negative and not absurd; None if it is none."""
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12 else None
    )


def flatten(content: object) -> str:
    """Return the text of a tool's result."""
    if isinstance(content, str):
        return content
    parts = (as_text(block.get("text")) or f"[{as_word(block.get('type'))}]" for block in as_objects(content))
    return "\n".join(parts)
