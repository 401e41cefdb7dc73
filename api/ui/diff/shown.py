"""A diff of a proposal or of two commits, as pages show it: parsed, bounded, with the tokens that are known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from api.ui.diff.highlight import Highlighter
from api.ui.diff.patch import read_patch
from api.ui.diff.source import INLINE, Source
from api.ui.diff.values import Patch
from api.ui.diff.view import FileView, diff_view, shown_at_once
from api.ui.moment import Moment
from reconciler.views import Change, Diff


async def show_diff(moment: Moment, diff: Diff | Change, key: str, layout: str = INLINE) -> tuple[FileView, ...]:
    """Return the files of a diff for the macro `diff_files`.

    `key` begins the ids of all parts. It has to name what is compared, so that an open fold never shows other commits.
    """
    id = diff.id if isinstance(diff, Diff) else None
    source = Source(diff.agent, diff.base, diff.sha, key, layout, id)
    patch = await asyncio.to_thread(read_patch, diff.patch, diff.changes)
    return await show_patch(moment.highlighter, patch, key, source)


async def show_patch(
    highlighter: Highlighter, patch: Patch, key: str, source: Source | None = None
) -> tuple[FileView, ...]:
    """Return the files of a patch, also of one that no commit has (`edit_diff`); then `source` is None."""
    tokens = await highlighter.tokens(shown_at_once(patch))
    return await asyncio.to_thread(diff_view, patch, key, source, tokens)


def totals(files: Sequence[FileView]) -> tuple[int, int]:
    """Return how many lines are added and removed in all files."""
    return sum(file.added for file in files), sum(file.removed for file in files)
