"""Words of code come from a process of its own, in bounded time, or the code is plain."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from api.ui.diff import highlight
from api.ui.diff.blocks import Changed
from api.ui.diff.edits import edit_diff
from api.ui.diff.highlight import MOST_BYTES, Highlighter
from api.ui.diff.lexer import answer_of
from api.ui.diff.lines import Piece, Token
from api.ui.diff.values import Patch
from api.ui.diff.view import diff_view

LONG = 60.0
"""Seconds that a test waits for a process on a busy machine."""


@pytest.fixture
async def highlighter() -> AsyncIterator[Highlighter]:
    highlighter = Highlighter(seconds=LONG)
    yield highlighter
    await highlighter.close()


async def test_both_sides_of_a_change_have_their_own_tokens(highlighter: Highlighter) -> None:
    file = edit_diff("a.py", 'x = "old"\n', "def f():\r\n    # a note\n", 1)
    tokens = (await highlighter.tokens([file], LONG))["a.py"]
    assert dict(tokens) == {
        ("-", 1): [Token(4, 5, "q"), Token(5, 8, "q"), Token(8, 9, "q")],
        ("+", 1): [Token(0, 3, "k")],
        ("+", 2): [Token(4, 12, "q")],
    }
    (view,) = diff_view(Patch((file,)), "k", tokens={"a.py": tokens})
    (block,) = view.parts
    assert isinstance(block, Changed)
    assert block.added[0].stretches[0].pieces[0] == Piece("def", "k")


async def test_a_diff_is_asked_about_once_and_later_pages_do_not_wait(
    highlighter: Highlighter, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = edit_diff("a.py", None, "import os\n")
    first = await highlighter.tokens([file], LONG)
    monkeypatch.setattr(highlight, "run", None)
    assert await highlighter.tokens([file], 0) == first != {}


async def test_a_page_does_not_wait_longer_than_its_patience(highlighter: Highlighter) -> None:
    assert await highlighter.tokens([edit_diff("a.py", None, "import os\n")], 0) == {}


async def test_an_answer_that_takes_too_long_is_ended_and_the_code_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highlight, "_PROGRAM", "import time; time.sleep(1000)")
    highlighter = Highlighter(seconds=0.2)
    assert await highlighter.tokens([edit_diff("a.py", None, "import os\n")], LONG) == {}


async def test_an_unknown_language_or_a_long_file_is_plain(highlighter: Highlighter) -> None:
    files = [edit_diff("b.py", None, "import os\n" * MOST_BYTES), edit_diff("a.unknown", None, "import os\n")]
    known = await highlighter.tokens([*files, edit_diff("c.py", None, "import os\n")], LONG)
    assert known == {"c.py": {("+", 1): [Token(0, 6, "k")]}}


async def test_an_answer_of_another_form_is_no_token(highlighter: Highlighter, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "0 9 0 1 k\n0 0 0 1 <b>\nx 0 0 1 k\n1 0 0 6 k\n"
    monkeypatch.setattr(highlight, "_PROGRAM", f"print({answer!r})")
    tokens = await highlighter.tokens([edit_diff("a.py", None, "import os\n")], LONG)
    assert tokens == {"a.py": {("+", 1): [Token(0, 6, "k")]}}


@pytest.mark.parametrize(
    ("name", "line", "found"),
    [
        ("agent.nix", "let x = 1; # note", [(0, 3, "k"), (11, 17, "q")]),
        ("agent.toml", 'name = "haiku"', [(7, 8, "q"), (8, 13, "q"), (13, 14, "q")]),
    ],
)
def test_agents_own_files_have_tokens(name: str, line: str, found: list[tuple[int, int, str]]) -> None:
    assert [token[1:] for token in answer_of(name, [line])] == found
