"""The table on the disk: real processes that are killed, files that are damaged, disks that are full."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.subagents.leases import database, store, table
from harness.subagents.leases.store import LeaseStore, is_alive
from harness.subagents.leases.table import Allocation, State, Table, effective_scope
from meta.errors import Conflict, DiskFull, HiveError, NotFound, TransientError
from meta.process.identity import ProcessIdentity, identity
from meta.scope.rules import WRITE, Rule, Scope
from tests.support import no_file

SCOPE = Scope((Rule("/w", WRITE),))
PART = [Rule("/w/a", WRITE)]
ME = identity(os.getpid())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "leases.sqlite"


@pytest.fixture
def leases(path: Path) -> LeaseStore:
    return LeaseStore(path, clock=lambda: 1000.0)


class Sleeper:
    """A process that owns an allocation until it is killed."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["sleep", "60"])
        self.identity = identity(self.process.pid)

    def kill(self) -> None:
        """Kill it, and leave it as a zombie: it owns nothing any more."""
        self.process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)


@pytest.fixture
def sleeper() -> Iterator[Callable[[], Sleeper]]:
    made: list[Sleeper] = []

    def make() -> Sleeper:
        made.append(Sleeper())
        return made[-1]

    yield make
    for each in made:
        each.process.kill()
        each.process.wait()


def names(of: Table) -> list[str]:
    return [each.pod for each in of.allocations]


