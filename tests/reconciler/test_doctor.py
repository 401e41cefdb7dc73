"""`hive doctor`, check by check: each on a hive or a host that was broken for it, and on one that is whole."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meta.config import Config
from meta.errors import Conflict
from meta.git import GitRepo
from meta.identity import identity
from meta.layout import Layout
from meta.names import AgentName, Sha
from reconciler.backends.nixos.enforced import BUS_AWAY
from reconciler.checks import places
from reconciler.checks.base import SETTLED, Daemon, Host, Subject, Verdict
from reconciler.doctor import CHECKS, Row, examine, failed, is_held
from tests.support.lab import discard, fresh_lab

ALICE = AgentName("alice")
GONE = 2**22 + 7
"""No process has this pid."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state of a hive in which alice was deployed once; no daemon runs."""
    keep = tmp_path_factory.mktemp("doctor") / "s"
    with fresh_lab("dr", backend="fake") as lab:
        lab.spawn("alice")
        assert lab.deploy('label = "one"\n')["state"] == "deployed"
        lab.stop()
        shutil.copytree(lab.layout.state, keep, symlinks=True)
        keep.chmod(0o711)
        for path in keep.glob("agents/*/*"):
            path.chmod(0o700)  # as the real backends make them
    yield keep
    discard(keep)


def whole_host(**changes: Any) -> Host:
    """A host on which nothing is wrong, whatever the one below it is like."""
    room = SimpleNamespace(f_bavail=2**30, f_frsize=4096, f_files=10**7, f_favail=10**6, f_flag=0)
    whole = Host(disk=lambda _: cast(os.statvfs_result, room), files=lambda: 20_000, synchronised=lambda: True)
    return replace(whole, **changes)


@pytest.fixture
def subject(made: Path, tmp_path: Path) -> Iterator[Subject]:
    """A copy of that hive, on a whole host."""
    state = tmp_path / "s"
    shutil.copytree(made, state, symlinks=True)
    yield Subject(Layout(state, tmp_path / "r"), Config(), host=whole_host())
    discard(tmp_path)


@pytest.fixture
def bare(made: Path, tmp_path: Path) -> Subject:
    """That hive itself, for checks of the host: they touch nothing of it."""
    return Subject(Layout(made, tmp_path / "r"), Config(), host=whole_host())


async def look(subject: Subject, *names: str, fix: bool = False) -> list[Row]:
    """What these checks say."""
    chosen = [check for check in CHECKS if check.name in names]
    assert len(chosen) == len(names)
    return await examine(subject, fix=fix, checks=chosen)


async def only(subject: Subject, name: str, verdict: Verdict, text: str, *, fix: bool = False) -> Row:
    """The one row of that verdict, which says `text` and what to do."""
    rows = [row for row in await look(subject, name, fix=fix) if row.verdict is verdict]
    assert len(rows) == 1, rows
    assert text in rows[0].text
    assert rows[0].remedy or verdict is Verdict.OK
    return rows[0]


def program(folder: Path, name: str, script: str) -> None:
    """A program of that name."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o755)


def aged(path: Path, seconds: float) -> None:
    """As if nobody had touched it for so long."""
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def ref(subject: Subject, name: str) -> Path:
    return subject.layout.applied_git(ALICE) / "refs/tags" / name


def deployed(subject: Subject) -> str:
    """alice's newest deployed id."""
    return max((path.name for path in ref(subject, "deployed").iterdir()), key=int)


WELL = Daemon("", "1", "fake", "plain", "memory, pids, cpu enforced (cgroup v2)", "none")


