"""The pieces of the text that a model writes now, kept in memory until the whole text is there.

Events of pieces are kept in no log (meta.wire.live.is_passing). Who begins to watch in the middle of a text needs those
that came before, or the text has no beginning; who watches again needs those between, or it has a hole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

BYTES = 256 * 1024
"""What is kept of one text. Of a longer one the first pieces are kept, and a mark for the others."""
OVERHEAD = 128
"""Bytes that a piece takes beside its text."""
MARK = '{"kind":"stream","items":[{"type":"text_delta","text":" … "}],"value":null}'


class _Row(Protocol):
    @property
    def text(self) -> str: ...
    def _replace(self, *, text: str) -> Any: ...


R = TypeVar("R", bound=_Row)


class UnderWay(Generic[R]):
    """The rows of the pieces of one text, oldest first."""

    def __init__(self) -> None:
        self._rows: list[R] = []
        self._bytes = 0
        self._full = False

    @property
    def rows(self) -> tuple[R, ...]:
        """Return the rows that are kept."""
        return tuple(self._rows)

    def add(self, row: R) -> None:
        """Take the next piece. If there is no room for it, keep a mark in its place and forget those after it."""
        if self._full:
            return
        self._bytes += len(row.text) + OVERHEAD
        self._full = self._bytes > BYTES
        self._rows.append(row._replace(text=MARK) if self._full else row)

    def end(self) -> None:
        """Forget the pieces: the whole text is there, or will not come."""
        self._rows.clear()
        self._bytes, self._full = 0, False


def ends_text(value: Mapping[str, Any]) -> bool:
    """Return True for the object of an event after which no piece belongs to the text before it."""
    if value.get("kind") != "stream":
        return value.get("kind") in ("turn_start", "turn_end")
    items = value.get("items")
    return isinstance(items, list) and any(isinstance(item, dict) and item.get("type") == "text" for item in items)
