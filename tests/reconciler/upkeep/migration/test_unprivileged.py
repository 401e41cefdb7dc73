"""The migration by a daemon that is not root, of a state directory that the older hive, which was, left."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meta.applied import older
from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import FOLDERS, Layout
from meta.names import AgentName
from reconciler.privileged.journal import Journal
from reconciler.privileged.protocol import OwnDirectory
from reconciler.privileged.take_over import TakeOver
from reconciler.privileged.values import HARNESS_UID
from reconciler.privileged.verbs import Verbs
from reconciler.upkeep.migration.acts import Acts
from reconciler.upkeep.migration.look import Containers
from reconciler.upkeep.migration.migrate import migrate
from tests.reconciler.privileged.stage import UID, Stage
from tests.support import older_layout
from tests.support.as_user import USER, run_as_user

ALICE, BOB = AgentName("alice"), AgentName("bob")
pytestmark = [pytest.mark.bwrap, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")]


@pytest.fixture
def layout() -> Iterator[Layout]:
    """Root's agents in a state directory of the user, as tmpfiles leaves it. Two files of alice's trees are one."""
    top = Path(tempfile.mkdtemp(prefix="hive-older-", dir="/tmp"))
    top.chmod(0o755)
    layout = Layout(top / "host/state", top / "run")
    (top / "host").mkdir()
    for name in FOLDERS:
        (layout.state / name).mkdir(parents=True)
    for agent in (ALICE, BOB):
        older_layout.make(layout, agent)
        older_layout.move_to_older_places(layout, agent)
    (layout.agent(ALICE) / "config/shared").hardlink_to(layout.applied(ALICE) / "flake.lock")
    os.chown(layout.state, USER, USER)
    yield layout
    shutil.rmtree(top)


def as_user(layout: Layout) -> dict[str, str]:
    """Migrate in a process of the user. Return why agents are left."""
    program = f"import sys; from {__name__} import migrate_here; migrate_here(*sys.argv[1:])"
    done = run_as_user("-c", program, str(layout.state), str(layout.runtime))
    assert done.returncode == 0, done.stderr
    return {agent: reason.text for agent, reason in older.reasons(layout.migration).items()}


def migrate_here(state: str, runtime: str) -> None:
    """Do what the start of a daemon does, as the user of this process."""
    layout, config = Layout(Path(state), Path(runtime)), Config.model_validate({})
    layout.scratch.mkdir(exist_ok=True)
    acts = Acts(layout, config, MetaRepo(layout, config=config), None, 1000, lambda agent, settings: None)
    asyncio.run(migrate(layout, lambda: acts, Containers, gives=False))


def take_over(layout: Layout) -> None:
    """Do what the unit of the daemon does before it, as root."""
    TakeOver(layout.state, (USER, USER), Journal(sys.stderr)).run()


def owners(top: Path) -> set[int]:
    return {path.lstat().st_uid for path in (top, *top.rglob("*")) if not path.is_symlink()}


def test_without_a_step_of_root_nothing_can_be_migrated(layout: Layout) -> None:
    assert set(as_user(layout)) == {ALICE, BOB}


def test_after_roots_step_the_daemons_user_migrates_all_and_the_manager_gets_its_trees(layout: Layout) -> None:
    take_over(layout)
    assert as_user(layout) == {}
    assert owners(layout.applied_repos) == {USER}
    login = layout.agent_home(ALICE) / ".claude/.credentials.json"
    assert login.read_text(encoding="utf-8") == older_layout.LOGIN
    assert login.stat().st_uid == 0, "the helper gives it once the container is adopted"
    assert "/applied/alice/.git" in (layout.proposed_config(ALICE) / ".git/config").read_text(encoding="utf-8")

    (layout.state.parent / "stage").mkdir()
    host = replace(Stage(layout.state.parent / "stage").host, uid=USER, gid=USER, state=layout.state)
    Verbs(host).perform(OwnDirectory(ALICE, "proposed", UID))
    assert owners(layout.proposed_config(ALICE)) == {UID + HARNESS_UID}
    assert owners(layout.applied(ALICE)) == {USER}, "no file of it is also the manager's"


def test_a_second_step_of_root_changes_and_logs_nothing(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    take_over(layout)
    assert '"given"' in capsys.readouterr().err
    take_over(layout)
    assert capsys.readouterr().err == ""


def test_a_file_of_another_place_is_never_given(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    secret = layout.state.parent / "shadow"
    secret.write_text("root:x", encoding="ascii")
    (layout.applied(ALICE) / "trap").hardlink_to(secret)
    (layout.agent(BOB) / "link").symlink_to(secret)
    shutil.rmtree(layout.agent(BOB) / "claude")
    (layout.agent(BOB) / "claude").symlink_to(secret.parent)
    take_over(layout)
    assert secret.stat().st_uid == secret.parent.stat().st_uid == 0
    assert owners(layout.applied(ALICE)) == {0}, "all of that agent's repo is left"
    assert "a hard link with a name elsewhere" in capsys.readouterr().err
    assert owners(layout.applied(BOB)) == {USER}


def test_nothing_of_another_user_is_given(layout: Layout) -> None:
    state, home = layout.agent_state(ALICE), layout.agent_home(ALICE)
    home.mkdir(exist_ok=True)
    os.chown(home, UID, UID)
    take_over(layout)
    assert home.stat().st_uid == UID
    assert owners(state) == {0}
