"""What was made of the items that are shown: each is made once, and again when it changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api.ui.transcript.items import Item
from api.ui.transcript.shown import ItemView, item_view

MOST = 1_000


class Cache:
    """Views of items, and the text that a template makes of a view. It is emptied when it is full."""

    def __init__(self) -> None:
        self._views: dict[tuple[str, bool], tuple[Item, ItemView]] = {}
        self._texts: dict[str, tuple[ItemView, Any]] = {}

    def view(self, item: Item, inline: bool = True) -> ItemView:
        """Return the view of an item."""
        known = self._views.get((item.key, inline))
        if known is not None and known[0] is item:
            return known[1]
        view = item_view(item, inline)
        if len(self._views) >= MOST:
            self._views.clear()
        self._views[item.key, inline] = (item, view)
        return view

    def text(self, view: ItemView, make: Callable[..., Any], *more: object) -> Any:
        """Return `make(view, *more)`, a template's macro. Views of one key always come with the same macro."""
        known = self._texts.get(view.key)
        if known is not None and known[0] is view:
            return known[1]
        text = make(view, *more)
        if len(self._texts) >= MOST:
            self._texts.clear()
        self._texts[view.key] = (view, text)
        return text
