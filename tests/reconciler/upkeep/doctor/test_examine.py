"""`hive doctor` as a whole: looks change nothing, mending is safe, a check that fails ends no other."""

from __future__ import annotations

import fcntl
import re
import sys
from pathlib import Path

import pytest

from meta.config import Config
from meta.errors import Conflict
from meta.layout import Layout
from reconciler.upkeep.doctor.checks import places
from reconciler.upkeep.doctor.checks.base import Subject, Verdict
from reconciler.upkeep.doctor.examine import CHECKS, examine, failed, is_held
from tests.reconciler.upkeep.doctor.looks import ALICE, look, whole_host


async def test_a_whole_hive_without_a_daemon_only_lacks_the_daemon(subject: Subject) -> None:
    rows = await examine(subject)
    assert {row.check for row in rows} == {check.name for check in CHECKS}
    ours = [row for row in rows if row.check not in ("git", "nix", "bubblewrap", "cgroups", "inotify")]
    assert [(row.check, row.verdict) for row in ours if row.verdict is not Verdict.OK] == [("daemon", Verdict.WARN)]


async def test_a_look_changes_nothing(subject: Subject) -> None:
    def everything() -> dict[str, tuple[int, int]]:
        paths = subject.layout.state.rglob("*")
        return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in paths}

    (subject.layout.meta_git / "HEAD.lock").touch()
    before = everything()
    assert failed(await examine(subject))
    assert everything() == before


async def test_no_check_opens_a_proposed_work_tree(subject: Subject) -> None:
    tree = str(subject.layout.proposed(ALICE))
    opened: list[str] = []
    watching = True

    def hook(event: str, args: tuple[object, ...]) -> None:
        if watching and event in ("open", "os.listdir", "os.scandir", "subprocess.Popen", "os.chdir"):
            opened.extend(text for text in map(str, args) if tree in text)

    sys.addaudithook(hook)
    try:
        assert Path(tree).is_dir()
        await examine(subject, fix=True)
    finally:
        watching = False
    assert opened == []


async def test_where_no_hive_is_the_checks_say_so_and_end(tmp_path: Path) -> None:
    subject = Subject(Layout(tmp_path / "s", tmp_path / "r"), Config(), host=whole_host())
    rows = await examine(subject, fix=True)
    wrong = [row for row in rows if row.verdict is Verdict.FAIL and row.check != "bubblewrap"]
    assert [row.check for row in wrong] == ["directories"]
    assert not (tmp_path / "s").exists()


async def test_nothing_is_mended_once_a_daemon_has_started(subject: Subject) -> None:
    stale = subject.layout.meta_git / "HEAD.lock"
    stale.touch()
    with subject.layout.lock.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_held(subject.layout.lock)
        with pytest.raises(Conflict):
            await look(subject, "locks", fix=True)
    assert stale.exists()
    assert not is_held(subject.layout.lock)


async def test_a_check_that_may_not_look_fails_instead_of_ending_the_others(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/secret")

    monkeypatch.setattr(places, "_lock_files", refused)
    rows = await look(subject, "locks", "records")
    assert [(row.check, row.verdict) for row in rows] == [("locks", Verdict.FAIL), ("records", Verdict.OK)]
    assert "/secret" in rows[0].text


def test_the_page_names_every_check_and_nothing_else() -> None:
    page = (Path(__file__).parents[4] / "docs/howto/doctor.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE) == [(check.name, check.about) for check in CHECKS]
