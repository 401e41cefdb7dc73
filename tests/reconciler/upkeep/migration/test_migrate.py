"""The migration of a whole state directory: what it is afterwards, after any kill, and beside a damaged repo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from meta.applied import older
from meta.applied.older import Shape, shape
from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.errors import PermanentError
from meta.git.every_ref import every_ref
from meta.layout import FOLDERS, Layout
from meta.model import ContainerSettings, Desired
from meta.names import MANAGER, AgentName, ProposalId
from meta.process import failpoint
from reconciler.daemon.state_directory import clear_locks
from reconciler.upkeep.backups import write as backup
from reconciler.upkeep.backups.restore import restore
from reconciler.upkeep.migration.acts import Acts
from reconciler.upkeep.migration.look import Containers, begun
from reconciler.upkeep.migration.migrate import migrate
from tests.support import older_layout
from tests.support.older_layout import git

ALICE, BOB, CAROL = AgentName("alice"), AgentName("bob"), AgentName("carol")
GIVES = os.geteuid() == 0
KINDS = (
    "convert",
    "tidy",
    "movetree",
    "movelogin",
    "addremote",
    "enter",
    "adopt",
    *(["give"] if GIVES else []),
    "mark",
)
POINTS = (
    "convert:before",
    *("exchange:before", "exchange:taken", "restore:before", "restore:after", "exchange:after", "convert:after"),
    *("tidy:before", "tidy:moved", "tidy:between", "tidy:after"),
    *(f"{kind}:{when}" for kind in KINDS[2:] for when in ("before", "after")),
)
"""Each point that a start reaches if the one before was killed at the point before it."""

pytestmark = pytest.mark.bwrap


def prepared(tmp_path: Path) -> Layout:
    """A state directory of an older hive with two agents, one of them the manager."""
    layout = Layout(tmp_path / "s", tmp_path / "r")
    for name in FOLDERS:
        (layout.state / name).mkdir(parents=True)
    for agent in (ALICE, MANAGER):
        older_layout.put_in_flight(older_layout.make(layout, agent))
    older_layout.move_to_older_places(layout, ALICE)
    return layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return prepared(tmp_path)


def start(layout: Layout, containers: Containers = Containers(), **settings: object) -> None:  # noqa: B008
    """Do what the start of a daemon does before and in a migration."""
    shutil.rmtree(layout.scratch, ignore_errors=True)
    layout.scratch.mkdir(mode=0o700)
    clear_locks(layout)
    config = Config.model_validate(settings)
    acts = partial(_acts, layout, config)
    asyncio.run(migrate(layout, acts, lambda: containers, gives=GIVES))


def _acts(layout: Layout, config: Config) -> Acts:
    return Acts(layout, config, MetaRepo(layout, config=config), None, 1000, partial(_adopt, layout))


def _adopt(layout: Layout, agent: AgentName, settings: ContainerSettings) -> None:
    (layout.state / f"adopted-{agent}").write_text(str(settings.uid_base), encoding="ascii")


def desired(layout: Layout) -> Desired:
    return asyncio.run(MetaRepo(layout).read()).desired


def facts(layout: Layout) -> dict[str, object]:
    """Everything that a migration leaves: refs, files, owners. Objects of git are named by the refs."""
    repos = [layout.meta_git, *(path / ".git" for path in sorted(layout.applied_repos.iterdir()))]
    refs: dict[str, object] = {str(repo.relative_to(layout.state)): every_ref(repo) for repo in repos}
    for path in sorted(layout.state.rglob("*")):
        inside = path.relative_to(layout.state)
        if ".git" not in inside.parts and path.is_file():
            refs[str(inside)] = (path.read_bytes(), path.stat().st_uid)
    return refs


def killed(layout: Layout, point: str, containers: Containers) -> bool:
    """Start in a process of its own that is killed at `point`. Return True if it was."""
    pid = os.fork()
    if pid == 0:
        failpoint.arm(f"migrate-{point}")
        try:
            start(layout, containers)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


ADOPTABLE = Containers(frozenset({ALICE, MANAGER}), frozenset({ALICE}))


def without_a_kill(layout: Layout) -> dict[str, object]:
    """Migrate a copy in the same place, and return its facts. The original is there again afterwards."""
    aside = layout.state.with_name("aside")
    shutil.copytree(layout.state, aside, symlinks=True)
    start(layout, ADOPTABLE)
    after = facts(layout)
    shutil.rmtree(layout.state)
    aside.rename(layout.state)
    return after


def test_a_start_that_is_killed_at_each_step_in_turn_goes_on_where_it_stopped(layout: Layout) -> None:
    wanted = without_a_kill(layout)
    for point in POINTS:
        assert killed(layout, point, ADOPTABLE), point
    start(layout, ADOPTABLE)
    assert facts(layout) == wanted


@pytest.mark.full
@pytest.mark.parametrize("point", [point for point in POINTS if not point.startswith("restore")])
def test_a_start_after_one_kill_ends_as_without_a_kill(layout: Layout, point: str) -> None:
    wanted = without_a_kill(layout)
    assert killed(layout, point, ADOPTABLE)
    start(layout, ADOPTABLE)
    assert facts(layout) == wanted


def test_afterwards_meta_pins_every_agent_and_older_ids_are_given_up(layout: Layout) -> None:
    start(layout)
    agents = desired(layout).agents
    assert set(agents) == {ALICE, MANAGER}
    for agent, entry in agents.items():
        assert entry.pin.id == 0
        assert git(layout.applied_git(agent), "rev-parse", "main", "deployed/0^{commit}").split() == [entry.pin.sha] * 2
        assert entry.disowned == {1, 2, 3, 4, 5, 6}
    assert git(layout.meta_git, "rev-list", "--count", "main") == "2"


def test_no_later_id_is_one_of_an_older_hive(layout: Layout) -> None:
    start(layout)
    assert asyncio.run(MetaRepo(layout).take_id()) == ProposalId(7)


@pytest.mark.parametrize("number", [2**63 - 1, 10**18 - 1, 10**12])
def test_a_huge_id_of_an_older_repo_stays_there_and_ids_go_on(layout: Layout, number: int) -> None:
    git(layout.applied(ALICE), "tag", f"failed/{number}")
    start(layout)
    assert f"refs/hive/older/tags/failed/{number}" in every_ref(layout.applied_git(ALICE))
    assert f"refs/tags/failed/{number}" not in every_ref(layout.applied_git(ALICE))
    assert [asyncio.run(MetaRepo(layout).take_id()) for _ in range(2)] == [7, 8]


def test_the_largest_id_that_is_taken_over_leaves_ids_that_can_be_read(layout: Layout) -> None:
    git(layout.applied(ALICE), "tag", f"failed/{10**12 - 1}")
    start(layout)
    assert [asyncio.run(MetaRepo(layout).take_id()) for _ in range(2)] == [10**12, 10**12 + 1]


def test_no_later_id_is_one_of_an_older_hive_even_if_the_counter_is_lost(layout: Layout) -> None:
    start(layout)
    (layout.meta_git / "refs/hive/counter").unlink()
    assert asyncio.run(MetaRepo(layout).take_id()) == ProposalId(7)


def test_logins_work_trees_and_edits_are_where_hive_looks_for_them(layout: Layout) -> None:
    start(layout)
    for agent in (ALICE, MANAGER):
        login = layout.agent_home(agent) / ".claude/.credentials.json"
        assert login.read_text(encoding="utf-8") == older_layout.LOGIN
        assert (layout.agent_state(agent) / "notes.md").read_text(encoding="utf-8") == older_layout.NOTE
        edited = layout.applied(agent) / "older/agent.nix"
        assert edited.read_text(encoding="utf-8") == older_layout.EDITED
    tree = layout.proposed_config(ALICE)
    assert (tree / "draft.nix").is_file()
    assert git(tree, "config", "remote.applied.url") == "/applied/alice/.git"
    assert len(git(tree, "config", "--get-all", "remote.applied.fetch").splitlines()) == 3


@pytest.mark.skipif(not GIVES, reason="only root hands out uids")
def test_files_belong_to_the_uids_that_meta_has(layout: Layout) -> None:
    start(layout)
    agents = desired(layout).agents
    own, manager = agents[ALICE].settings.uid_base, agents[MANAGER].settings.uid_base
    assert (layout.agent_home(ALICE) / ".claude/.credentials.json").stat().st_uid == own
    assert (layout.proposed_config(ALICE) / "draft.nix").stat().st_uid == manager


def test_an_agent_that_never_logged_in_is_migrated_too(tmp_path: Path) -> None:
    layout = prepared(tmp_path)
    for login in layout.state.rglob("claude"):
        shutil.rmtree(login)
    start(layout)
    assert ALICE in desired(layout).agents
    assert begun(layout) == ()


def test_a_second_start_changes_nothing_and_makes_no_meta(layout: Layout) -> None:
    start(layout)
    before = facts(layout)

    def none() -> Acts:
        raise AssertionError("there is nothing to migrate")

    asyncio.run(migrate(layout, none, Containers, gives=GIVES))
    assert facts(layout) == before


def test_a_backup_holds_what_was_migrated_and_a_restored_one_is_not_migrated_again(
    layout: Layout, tmp_path: Path
) -> None:
    start(layout)
    (layout.state / "owner").write_text("0" * 32 + "\n", encoding="ascii")
    origin = backup.Origin(Config.model_validate({}), "command", "r")
    file, there = tmp_path / "b.tar", Layout(tmp_path / "two/s", tmp_path / "two/r")
    asyncio.run(backup.write(layout, file, backup.Wanted(), origin, contextlib.nullcontext()))
    restore(file, there)
    assert every_ref(there.applied_git(ALICE)) == every_ref(layout.applied_git(ALICE))
    assert begun(there) == ()


def test_a_damaged_repo_is_left_and_named_and_the_others_are_migrated(layout: Layout) -> None:
    older_layout.make(layout, BOB)
    tag = layout.applied(BOB) / ".git/refs/tags/deployed/1"
    tag.write_bytes(b"")
    start(layout)
    assert shape(layout.applied(BOB)) is Shape.OLDER
    assert set(desired(layout).agents) == {ALICE, MANAGER}
    assert "deployed/1" in older.reasons(layout.migration)[BOB].text
    tag.write_text(git(layout.applied(BOB), "rev-parse", "main") + "\n", encoding="ascii")
    start(layout)
    assert set(desired(layout).agents) == {ALICE, BOB, MANAGER}
    assert older.reasons(layout.migration) == {}


def test_an_agent_without_a_container_is_converted_and_not_brought_back(layout: Layout) -> None:
    start(layout, Containers(frozenset({MANAGER})))
    assert set(desired(layout).agents) == {MANAGER}
    assert shape(layout.applied(ALICE)) is Shape.CURRENT


def test_a_deferred_migration_changes_nothing_and_says_so(layout: Layout) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(layout.applied_repos.rglob("*"))}
    start(layout, skip_meta_migration=True)
    assert {path: path.stat().st_mtime_ns for path in sorted(layout.applied_repos.rglob("*"))} == before
    assert "HIVE_SKIP_META_MIGRATION" in older.reasons(layout.migration)[ALICE].text
    start(layout)
    assert set(desired(layout).agents) == {ALICE, MANAGER}


def test_if_meta_cannot_be_written_the_next_start_enters_the_agents(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise PermanentError("nixpkgs cannot be reached", "mend the network")

    with monkeypatch.context() as patch:
        patch.setattr(MetaRepo, "enter", fail)
        start(layout)
    assert older.reasons(layout.migration)[ALICE].text == "nixpkgs cannot be reached"
    assert desired(layout).agents == {}
    start(layout)
    assert set(desired(layout).agents) == {ALICE, MANAGER}
    assert not layout.migration.exists()
