"""A diff of 5,000 lines as the dashboard shows it, from git to the text of the page, beside `git diff` itself.

Hive lists the files, reads their sizes, makes the patch under limits, compares words, and waits
for the tokens of code as long as a page does. The floor is one `git diff` of the same commits.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from api.ui.diff.shown import DiffViews
from api.ui.render import HERE
from meta.git.objects import commit, snapshot
from meta.git.repo import GitRepo
from meta.git.transaction import RefChange
from meta.names import AgentName, Sha
from reconciler.views import Change
from tests.bench.figure import Figure, figure

RUNS = 7
FILES, LINES = 25, 100
"""Files and changed lines of each: a line that changes is removed and added, so there are twice as many lines."""
WHY = "Five commands of git under limits, where the floor is one; and a page waits up to 0.1 s for its tokens."


def measure() -> Iterator[Figure]:
    """Show one diff several times, each time as if nobody had looked at it."""
    with tempfile.TemporaryDirectory(prefix="hive-bench-") as name:
        yield from asyncio.run(_measure(Path(name) / "repo"))


async def _measure(folder: Path) -> list[Figure]:
    repo = GitRepo(folder)
    await repo.init()
    one, two = [await _commit(repo, word) for word in ("before", "after")]
    loader = FileSystemLoader(HERE / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string('{% from "parts/diff.html" import diff_files %}{{ diff_files(files) }}')
    hive: list[float] = []
    bare: list[float] = []
    sizes: list[float] = []
    for _ in range(RUNS):
        begin = time.monotonic()
        sizes.append(len(await _page(repo, one, two, template)) / 1000)
        hive.append(1000 * (time.monotonic() - begin))
        begin = time.monotonic()
        await asyncio.to_thread(_by_hand, folder, one, two)
        bare.append(1000 * (time.monotonic() - begin))
    return [
        figure("dashboard: a diff of 5,000 lines, folded", "ms", hive, floor=bare, at_most=300, why=WHY),
        figure("dashboard: its text before compression", "kB", sizes, at_most=150),
    ]


async def _commit(repo: GitRepo, word: str) -> Sha:
    text = "".join(f"def f{number}(a, b):\n    return a.{word} + b[{number}]\n" for number in range(LINES))
    files = {f"package/module_{number}.py": text.encode() for number in range(FILES)}
    root, objects = snapshot(files)
    made = commit(root, (), word, 1_700_000_000)
    await repo.transaction([RefChange(f"refs/heads/{word}", new=made.id)], [*objects, made])
    return made.id


async def _page(repo: GitRepo, one: Sha, two: Sha, template: Template) -> str:
    found = await repo.diff(one, two)
    assert found.cut is None
    diff = Change(AgentName("alice"), one, two, (), (), (), found.patch, found.files)
    views = DiffViews()
    shown = await views.show(diff, "p7")
    assert shown.added + shown.removed == 2 * FILES * LINES
    text = await asyncio.to_thread(template.render, files=shown.files)
    await views.highlighter.close()
    return text


def _by_hand(folder: Path, one: Sha, two: Sha) -> None:
    subprocess.run(["git", "-C", folder, "diff", "--no-color", one, two], check=True, capture_output=True)
