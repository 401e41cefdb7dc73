"""The crash matrix: SIGKILL before and after every effect of every step; a restart must end in a named outcome.

The cells are generated from the step table (reconciler/effects.py). Each runs the real daemon with backend `local`,
real git and real processes on a copy of one prepared state with alice and bob. Afterwards meta, the applied tags, the
containers and the store must agree, nothing may be left over, and bob's pid must be the same as before.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.cli.codes import Unreachable
from reconciler.effects import EFFECTS, FAILPOINTS
from tests.support.lab import Lab

GOOD = 'label = "good"\n'
MUTE = '[start]\nfault = "never-hello"\n'
EXITS = '[start]\nfault = "exit-at-once"\n'
BROKEN = "runtime = 3\n"

pytestmark = [pytest.mark.bwrap, pytest.mark.xdist_group("crash")]


@dataclass
class Cell:
    """One kill. `id` is the proposal that the scenario is about, `outcomes` its allowed last states."""

    lab: Lab
    failpoint: str
    id: int | None = None
    outcomes: frozenset[str] = frozenset()
    alice_stays: bool = False

    def strike(self, act: Callable[[], object]) -> None:
        """Arm, act, and see the daemon die."""
        self.lab.arm(self.failpoint)
        with contextlib.suppress(OSError, Unreachable):
            act()
        assert self.lab.died() == -signal.SIGKILL, self.lab.tail()


# the scenarios
def propose(cell: Cell) -> None:
    clone = cell.lab.commit(GOOD)
    cell.alice_stays = True
    cell.strike(lambda: cell.lab.post("/api/proposals", agent="alice", source=str(clone)))


def deploy(cell: Cell, text: str = GOOD, outcomes: frozenset[str] = frozenset({"deployed"})) -> None:
    cell.id, cell.outcomes = cell.lab.propose(text), outcomes
    cell.strike(lambda: cell.lab.post(f"/api/proposals/{cell.id}/approve"))


def approve(cell: Cell) -> None:
    deploy(cell, outcomes=frozenset({"proposal", "deployed"}))


def fail(cell: Cell) -> None:
    deploy(cell, MUTE, frozenset({"failed"}))


def fail_build(cell: Cell) -> None:
    cell.alice_stays = True
    deploy(cell, BROKEN, frozenset({"failed"}))


def deny(cell: Cell) -> None:
    cell.id, cell.outcomes, cell.alice_stays = cell.lab.propose(GOOD), frozenset({"proposal", "denied"}), True
    cell.strike(lambda: cell.lab.post(f"/api/proposals/{cell.id}/deny", reason="no"))


def spawn(cell: Cell) -> None:
    cell.alice_stays = True
    cell.strike(lambda: cell.lab.post("/api/agents/carol/spawn"))


def crash(cell: Cell) -> None:
    pid = cell.lab.agents()["alice"]["pid"]
    cell.strike(lambda: os.kill(pid, signal.SIGKILL))


def give_up(cell: Cell) -> None:
    """The old generation is spoilt on disk, so that the rollback to it fails as well."""
    system = next(cell.lab.layout.generations("alice").iterdir())  # type: ignore[arg-type]
    for path in (system / "tree", system / "tree" / "agent.toml"):
        path.chmod(0o755)
    (system / "tree" / "agent.toml").write_text(EXITS, encoding="utf-8")
    deploy(cell, MUTE, frozenset({"failed"}))


def rebuild(cell: Cell) -> None:
    cell.strike(lambda: cell.lab.post("/api/agents/alice/rebuild"))


def destroy(cell: Cell) -> None:
    cell.lab.propose(GOOD)
    cell.strike(lambda: cell.lab.post("/api/agents/alice/destroy"))


def purge(cell: Cell) -> None:
    cell.strike(lambda: cell.lab.post("/api/agents/alice/destroy", purge=True))


SCENARIOS: dict[Callable[[Cell], None], tuple[str, ...]] = {
    propose: ("fetch", "take-id", "tag-proposal", "project-proposal"),
    approve: ("tag-approved",),
    deploy: (
        *("tag-building", "candidate", "build", "drain", "remember-stop", "stop", "set-system", "write-settings"),
        *("start", "commit-meta", "tag-deployed", "drop-candidate", "prune", "project"),
    ),
    fail: ("remember-rollback", "mark-healthy"),
    fail_build: ("tag-failed",),
    deny: ("tag-denied",),
    spawn: ("seed", "tag-spawn", "approve-spawn", "create", "own-directories", "proposed", "open-sockets"),
    crash: ("count-crash", "forget-crashes"),
    give_up: ("give-up-rollback",),
    rebuild: ("commit-run", "reapply", "rebuild", "remember-rebuild"),
    destroy: ("end-open-ids", "remove-entry", "destroy", "close-sockets", "forget-memo"),
    purge: ("purge-directories", "forget-tombstone"),
}
SCENARIO_OF = {name: scenario for scenario, names in SCENARIOS.items() for name in names}


def test_every_effect_of_the_step_table_has_a_scenario_that_reaches_it() -> None:
    assert set(SCENARIO_OF) == EFFECTS


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A hive with alice and bob, ready to run; its daemon and its agents have ended."""
    directory = Path(f"/tmp/hive-{os.getpid()}-p")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o755)
    lab = Lab(directory)
    lab.start()
    lab.settle("manager")
    lab.post("/api/agents/manager/stop", now=True)
    for name in ("alice", "bob"):
        lab.post(f"/api/agents/{name}/spawn")
    lab.settle()
    lab.stop()
    end_agents(lab)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def lab(prepared: Path) -> Iterator[Lab]:
    """A copy of the prepared hive."""
    directory = Path(f"/tmp/hive-{os.getpid()}-c")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o755)
    subprocess.run(["cp", "-a", str(prepared / "s"), str(directory / "s")], check=True, timeout=30)
    relink(directory, prepared)
    made = Lab(directory)
    yield made
    made.kill()
    end_agents(made)
    shutil.rmtree(directory)


