"""measure: what an agent holds, counted by root because its directories are closed to the daemon."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from meta.names import MANAGER, AgentName
from reconciler.privileged.command import DeadlinePassed, Ended
from reconciler.privileged.held import Held, count
from reconciler.privileged.protocol import Measure
from reconciler.privileged.verbs import Verbs
from tests.reconciler.privileged.stage import ALICE, Stage

MIB = 2**20


def fill(path: Path, size: int = MIB) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def measured(stage: Stage, name: AgentName = ALICE) -> Held:
    return Held(**stage.verbs.perform(Measure(name)))  # type: ignore[arg-type]


def test_state_home_and_the_containers_own_disk_count_and_those_of_others_do_not(stage: Stage) -> None:
    assert measured(stage) == Held(0, 0, complete=True)
    for part in ("state/agents/alice/state/a", "state/agents/alice/home/b", "roots/alice/var/tmp/c"):
        fill(stage.root / part)
    for part in ("state/agents/bob/state/a", "roots/bob/a", "state/proposed/alice/config/a", "state/applied/alice/a"):
        fill(stage.root / part)
    held = measured(stage)
    assert 3 * MIB <= held.bytes < 4 * MIB
    assert (held.inodes, held.complete) == (3 + 3 + 2, True)


def test_work_trees_count_for_the_manager(stage: Stage) -> None:
    fill(stage.root / "state/proposed/alice/config/a", 2 * MIB)
    assert measured(stage, MANAGER).bytes >= 2 * MIB


def test_nothing_behind_a_symlink_counts_even_in_the_place_of_the_directory(stage: Stage) -> None:
    fill(stage.root / "elsewhere/a", 4 * MIB)
    home = stage.root / "state/agents/alice/home"
    home.mkdir(parents=True)
    (home / "link").symlink_to(stage.root / "elsewhere")
    (home.parent / "state").symlink_to(stage.root / "elsewhere")
    assert measured(stage).bytes < MIB


@pytest.mark.parametrize("place", ["agents", "agents/alice", "agents/alice/state"])
def test_nothing_counts_that_is_reached_through_a_link(stage: Stage, place: str) -> None:
    fill(stage.root / "elsewhere/agents/alice/state/a", 4 * MIB)
    link = stage.root / "state" / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(stage.root / "elsewhere" / place)
    assert measured(stage) == Held(0, 0, complete=False)


def test_what_root_reaches_through_a_link_for_the_manager_does_not_count(stage: Stage) -> None:
    fill(stage.root / "elsewhere/a", 4 * MIB)
    (stage.root / "state/proposed").symlink_to(stage.root / "elsewhere")
    (stage.root / "roots").mkdir()
    (stage.root / "roots" / MANAGER).symlink_to(stage.root / "elsewhere")
    assert measured(stage, MANAGER) == Held(0, 0, complete=False)


@pytest.mark.parametrize(("second", "together"), [("alice", False), ("bob", True)])
def test_one_agent_is_measured_once_at_a_time(stage: Stage, second: str, together: bool) -> None:
    for name in ("alice", second):
        fill(stage.root / f"state/agents/{name}/state/a")
    meeting, met = threading.Barrier(2), []

    def meet(argv: Sequence[str], *, deadline: float, output_limit: int = 0) -> Ended:
        try:
            met.append(meeting.wait(5 if together else 0.1))
        except threading.BrokenBarrierError:
            meeting.reset()
        return Ended(0, b"1\ttotal\n")

    verbs = Verbs(stage.host, run=meet)
    threads = [threading.Thread(target=verbs.perform, args=(Measure(AgentName(name)),)) for name in ("alice", second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert bool(met) is together


def test_what_cannot_be_counted_in_time_is_incomplete(tmp_path: Path) -> None:
    def late(argv: Sequence[str], *, deadline: float, output_limit: int = 0) -> Ended:
        raise DeadlinePassed(f"{argv[0]} took longer than {deadline}")

    assert count(late, [tmp_path], 1) == Held(0, 0, complete=False)


def test_a_count_that_ends_with_a_complaint_is_incomplete_unless_files_vanished(tmp_path: Path) -> None:
    def said(errors: str) -> Held:
        return count(lambda argv, **_: Ended(1, b"7\t/x\n7\ttotal\n", errors), [tmp_path], 1)

    assert said("du: cannot access '/x/y': No such file or directory") == Held(7 * 1024, 7, complete=True)
    assert said("du: cannot read directory '/x/y': Permission denied") == Held(7 * 1024, 7, complete=False)
    assert count(lambda argv, **_: Ended(-9), [tmp_path], 1) == Held(0, 0, complete=False)
