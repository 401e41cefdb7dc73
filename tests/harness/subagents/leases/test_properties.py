"""Any sequence of spawns, deaths, restarts and releases: no path has two writers, and none is lost to all of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from typing_extensions import override

from harness.subagents.leases.store import LeaseStore
from harness.subagents.leases.table import Allocation, State, Table, effective_scope
from meta.errors import HiveError
from meta.process.identity import ProcessIdentity
from meta.scope.rules import WRITE, Rule, Scope, overlaps

PATHS = ["/w"]
for _ in range(3):
    PATHS += [f"{path}/{name}" for path in PATHS for name in "abc"]
PATHS = sorted({*PATHS, "/w/a/a/a/a", "/"}, key=len)
TARGETS = [path for path in PATHS if path.count("/") <= 3 and "c" not in path and path != "/"]
TOPS, KIDS = ["top", "other"], ["k1", "k2", "k3", "k4"]

writes = st.builds(Rule, st.sampled_from(TARGETS), st.just(WRITE), st.booleans() | st.just(True))


def process(pid: int) -> ProcessIdentity:
    return ProcessIdentity(pid, 1, "boot")


class Pods(RuleBasedStateMachine):
    """The table on the disk beside the processes that live."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.alive: set[int] = set()
        self.started = 0
        self.table = Table()
        self.open()

    def open(self) -> None:
        self.store = LeaseStore(self.directory / "leases.db", lambda which: which.pid in self.alive)

    def new_process(self) -> ProcessIdentity:
        self.started += 1
        self.alive.add(self.started)
        return process(self.started)

    @rule(pod=st.sampled_from(TOPS), allow=st.lists(writes, min_size=1, max_size=2), deny=st.lists(writes, max_size=1))
    def start(self, pod: str, allow: list[Rule], deny: list[Rule]) -> None:
        scope, mine = Scope(tuple(allow), tuple(deny)), self.new_process()
        if self.attempt(lambda: self.store.register(pod, mine, f"/run/{pod}", scope)):
            assert self.table.get(pod).scope == scope
        else:
            self.alive.discard(mine.pid)

    @precondition(lambda self: self.table.allocations)
    @rule(pod=st.sampled_from(TOPS))
    def come_back(self, pod: str) -> None:
        """Restart the top pod with the scope that it had: by an exec, or as a new process once it is dead."""
        old = self.table.find(pod)
        if old is not None and old.parent is None:
            owner = old.owner if old.owner.pid in self.alive else self.new_process()
            assert self.attempt(lambda: self.store.register(pod, owner, "/run/again", old.scope))

    @precondition(lambda self: self.table.allocations)
    @rule(data=st.data(), pod=st.sampled_from(KIDS), allow=st.lists(writes, min_size=1, max_size=2))
    def reserve(self, data: st.DataObject, pod: str, allow: list[Rule]) -> None:
        self.attempt(lambda: self.store.reserve(pod, self.some(data), f"/run/{pod}", allow))

    @precondition(lambda self: self.table.allocations)
    @rule(data=st.data())
    def adopt(self, data: st.DataObject) -> None:
        """A child's process starts, perhaps after its spawner has died."""
        pod, mine = self.some(data), self.new_process()
        if not self.attempt(lambda: self.store.adopt(pod, mine)):
            self.alive.discard(mine.pid)

    @precondition(lambda self: self.table.allocations)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        self.attempt(lambda: self.store.hold(self.some(data)))

    @precondition(lambda self: self.table.allocations)
    @rule(data=st.data(), again=st.booleans())
    def release(self, data: st.DataObject, again: bool) -> None:
        pod = self.some(data)
        for _ in range(1 + again):
            self.table = self.store.release(pod)
            assert self.table.find(pod) is None

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        self.alive.discard(data.draw(st.sampled_from(sorted(self.alive))))

    @rule()
    def reclaim(self) -> None:
        dead = self.store.reclaim()
        self.table = self.store.read()
        assert not {each.pod for each in self.table.allocations} & set(dead)
        assert {each.owner.pid for each in self.table.allocations} <= self.alive

    @rule()
    def reopen(self) -> None:
        self.open()
        assert self.store.read() == self.table

    def some(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from([each.pod for each in self.table.allocations]))

    def attempt(self, act: Callable[[], Table]) -> bool:
        """Return True if a change was made. One that is refused says what to do, and leaves the table as it was."""
        try:
            self.table = act()
        except HiveError as error:
            assert error.summary and error.hint
            assert self.store.read() == self.table
            return False
        return True

    @invariant()
    def no_path_has_two_writers_and_none_is_lost(self) -> None:
        table = self.table
        scopes = {each.pod: effective_scope(table, each.pod) for each in table.allocations}
        pairs = combinations(scopes.values(), 2)
        assert not any(overlaps(one, other) for one, other in pairs)
        tops = [each for each in table.allocations if each.parent is None]
        for path in PATHS:
            writers = [pod for pod, scope in scopes.items() if scope.permission(path) is WRITE]
            owners = [top for top in tops if top.scope.permission(path) is WRITE]
            waits = any(
                top.state is State.RESERVED for top in owners
            )  # its spawner died; it is given to one that returns
            assert len(writers) == len(owners) - waits, (path, writers)

    @invariant()
    def a_child_has_nothing_that_its_parent_was_not_given(self) -> None:
        for each in self.table.allocations:
            if each.parent is not None:
                above = self.table.get(each.parent)
                above.scope.check_fits(each.scope)
                assert above.state is State.HELD

    @override
    def teardown(self) -> None:
        self.alive.clear()
        self.store.reclaim()
        assert self.store.read() == Table()
        assert self.store.lost == 0
        shutil.rmtree(self.directory)


def test_no_sequence_of_deaths_gives_a_path_two_writers_or_none() -> None:
    few = settings(
        max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(Pods, settings=few)


def test_a_table_is_the_same_after_the_disk(tmp_path: Path) -> None:
    odd = Scope((Rule("/a b\n\u202e'\"", WRITE, recursive=False), Rule("/ü", WRITE)), (Rule("/ü/x", WRITE),))
    rows = (
        Allocation("p", process(2**40), "/run/ü", odd),
        Allocation("q", process(1), "/s", odd, "p", State.RESERVED, adopted=False),
    )
    table = Table((*rows, Allocation("r", process(3), "/s", Scope((Rule("/r", WRITE),)), origin="gone")))
    LeaseStore(tmp_path / "leases.db").change(lambda _: table)
    assert LeaseStore(tmp_path / "leases.db").read() == table