# the whole
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
    page = (Path(__file__).parents[2] / "docs/howto/doctor.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE) == [(check.name, check.about) for check in CHECKS]


# the host
@pytest.mark.parametrize(("said", "verdict"), [("2.20.1", "fail"), ("2.30.2", "warn"), ("2.39.5", "ok")])
async def test_git_is_judged_by_its_version(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, verdict: str
) -> None:
    program(tmp_path / "bin", "git", f"echo git version {said}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert [row.verdict for row in await look(bare, "git")] == [verdict]


async def test_git_that_is_missing_fails(bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    await only(bare, "git", Verdict.FAIL, "not installed")


@pytest.mark.parametrize(("builder", "verdict"), [("plain", "ok"), ("nix", "fail")])
async def test_nix_is_missed_only_by_its_builder(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builder: str, verdict: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bare.builder = builder
    assert [row.verdict for row in await look(bare, "nix")] == [verdict]


async def test_builder_nix_wants_flakes_and_nixpkgs(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare.builder = "nix"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    program(tmp_path / "bin", "nix", "echo 'nix (Nix) 2.3.16'")
    await only(bare, "nix", Verdict.FAIL, "no flakes")
    program(tmp_path / "bin", "nix", "echo 'nix (Nix) 2.8.0'")
    await only(bare, "nix", Verdict.FAIL, "nixpkgs")
    bare.config = Config(nixpkgs="path:/nixpkgs")
    await only(bare, "nix", Verdict.OK, "nix 2.8.0")


@pytest.mark.parametrize(("isolation", "verdict"), [("required", "fail"), ("unsafe-none", "warn")])
async def test_bubblewrap_that_is_missing_or_may_make_no_namespace_is_told(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: str, verdict: str
) -> None:
    bare.config = Config(isolation=isolation)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert [row.verdict for row in await look(bare, "bubblewrap")] == [verdict]
    program(tmp_path / "bin", "bwrap", "echo 'No permissions to create new namespace' >&2; exit 1")
    assert "No permissions" in (await only(bare, "bubblewrap", Verdict(verdict), "namespace")).text


@pytest.mark.parametrize(
    ("mounts", "verdict"),
    [
        ("", "warn"),
        ("25 1 0:23 / {0} ro,nosuid shared:4 - cgroup2 cgroup2 rw\n", "warn"),
        ("25 1 0:23 / {0} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n", "ok"),
        ("25 1 0:23 / /c rw - cgroup c rw,memory\n26 1 0:24 / /d rw - cgroup d rw,cpu,cpuacct\n", "warn"),
    ],
)
async def test_control_groups_are_looked_for_without_a_daemon(
    bare: Subject, tmp_path: Path, mounts: str, verdict: str
) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n", encoding="ascii")
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(mounts.format(tmp_path), encoding="ascii")
    bare.host = whole_host(proc=tmp_path)
    assert [row.verdict for row in await look(bare, "cgroups")] == [verdict]


async def test_a_daemon_says_itself_what_it_enforces(bare: Subject) -> None:
    bare.daemon = replace(WELL, limits="not enforced: hive may not write a cgroup here")
    await only(bare, "cgroups", Verdict.WARN, "may not write")
    bare.daemon = WELL
    await only(bare, "cgroups", Verdict.OK, "enforced")


async def test_low_limits_of_inotify_and_open_files_are_told(bare: Subject, tmp_path: Path) -> None:
    folder = tmp_path / "sys/fs/inotify"
    folder.mkdir(parents=True)
    (folder / "max_user_instances").write_text("8\n", encoding="ascii")
    (folder / "max_user_watches").write_text("65536\n", encoding="ascii")
    bare.host = whole_host(proc=tmp_path, files=lambda: 64)
    assert "sysctl" in (await only(bare, "inotify", Verdict.WARN, "max_user_instances is 8")).remedy
    await only(bare, "files", Verdict.WARN, "64 files")


@pytest.mark.parametrize(
    ("changes", "verdict", "text"),
    [
        ({"f_bavail": 1000}, "fail", "only 3 MiB"),
        ({"f_bavail": 2**18}, "warn", "only 1024 MiB"),
        ({"f_favail": 3}, "warn", "only 3 inodes"),
        ({"f_flag": os.ST_RDONLY}, "fail", "read-only"),
        ({"f_files": 0, "f_favail": 0}, "ok", "MiB free"),
    ],
)
async def test_little_room_is_told(bare: Subject, changes: dict[str, int], verdict: str, text: str) -> None:
    room = {"f_bavail": 2**30, "f_frsize": 4096, "f_files": 10**7, "f_favail": 10**6, "f_flag": 0} | changes
    bare.host = whole_host(disk=lambda _: cast(os.statvfs_result, SimpleNamespace(**room)))
    await only(bare, "disk", Verdict(verdict), text)


async def test_a_clock_that_jumped_back_fails_and_one_that_nobody_keeps_is_told(bare: Subject) -> None:
    bare.host = whole_host(synchronised=lambda: False)
    await only(bare, "clock", Verdict.WARN, "nobody keeps")
    bare.host = whole_host(now=lambda: time.time() - 86_400)
    await only(bare, "clock", Verdict.FAIL, "in the future")


async def test_the_system_bus_is_missed_only_by_its_backend(
    bare: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'bus'}")
    await only(bare, "bus", Verdict.OK, "does without")
    bare.backend = "nixos"
    await only(bare, "bus", Verdict.FAIL, "no system bus at")


@pytest.mark.parametrize(
    ("notes", "verdict", "text"), [((BUS_AWAY,), Verdict.FAIL, "the system bus is away"), ((), Verdict.OK, "connected")]
)
async def test_a_daemon_that_lost_the_system_bus_is_told(
    bare: Subject, notes: tuple[str, ...], verdict: Verdict, text: str
) -> None:
    bare.backend = "nixos"
    bare.daemon = Daemon(str(bare.layout.state), "1", "nixos", "nix", "some", "some", notes=notes)
    await only(bare, "bus", verdict, text)


async def test_the_root_helper_is_missed_only_by_its_backend(bare: Subject, tmp_path: Path) -> None:
    bare.config = Config(helper_socket=str(tmp_path / "helper"))
    await only(bare, "helper", Verdict.OK, "does without")
    bare.backend = "nixos"
    await only(bare, "helper", Verdict.FAIL, "no root helper")
    (tmp_path / "helper").touch()
    await only(bare, "helper", Verdict.FAIL, "no socket")


# places
async def test_a_missing_directory_is_made_again(subject: Subject) -> None:
    subject.layout.scratch.rmdir()
    assert (await only(subject, "directories", Verdict.WARN, "scratch is missing")).fixable
    rows = await look(subject, "directories", fix=True)
    assert [row.fixed for row in rows] == [True, False]
    assert f"made {subject.layout.scratch}" == rows[0].text
    seen, state = subject.layout.scratch.stat(), subject.layout.state.stat()
    assert (seen.st_mode & 0o777, seen.st_uid) == (0o700, state.st_uid)


async def test_what_is_in_the_way_of_a_directory_is_left_alone(subject: Subject) -> None:
    subject.layout.scratch.rmdir()
    subject.layout.scratch.symlink_to("/")
    row = await only(subject, "directories", Verdict.FAIL, "no directory of its own", fix=True)
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
    empty = [state / "agents/ghost", state / "applied/ghost", subject.layout.backend("local") / ".new-bob"]
    full = [state / "generations/ghost/g", subject.layout.quarantine / "q/repo"]
    for path in (*empty, *full):
        path.mkdir(parents=True)
    rows = await look(subject, "leftovers")
    assert sorted(row.fixable for row in rows) == [False, False, True, True, True]
    rows = await look(subject, "leftovers", fix=True)
    assert [path for path in (*empty, *full) if path.exists()] == full
    assert sum(row.fixed for row in rows) == 3
    assert subject.layout.applied(ALICE).is_dir()


async def test_where_meta_cannot_be_read_nothing_counts_as_left_over(subject: Subject) -> None:
    (subject.layout.meta_git / "refs/heads/main").unlink()
    (subject.layout.state / "agents/ghost").mkdir()
    await only(subject, "leftovers", Verdict.OK, "nothing", fix=True)
    assert (subject.layout.state / "agents/ghost").is_dir()


# truth
async def test_a_meta_that_cannot_be_read_fails(subject: Subject) -> None:
    (subject.layout.meta_git / "refs/heads/main").unlink()
    await only(subject, "meta", Verdict.FAIL, "no meta repo")


async def test_a_repo_or_a_pin_that_meta_wants_and_nobody_has_fails(subject: Subject) -> None:
    for path in ref(subject, ".").glob(f"*/{deployed(subject)}"):
        path.unlink()
    await only(subject, "meta", Verdict.FAIL, "meta pins alice")
    shutil.rmtree(subject.layout.applied(ALICE))
    await only(subject, "meta", Verdict.FAIL, "no applied repo")


async def test_a_lost_object_and_an_edited_config_fail(subject: Subject) -> None:
    git_dir = subject.layout.applied_git(ALICE)
    commit = (git_dir / "refs/heads/main").read_text(encoding="ascii").strip()
    (git_dir / "objects" / commit[:2] / commit[2:]).unlink()
    await only(subject, "fsck", Verdict.FAIL, f"git fsck in {git_dir}")
    with (git_dir / "config").open("a", encoding="ascii") as file:
        file.write("[core]\n\thooksPath = /tmp\n")
    await only(subject, "fsck", Verdict.FAIL, "config was edited")


async def test_two_ends_of_one_id_fail(subject: Subject) -> None:
    id = deployed(subject)
    shutil.copy(ref(subject, f"deployed/{id}"), ref(subject, f"denied/{id}"))
    await only(subject, "tags", Verdict.FAIL, f"denied/{id}, deployed/{id}: only one can be true")


async def test_a_meta_that_went_back_in_time_fails_with_how_to_adopt(subject: Subject) -> None:
    main = subject.layout.meta_git / "refs/heads/main"
    head = await GitRepo(subject.layout.meta_git).commit(Sha(main.read_text(encoding="ascii").strip()))
    main.write_text(f"{head.parents[0]}\n", encoding="ascii")
    row = await only(subject, "tags", Verdict.FAIL, f"deployed/{deployed(subject)} names a meta commit")
    assert "hive adopt alice" in row.remedy


def edit(subject: Subject, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(subject.layout.database)) as connection, connection:
        connection.execute(statement, values)


async def test_cards_behind_their_tags_are_told(subject: Subject) -> None:
    edit(subject, "DELETE FROM cards WHERE agent = 'alice' AND id > 0")
    edit(subject, "UPDATE projections SET stamp = 'older' WHERE agent = 'alice'")
    await only(subject, "database", Verdict.WARN, "card missing, tag deployed")


async def test_cards_that_lie_with_a_current_stamp_fail(subject: Subject) -> None:
    edit(subject, "UPDATE cards SET state = 'failed' WHERE agent = 'alice' AND id > 0")
    stamp = subject.applied(ALICE).stamp()
    edit(subject, "UPDATE projections SET stamp = ? WHERE agent = 'alice'", stamp)
    await only(subject, "database", Verdict.FAIL, "card failed, tag deployed")


async def test_a_database_that_is_damaged_newer_or_gone_fails(subject: Subject) -> None:
    edit(subject, "PRAGMA user_version = 999")
    await only(subject, "database", Verdict.FAIL, "newer hive")
    subject.layout.database.write_bytes(b"no database" * 1000)
    await only(subject, "database", Verdict.FAIL, "not a database")
    subject.layout.database.unlink()
    assert not failed(await look(subject, "database"))
    subject.held = True
    await only(subject, "database", Verdict.FAIL, "is gone")


# what runs
async def test_a_daemon_is_judged_by_what_it_holds_and_says(subject: Subject) -> None:
    here = replace(WELL, state=str(subject.layout.state))
    cases: list[tuple[bool, Daemon | None, Verdict, str]] = [
        (True, here, Verdict.OK, "backend fake"),
        (True, None, Verdict.FAIL, "does not answer"),
        (False, None, Verdict.WARN, "no daemon runs"),
        (False, here, Verdict.FAIL, "was it deleted?"),
        (True, replace(here, trouble="database: locked"), Verdict.FAIL, "database: locked"),
        (True, replace(here, state="/elsewhere"), Verdict.FAIL, "another state directory"),
    ]
    for subject.held, subject.daemon, verdict, text in cases:
        await only(subject, "daemon", verdict, text)


async def test_who_may_not_know_whether_a_daemon_runs_is_told_just_that(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject.held = True
    real = os.access

    def access(path: Path, mode: int) -> bool:
        return path != subject.layout.lock and real(path, mode)

    monkeypatch.setattr(os, "access", access)
    await only(subject, "daemon", Verdict.WARN, "may not see")


@dataclass
class Listening:
    """Both operator's sockets, listening, and alice's."""

    sockets: list[socket.socket]

    def close(self) -> None:
        for each in self.sockets:
            each.close()


@pytest.fixture
def listening(subject: Subject) -> Iterator[Listening]:
    layout = subject.layout
    agents = [
        path
        for name in (ALICE, AgentName("manager"))
        for path in (layout.mcp_socket(name), layout.harness_socket(name))
    ]
    found = Listening([])
    for path in (layout.host_socket, layout.http_socket, *agents):
        path.parent.mkdir(parents=True, exist_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        directory = os.open(path.parent, os.O_PATH)
        sock.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.close(directory)
        path.chmod(0o660)
        sock.listen(8)
        found.sockets.append(sock)
    subject.held = True
    yield found
    found.close()


async def test_sockets_that_are_open_to_all_or_gone_fail(subject: Subject, listening: Listening) -> None:
    assert not failed(await look(subject, "sockets"))
    subject.layout.http_socket.chmod(0o666)
    await only(subject, "sockets", Verdict.FAIL, "every user of this host")
    subject.layout.http_socket.unlink()
    await only(subject, "sockets", Verdict.FAIL, "is gone")
    subject.layout.http_socket.touch()
    await only(subject, "sockets", Verdict.FAIL, "no socket")
    subject.layout.http_socket.unlink()
    subject.layout.mcp_socket(ALICE).unlink()
    assert "alice has no socket" in next(row.text for row in await look(subject, "sockets") if row.verdict == "warn")


async def test_sockets_of_a_dead_daemon_are_removed_and_not_those_of_a_living_one(
    subject: Subject, listening: Listening
) -> None:
    subject.held = False
    assert await look(subject, "sockets", fix=True)
    assert subject.layout.http_socket.exists()
    listening.close()
    rows = await look(subject, "sockets", fix=True)
    assert [row.fixed for row in rows] == [True, True, False]
    assert not subject.layout.http_socket.exists()
    assert subject.layout.mcp_socket(ALICE).exists()


async def test_containers_of_others_and_of_nobody_are_told(subject: Subject) -> None:
    owner = subject.layout.owner.read_text(encoding="ascii")
    folder = subject.layout.backend("local")
    for name, marker in (("bob", "another"), ("carol", owner), ("alice", owner)):
        (folder / name).mkdir(parents=True)
        (folder / name / "hive.json").write_text(json.dumps({"owner": marker}), encoding="ascii")
    rows = await look(subject, "containers")
    assert [(row.verdict, row.text.split(" has ")[0].split(" belongs ")[0]) for row in rows] == [
        (Verdict.FAIL, str(folder / "bob")),
        (Verdict.WARN, "a container carol"),
    ]