class TestProcesses:
    @pytest.mark.parametrize("stage", ["reserved", "adopted", "held", "delegated"])
    def test_a_child_or_its_spawner_may_be_killed_at_any_stage(
        self, leases: LeaseStore, sleeper: Callable[[], Sleeper], stage: str
    ) -> None:
        spawner, child, deep = sleeper(), sleeper(), sleeper()
        leases.register("top", ME, "/run/top", SCOPE)
        leases.reserve("mid", "top", "/run/mid", PART)
        leases.adopt("mid", spawner.identity)
        leases.hold("mid")
        leases.reserve("kid", "mid", "/run/kid", PART)
        if stage != "reserved":
            leases.adopt("kid", child.identity)
        if stage in ("held", "delegated"):
            leases.hold("kid")
        if stage == "delegated":
            leases.reserve("deep", "kid", "/run/deep", PART)
            leases.adopt("deep", deep.identity)
            leases.hold("deep")
            child.kill()
        spawner.kill()
        if stage == "reserved":
            with pytest.raises(NotFound):
                leases.adopt("kid", child.identity)
        before = leases.read()
        left = {"reserved": [], "adopted": ["kid"], "held": ["kid"], "delegated": ["deep"]}[stage]
        now = leases.living()
        assert set(leases.reclaim()) == set(names(before)) - set(names(now))
        assert leases.read() == now
        assert names(now) == ["top", *left]
        assert all(now.get(pod).parent == "top" for pod in left)
        holder = left[0] if stage in ("held", "delegated") else "top"
        assert effective_scope(now, holder).permission("/w/a/x") is WRITE

    def test_a_process_that_is_killed_within_a_change_leaves_the_table_as_it_was(
        self, leases: LeaseStore, path: Path
    ) -> None:
        before = leases.register("top", ME, "/run/top", SCOPE)
        done = subprocess.run([sys.executable, "-m", "tests.support.lease_holder", path], timeout=30)
        assert done.returncode == -signal.SIGKILL
        assert leases.read() == before
        assert leases.lost == 0

    def test_a_later_process_with_the_number_of_a_dead_one_owns_nothing(self) -> None:
        assert is_alive(ME)
        assert not is_alive(ProcessIdentity(ME.pid, ME.start_time + 1, ME.boot_id))
        assert not is_alive(ProcessIdentity(ME.pid, ME.start_time, "another boot"))
        assert not is_alive(ProcessIdentity(2**22 + 1, 1, ME.boot_id))

    def test_an_owner_that_nobody_can_ask_for_keeps_its_lease(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_: ProcessIdentity) -> int | None:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(store, "open_pidfd", fail)
        assert is_alive(ProcessIdentity(2**22 + 1, 1, "boot"))

    def test_changes_at_once_are_made_one_after_the_other(self, leases: LeaseStore, path: Path) -> None:
        leases.register("top", ME, "/run/top", SCOPE)
        won: list[int] = []

        def take(number: int) -> None:
            mine = LeaseStore(path)
            try:
                mine.reserve(f"kid-{number}", "top", "/run/kid", [Rule(f"/w/{number % 4}", WRITE)])
                won.append(number % 4)
            except Conflict:
                pass

        threads = [threading.Thread(target=take, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(won) == [0, 1, 2, 3]
        assert len(leases.read().allocations) == 5


class TestFile:
    def test_only_its_owner_can_read_it(self, leases: LeaseStore, path: Path) -> None:
        leases.register("top", ME, "/run/top", SCOPE)
        path.chmod(0o666)
        leases.read()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}

    def test_a_refused_change_leaves_the_table_as_it_was(self, leases: LeaseStore) -> None:
        before = leases.register("top", ME, "/run/top", SCOPE)

        def decide(now: Table) -> Table:
            table.release(now, "top")
            raise Conflict("no")

        with pytest.raises(Conflict, match="no"):
            leases.change(decide)
        assert leases.read() == before

    @pytest.mark.parametrize("what", ["text", "half", "schema", "view", "row", "scope", "state", "forest"])
    def test_a_damaged_table_is_set_aside_and_reported_and_a_new_one_begun(
        self, leases: LeaseStore, path: Path, what: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        leases.register("top", ME, "/run/top", SCOPE)
        damage(path, what)
        assert leases.read() == Table()
        assert leases.lost == 1
        assert "is damaged" in caplog.text
        assert (path.parent / "leases.sqlite.damaged-1000").exists()
        leases.register("top", ME, "/run/top", SCOPE)
        assert names(LeaseStore(path).read()) == ["top"]

    @pytest.mark.parametrize("kind", no_file.KINDS)
    def test_what_is_no_file_is_set_aside(self, leases: LeaseStore, path: Path, kind: str) -> None:
        no_file.make(path, kind)
        assert names(leases.register("top", ME, "/run/top", SCOPE)) == ["top"]
        assert leases.lost == 1

    def test_a_lock_that_another_program_keeps_is_waited_for_and_then_reported(
        self, leases: LeaseStore, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "LOCK_SECONDS", 0.05)
        with leases._locked(), pytest.raises(TransientError, match="another program has locked"):
            LeaseStore(path).read()
        assert leases.read() == Table()

    def test_a_lock_file_that_was_removed_meanwhile_locks_nobody_in(self, leases: LeaseStore, path: Path) -> None:
        with leases._locked():
            leases._lock_path.unlink()
            assert LeaseStore(path).read() == Table()

    def test_a_lock_file_that_was_removed_between_open_and_lock_is_not_taken_for_the_lock(
        self, leases: LeaseStore, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "LOCK_SECONDS", 0.05)
        opened: list[int] = []

        def open_lock() -> int:
            opened.append(LeaseStore._open_lock(leases))
            if len(opened) == 1:
                leases._lock_path.unlink()
            return opened[-1]

        monkeypatch.setattr(leases, "_open_lock", open_lock)
        with leases._locked(), pytest.raises(TransientError, match="another program has locked"):
            LeaseStore(path).read()
        assert len(opened) == 2

    @pytest.mark.parametrize("kind", no_file.KINDS)
    def test_what_is_no_lock_file_is_set_aside(self, leases: LeaseStore, path: Path, kind: str) -> None:
        lock = path.with_name(f"{path.name}.lock")
        no_file.make(lock, kind)
        assert leases.read() == Table()
        assert lock.is_file() and not lock.is_symlink()

    def test_a_folder_that_cannot_be_made_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(TransientError, match="cannot be used") as caught:
            LeaseStore(tmp_path / "file" / "leases.sqlite").read()
        assert caught.value.hint and caught.value.retry_after

    def test_a_full_disk_is_reported_and_the_table_is_as_it_was(
        self, leases: LeaseStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = leases.register("top", ME, "/run/top", SCOPE)
        monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS, "PRAGMA max_page_count = 1"))
        many = Scope(tuple(Rule(f"/w/{'x' * 100}{number}", WRITE) for number in range(200)))
        with pytest.raises(DiskFull, match="cannot be written"):
            leases.change(lambda now: Table((*now.allocations, Allocation("big", ME, "/s", many))))
        assert leases.read() == before

    def test_a_table_that_is_lost_is_made_again_in_one_change(self, leases: LeaseStore, path: Path) -> None:
        """What a harness does when it finds itself in no table: its children are entered before anybody else comes."""
        leases.register("top", ME, "/run/top", SCOPE)
        damage(path, "text")
        with pytest.raises(NotFound):
            leases.reserve("kid", "top", "/run/kid", PART)

        def again(now: Table) -> Table:
            now = table.register(now, "top", ME, "/run/top", SCOPE, is_alive)
            now = table.reserve(now, "kid", "top", "/run/kid", PART)
            return table.hold(table.adopt(now, "kid", ME), "kid")

        assert leases.change(again).get("kid").state is State.HELD

    def test_every_refusal_says_what_to_do(self, leases: LeaseStore) -> None:
        for act in (lambda: leases.adopt("kid", ME), lambda: leases.hold("kid"), lambda: leases.effective_scope("kid")):
            with pytest.raises(HiveError) as caught:
                act()
            assert caught.value.hint


def damage(path: Path, what: str) -> None:
    """Damage a sound table."""
    if what in ("text", "half"):
        path.write_bytes(
            b"no database, and longer than a header of one" * 9 if what == "text" else path.read_bytes()[:5000]
        )
        return
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in {
        "schema": ["DROP TABLE leases", "CREATE TABLE leases (pod)"],
        "view": [
            "DROP TABLE leases",
            "CREATE VIEW leases AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT * FROM n",
        ],
        "row": ["UPDATE leases SET pod = '../x'"],
        "scope": ['UPDATE leases SET scope = \'{"allow": [], "deny": []}\''],
        "state": ["UPDATE leases SET state = 'mine'"],
        "forest": ["UPDATE leases SET parent = 'nobody'"],
    }[what]:
        connection.execute(statement)
    connection.close()
