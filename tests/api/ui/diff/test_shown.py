"""A page that is rendered again does not compare the lines of its diffs again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from api.ui.diff import shown
from api.ui.diff.blocks import Changed, Tokens
from api.ui.diff.edits import edit_diff
from api.ui.diff.highlight import Highlighter
from api.ui.diff.lines import Piece, Token
from api.ui.diff.shown import KEPT, DiffViews
from api.ui.diff.values import Patch
from api.ui.diff.view import Fold, diff_view
from meta.names import AgentName
from reconciler.views import Change

TEXT = "diff --git a/x.py b/x.py\nindex 1..2 100644\n--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-import a\n+import b\n"


@pytest.fixture
async def views() -> AsyncIterator[DiffViews]:
    views = DiffViews(Highlighter(seconds=60))
    yield views
    await views.highlighter.close()


def _change(text: str = TEXT) -> Change:
    return Change(AgentName("alice"), "a" * 40, "b" * 40, (), (), (), text)


def _answers(monkeypatch: pytest.MonkeyPatch, views: DiffViews, *answers: Mapping[str, Tokens]) -> None:
    """Let the highlighter answer so, one call after the other."""
    left = list(answers)

    async def tokens(*_args: object) -> Mapping[str, Tokens]:
        return left.pop(0)

    monkeypatch.setattr(views.highlighter, "tokens", tokens)


async def test_the_same_diff_has_the_same_view(views: DiffViews, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Mapping[str, Tokens] = {}
    _answers(monkeypatch, views, nothing, nothing)
    first = await views.show(_change(), "k")
    monkeypatch.setattr(shown, "read_patch", None)
    assert await views.show(_change(), "k") is first


async def test_a_view_is_made_again_once_its_tokens_are_known(
    views: DiffViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answers(monkeypatch, views, {}, {"x.py": {("+", 1): [Token(0, 6, "k")]}})
    await views.show(_change(), "k")
    (block,) = (await views.show(_change(), "k")).files[0].parts
    assert isinstance(block, Changed)
    assert block.added[0].stretches[0].pieces[0] == Piece("import", "k")


async def test_few_diffs_are_kept(views: DiffViews) -> None:
    for number in range(KEPT + 5):
        await views.show(_change(""), f"k{number}")
    assert len(views._kept) == KEPT


def test_a_call_of_a_tool_is_shown_without_links() -> None:
    text = "".join(f"line {number}\n" for number in range(2000))
    (file,) = diff_view(Patch((edit_diff("x", None, text),)), "c9")
    assert (file.added, file.removed) == (2000, 0)
    (fold,) = file.parts
    assert isinstance(fold, Fold)
    assert (fold.words, fold.href, fold.parts[1:]) == (
        "2,000 changed lines",
        "",
        (Fold(f"{file.id}-rows-1000", "1,000 more rows"),),
    )
