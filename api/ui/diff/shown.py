"""Diffs of proposals and of commits as pages show them: parsed, bounded, with the tokens that are known, and kept.

A page is rendered again after each change of anything. A diff is not: the same text has the same view.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from api.ui.diff.blocks import Tokens
from api.ui.diff.highlight import Highlighter
from api.ui.diff.patch import read_patch
from api.ui.diff.source import INLINE, Source
from api.ui.diff.values import Patch
from api.ui.diff.view import DIFF_MOST, FileView, Fold, diff_view, files_page, more_files, shown_at_once
from meta.git.diff import FileChange
from reconciler.views import Change, Diff

KEPT = 16
"""Diffs whose views are kept. One has at most 4 MiB of text."""


@dataclass(frozen=True, slots=True)
class ShownDiff:
    """A diff for the macro `diff_whole`: the first files, and what loads `more` of them.

    `count`, `added` and `removed` are of all files and their lines.
    """

    files: tuple[FileView, ...]
    more: Fold | None
    count: int
    added: int
    removed: int


_Key = tuple[str, tuple[FileChange, ...], Source, int]


class DiffViews:
    """The diffs that pages show. It belongs to one event loop."""

    def __init__(self, highlighter: Highlighter | None = None) -> None:
        """Take the tokens of code from `highlighter`."""
        self.highlighter = highlighter or Highlighter()
        self._kept: OrderedDict[_Key, tuple[Patch, Mapping[str, Tokens], ShownDiff]] = OrderedDict()

    async def show(self, diff: Diff | Change, key: str, layout: str = INLINE, most: int = DIFF_MOST) -> ShownDiff:
        """Return a diff. At most `most` rows are shown at once, files beyond are folded.

        `key` begins the ids of all parts: letters, digits, - and _. The commits follow in them, so that a fold that is
        open never shows lines of others.
        """
        key = f"{key}-{(diff.base or '')[:7]}-{diff.sha[:7]}"
        id = diff.id if isinstance(diff, Diff) else None
        wanted = (diff.patch, diff.changes, Source(diff.agent, diff.base, diff.sha, key, layout, id), most)
        kept = self._kept.get(wanted)
        patch = kept[0] if kept else await asyncio.to_thread(read_patch, diff.patch, diff.changes)
        first = files_page(patch)
        tokens = await self.highlighter.tokens(shown_at_once(first, most))
        if kept is None or kept[1] is not tokens:
            files = await asyncio.to_thread(diff_view, first, key, wanted[2], tokens, most)
            more = more_files(patch, wanted[2])
            kept = (patch, tokens, ShownDiff(files, more, len(patch.files), patch.added, patch.removed))
        self._kept[wanted] = kept
        self._kept.move_to_end(wanted)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return kept[2]