def relink(directory: Path, prepared: Path) -> None:
    """Absolute paths of the prepared hive (system links, roots) are those of the copy now."""
    for path in (directory / "s").rglob("*"):
        if path.is_symlink() and str(prepared) in str(path.readlink()):
            target = str(path.readlink()).replace(str(prepared), str(directory))
            path.unlink()
            path.symlink_to(target)
        elif path.suffix == ".json" and path.is_file() and ("roots" in path.parts or "backend" in path.parts):
            path.write_text(path.read_text(encoding="utf-8").replace(str(prepared), str(directory)), encoding="utf-8")


def end_agents(lab: Lab) -> None:
    """End every supervisor of this hive, by its records."""
    for record in (lab.layout.backend("local")).glob("*/run.json"):
        pid = json.loads(record.read_text(encoding="utf-8"))["supervisor"]["pid"]
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if str(lab.directory).encode() in command:
            signal.pidfd_send_signal(fd, signal.SIGTERM)
            select.select([fd], [], [], 10)
        os.close(fd)


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_a_kill_ends_in_a_named_outcome(lab: Lab, failpoint: str) -> None:
    effect = failpoint.partition(":")[0]
    if effect == "forget-crashes":
        lab.settings["HIVE_CRASH_RESET"] = "0.1"
    lab.start()
    lab.settle()
    before = lab.agents()
    cell = Cell(lab, failpoint)
    SCENARIO_OF[effect](cell)
    assert alive(before["bob"]["pid"]), "bob died with the daemon"
    lab.start()
    lab.settle()
    check_agreement(lab, cell, before)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def check_agreement(lab: Lab, cell: Cell, before: dict[str, dict[str, object]]) -> None:
    """Meta, tags, containers and store tell one story, and nothing is left over."""
    agents = lab.agents()
    assert agents["bob"]["pid"] == before["bob"]["pid"]
    assert agents["bob"]["phase"] == "running"
    if cell.alice_stays:
        assert agents["alice"]["pid"] == before["alice"]["pid"]
    cards = lab.get("/api/proposals", all=True)
    for card in cards:
        tags = lab.tags(card["agent"])
        assert f"{card['state']}/{card['id']}" in tags
        assert card["state"] not in ("approved", "building")
    if cell.id is not None and cell.outcomes:
        state = next(card["state"] for card in cards if card["id"] == cell.id)
        assert state in cell.outcomes
    expected = "rollback-failed" if cell.failpoint.startswith("give-up") else "running"
    for name, row in agents.items():
        if row["desired"] == "running" and name == "alice":
            assert row["phase"] == expected
            assert f"deployed/{row['deployed']}" in lab.tags(name)
            if expected == "running":
                assert row["sha"] == lab.git(lab.applied(name), "rev-parse", f"proposal/{row['deployed']}^{{commit}}")
    refs = lab.git(lab.layout.meta_git, "for-each-ref", "--format=%(refname)")
    assert "candidate" not in refs
    assert list(lab.layout.quarantine.iterdir()) == []
    assert list(lab.layout.processes.iterdir()) == []
    assert not list(lab.layout.state.glob("**/.git/**/*.lock"))
