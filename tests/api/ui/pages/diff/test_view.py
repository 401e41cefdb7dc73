"""What a fold of a diff loads when it is opened."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from api.ui.diff.view import FILES_MOST, PAGE_ROWS, Fold
from meta.git.diff import CONTEXT, FileChange
from meta.names import AgentName, ProposalId, Sha
from reconciler.views import Change, Diff
from tests.api.ui.conftest import Ui

ALICE = AgentName("alice")
BASE, SHA = "a" * 40, "b" * 40
HEAD = "diff --git a/x.py b/x.py\nindex 1..2 100644\n--- a/x.py\n+++ b/x.py\n"
CHANGE = FileChange("x.py", "changed", "100644", "100644", 1, 1, False, True)


def _numbered(first: int, last: int) -> str:
    return "".join(f" line {number}\n" for number in range(first, last + 1))


SHORT = f"{HEAD}@@ -18,5 +18,6 @@\n{_numbered(18, 19)}+new\n{_numbered(20, 22)}"
WHOLE = f"{HEAD}@@ -1,2500 +1,2501 @@\n{_numbered(1, 19)}+new\n{_numbered(20, 2500)}"


def _change(patch: str) -> Change:
    return Change(ALICE, BASE, SHA, (), (), ("x.py",), patch, (CHANGE,))


@pytest.fixture
def asked(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str | None, str | None, int]]:
    """Answer `change` by a file of 2,500 lines, and note what it was asked."""
    noted: list[tuple[str | None, str | None, str | None, int]] = []

    async def change(
        agent: AgentName, first: str | None, last: str | None, path: str | None, context: int = CONTEXT
    ) -> Change:
        noted.append((first, last, path, context))
        return _change(SHORT if context == CONTEXT else WHOLE)

    monkeypatch.setattr(ui.hive.fake, "change", change)
    return noted


def _lines(answer: httpx.Response) -> list[tuple[str, str, str]]:
    assert answer.status_code == 200, answer.text
    found = re.findall(r'data-o="(\d*)" data-n="(\d*)"><i>.</i><span>(.*?)</span></div>', answer.text)
    return [(old, new, html.unescape(text)) for old, new, text in found]


def _links(answer: httpx.Response) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'hx-get="([^"]*)"', answer.text)]


async def _folds(ui: Ui) -> list[Fold]:
    (file,) = (await ui.site.hub.moment().diffs.show(_change(SHORT), "p7")).files
    return [part for part in file.parts if isinstance(part, Fold)]


async def test_a_fold_loads_exactly_the_lines_that_it_counts(
    ui: Ui, asked: list[tuple[str | None, str | None, str | None, int]]
) -> None:
    before, _ = await _folds(ui)
    assert before.words == "17 unchanged lines"
    answer = await ui.get(before.href)
    assert _lines(answer) == [(str(number), str(number), f"line {number}") for number in range(1, 18)]
    assert _links(answer) == []
    assert asked[0][:3] == (BASE, SHA, "x.py")


@pytest.mark.usefixtures("asked")
async def test_the_lines_behind_a_change_come_a_part_at_a_time_with_both_numbers(ui: Ui) -> None:
    _, behind = await _folds(ui)
    answer = await ui.get(behind.href)
    shown = _lines(answer)
    assert (len(shown), shown[0]) == (PAGE_ROWS, ("23", "24", "line 23"))
    (further,) = _links(answer)
    assert _lines(await ui.get(further))[0] == ("1023", "1024", "line 1023")
    (last,) = _links(await ui.get(further))
    assert (_lines(await ui.get(last))[-1], _links(await ui.get(last))) == (("2500", "2501", "line 2500"), [])


@pytest.mark.usefixtures("asked")
async def test_a_fold_at_the_end_of_a_file_says_that_it_ends(ui: Ui) -> None:
    answer = await ui.get(f"/diff/lines?agent=alice&base={BASE}&sha={SHA}&path=x.py&part=k-x&key=k&old=2501&new=2502")
    assert "The file ends here." in answer.text


async def test_side_by_side_is_kept_when_a_fold_is_opened(
    ui: Ui, asked: list[tuple[str | None, str | None, str | None, int]]
) -> None:
    (file,) = (await ui.site.hub.moment().diffs.show(_change(SHORT), "p7", "split")).files
    fold = next(part for part in file.parts if isinstance(part, Fold))
    assert '<div class="pair">' in (await ui.get(fold.href)).text
    assert len(asked) == 1


async def test_a_file_that_was_folded_has_its_rows(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    patch = f"{HEAD}@@ -0,0 +1,600 @@\n" + "".join(f"+line {number}\n" for number in range(1, 601))

    async def change(*_args: object) -> Change:
        return _change(patch)

    monkeypatch.setattr(ui.hive.fake, "change", change)
    (file,) = (await ui.site.hub.moment().diffs.show(_change(patch), "p7")).files
    (fold,) = file.parts
    assert isinstance(fold, Fold)
    assert fold.words == "600 changed lines"
    shown = _lines(await ui.get(fold.href))
    assert (len(shown), shown[-1]) == (600, ("", "600", "line 600"))


async def test_many_files_come_a_page_at_a_time(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"f{number:03d}" for number in range(FILES_MOST + 5)]
    patch = "".join(f"diff --git a/{name} b/{name}\nnew file mode 100644\n" for name in names)

    async def change(*_args: object) -> Change:
        return Change(ALICE, BASE, SHA, (), (), tuple(names), patch)

    monkeypatch.setattr(ui.hive.fake, "change", change)
    shown = await ui.site.hub.moment().diffs.show(await change(), "p7")
    assert (len(shown.files), shown.count) == (FILES_MOST, FILES_MOST + 5)
    assert shown.more is not None and shown.more.words == "5 more files"
    rest = await ui.get(shown.more.href)
    assert re.findall(r"<header><code>(\w+)</code>", rest.text) == names[FILES_MOST:]
    assert _links(rest) == []


@pytest.mark.usefixtures("asked")
async def test_a_file_that_is_not_in_the_patch_says_why(ui: Ui) -> None:
    answer = await ui.get(f"/diff/file?agent=alice&base={BASE}&sha={SHA}&path=y&part=k-y&key=k")
    assert "It cannot be shown" in answer.text


async def test_a_proposal_of_a_new_agent_is_asked_by_its_id_and_not_shown_if_it_moved(
    ui: Ui, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def diff(id: ProposalId, agent: AgentName, *_more: object) -> Diff:
        return Diff(id, agent, None, Sha("c" * 40), "", (), (), (), "")

    monkeypatch.setattr(ui.hive.fake, "diff", diff)
    answer = await ui.get(f"/diff/file?agent=alice&sha={SHA}&id=1&path=x&part=k-x&key=k")
    assert answer.status_code == 200
    assert answer.text.strip().startswith('<p class="more">It cannot be shown: proposal 1 is no longer bbbbbbbbbbbb')
