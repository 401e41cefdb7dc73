"""What `hive doctor` says about hive's own directories, and mends there."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from meta.process.identity import identity
from reconciler.upkeep.doctor.checks import places
from reconciler.upkeep.doctor.checks.base import SETTLED, Subject, Verdict
from reconciler.upkeep.doctor.examine import failed
from tests.reconciler.upkeep.doctor.looks import ALICE, GONE, aged, look, only, ref, running_since


async def test_a_missing_directory_is_made_again(subject: Subject) -> None:
    subject.layout.scratch.rmdir()
    assert (await only(subject, "directories", Verdict.WARN, "scratch is missing")).fixable
    rows = await look(subject, "directories", fix=True)
    assert [row.fixed for row in rows] == [True, False]
    assert f"made {subject.layout.scratch}" == rows[0].text
    seen, state = subject.layout.scratch.stat(), subject.layout.state.stat()
    assert (seen.st_mode & 0o777, seen.st_uid) == (0o700, state.st_uid)


async def test_many_missing_directories_are_one_line_without_a_daemon(subject: Subject) -> None:
    names = ("processes", "quarantine", "scratch")
    for name in names:
        shutil.rmtree(subject.layout.state / name)
    row = await only(subject, "directories", Verdict.WARN, "3 directories are missing, like")
    assert "a start of the daemon makes them" in row.remedy
    subject.held = True
    assert sum("is missing" in row.text for row in await look(subject, "directories")) >= 3
    subject.held = False
    await look(subject, "directories", fix=True)
    assert all((subject.layout.state / name).is_dir() for name in names)


async def test_what_is_in_the_way_of_a_directory_is_left_alone(subject: Subject) -> None:
    subject.layout.scratch.rmdir()
    subject.layout.scratch.symlink_to("/")
    row = await only(subject, "directories", Verdict.FAIL, "is not a directory, or is a link", fix=True)
    assert not row.fixable
    assert subject.layout.scratch.is_symlink()


@pytest.mark.parametrize(
    ("path", "mode", "text"),
    [
        ("hive.db", 0o640, "others may read"),
        ("lock", 0o666, "others may write"),
        ("", 0o777, "others may write"),
        ("meta/.git", 0o775, "others may write"),
        ("applied/alice/.git", 0o777, "others may write"),
        ("agents/alice/home", 0o755, "others may read"),
    ],
)
async def test_what_is_open_to_others_fails(subject: Subject, path: str, mode: int, text: str) -> None:
    target = subject.layout.state / path
    target.chmod(mode)
    row = await only(subject, "permissions", Verdict.FAIL, text)
    assert row.remedy.startswith("chmod ")
    target.chmod(int(row.remedy.split()[1], 8))
    assert not failed(await look(subject, "permissions"))


async def test_what_belongs_to_somebody_else_fails(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[[Path], os.stat_result | None] = places._lstat
    theirs = {subject.layout.database, subject.layout.agent_home(ALICE)}

    def lstat(path: Path) -> os.stat_result | None:
        seen = real(path)
        changed = path in theirs and seen is not None
        return os.stat_result([*seen[:4], 4_000_000_000, *seen[5:]]) if changed and seen is not None else seen

    monkeypatch.setattr(places, "_lstat", lstat)
    rows = await look(subject, "permissions")
    assert [row.text for row in rows if "belongs to uid 4000000000" in row.text] == [row.text for row in rows]
    assert len(rows) == 2


async def test_a_stale_lock_is_removed(subject: Subject) -> None:
    stale = [subject.layout.meta_git / "HEAD.lock", ref(subject, "approved") / "9.lock"]
    for path in stale:
        path.touch()
    assert sum(row.fixable for row in await look(subject, "locks")) == 2
    rows = await look(subject, "locks", fix=True)
    assert [row.fixed for row in rows] == [True, True, False]
    assert not failed(rows)
    assert not any(path.exists() for path in stale)


async def test_beside_a_daemon_only_an_old_lock_is_stale(subject: Subject) -> None:
    subject.held = True
    young, old = subject.layout.meta_git / "HEAD.lock", subject.layout.applied_git(ALICE) / "HEAD.lock"
    for path in (young, old):
        path.touch()
    aged(old, SETTLED + 60)
    await look(subject, "locks", fix=True)
    assert (young.exists(), old.exists()) == (True, False)


async def test_a_fresh_lock_is_not_taken_for_old_because_the_clock_was_set_forward(
    subject: Subject, tmp_path: Path
) -> None:
    running_since(subject, tmp_path / "proc", 4000.0)
    fresh, old = subject.layout.meta_git / "HEAD.lock", subject.layout.meta_git / "config.lock"
    fresh.touch()
    old.touch()
    aged(old, SETTLED + 60)
    subject.host = replace(subject.host, now=lambda: time.time() + 3600.0)
    rows = await look(subject, "locks", fix=True)
    assert [row.text for row in rows if row.fixed] == [f"removed {old}"]
    assert fresh.exists()


async def test_the_record_of_a_dead_command_is_removed(subject: Subject) -> None:
    record = subject.layout.processes / "0123-1.json"
    record.write_text(json.dumps({"argv": ["git", "fetch"], "pid": GONE, "start": 1, "boot": "b"}), encoding="ascii")
    broken = subject.layout.processes / "0123-2.tmp"
    broken.write_text("{", encoding="ascii")
    assert [row.fixable for row in await look(subject, "records")] == [True, True]
    await look(subject, "records", fix=True)
    assert not record.exists()
    assert not broken.exists()


async def test_a_command_that_outlived_its_daemon_is_told_and_left_alone(subject: Subject) -> None:
    which = identity(os.getpid())
    record = subject.layout.processes / "0123-1.json"
    said = {"argv": ["git", "fetch"], "pid": which.pid, "start": which.start_time, "boot": which.boot_id}
    record.write_text(json.dumps(said), encoding="ascii")
    assert not (await only(subject, "records", Verdict.WARN, "`git fetch`", fix=True)).fixable
    subject.held = True
    aged(record, SETTLED + 60)
    await only(subject, "records", Verdict.OK, "no orphan", fix=True)
    assert record.exists()


async def test_empty_leftovers_are_removed_and_others_only_told(subject: Subject) -> None:
    state = subject.layout.state
    empty = [state / "agents/ghost", state / "applied/ghost"]
    full = [state / "generations/ghost/g", subject.layout.quarantine / "q/repo"]
    for path in (*empty, *full):
        path.mkdir(parents=True)
    rows = await look(subject, "leftovers")
    assert sorted(row.fixable for row in rows) == [False, False, True, True]
    rows = await look(subject, "leftovers", fix=True)
    assert [path for path in (*empty, *full) if path.exists()] == full
    assert sum(row.fixed for row in rows) == 2
    assert subject.layout.applied(ALICE).is_dir()


async def test_what_a_killed_daemon_left_half_made_is_named_and_a_start_removes_it(subject: Subject) -> None:
    half_made = subject.layout.backend("local") / ".new-bob"
    half_made.mkdir(parents=True)
    (row,) = await look(subject, "leftovers")
    assert str(half_made) in row.text
    assert row.remedy == "a start of the daemon removes it"


async def test_where_meta_cannot_be_read_nothing_counts_as_left_over(subject: Subject) -> None:
    (subject.layout.meta_git / "refs/heads/main").unlink()
    (subject.layout.state / "agents/ghost").mkdir()
    await only(subject, "leftovers", Verdict.OK, "nothing", fix=True)
    assert (subject.layout.state / "agents/ghost").is_dir()
