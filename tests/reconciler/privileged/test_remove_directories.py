"""remove-directories: all that a purged agent wrote goes, and nothing beyond it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meta.errors import Refused
from meta.names import MANAGER, AgentName
from reconciler.privileged.protocol import RemoveDirectories
from reconciler.privileged.verbs import Verbs
from tests.reconciler.privileged.stage import ALICE, UID, Stage

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files away")
OWN = ("agents/alice/state", "agents/alice/home", "proposed/alice/config")


@pytest.fixture
def state(stage: Stage) -> Path:
    """What alice leaves behind, beside hive's and bob's."""
    state = stage.root / "state"
    for name in (*OWN, "agents/bob/state", "applied/alice/.git", "push/alice.git"):
        inner = state / name / "deep" / "er"
        inner.mkdir(parents=True)
        (inner / "file").touch(0o400)
        (inner / "link").symlink_to(stage.root / "victim")
        os.mkfifo(inner / "fifo")
        inner.chmod(0o500)
        os.chown(inner, UID, UID)
    (stage.root / "victim").mkdir()
    (stage.root / "victim/kept").touch()
    return state


def remove(stage: Stage, name: AgentName = ALICE) -> None:
    """One request."""
    Verbs(stage.host).perform(RemoveDirectories(name))


def test_what_the_agent_wrote_goes_and_all_else_stays(stage: Stage, state: Path) -> None:
    for _ in range(2):
        remove(stage)
        assert not any((state / name).exists() for name in OWN)
        for name in ("agents/bob/state", "applied/alice/.git", "push/alice.git"):
            assert (state / name / "deep/er/file").exists()
        assert (stage.root / "victim/kept").exists()


def test_an_agent_that_has_a_container_keeps_its_directories(stage: Stage, state: Path) -> None:
    conf = stage.host.conf(ALICE)
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text("PRIVATE_NETWORK=1\n", encoding="utf-8")
    with pytest.raises(Refused):
        remove(stage)
    assert (state / OWN[0] / "deep/er/file").exists()


def test_the_manager_is_never_purged(stage: Stage, state: Path) -> None:
    with pytest.raises(Refused, match="cannot be purged"):
        remove(stage, MANAGER)


@pytest.mark.parametrize("where", ["agents/alice/state", "agents/alice"])
def test_a_symlink_in_the_way_is_not_followed(stage: Stage, state: Path, where: str) -> None:
    (state / where).rename(stage.root / "aside")
    (state / where).symlink_to(stage.root / "victim")
    (stage.root / "victim/state").mkdir()
    (stage.root / "victim/state/kept").touch()
    with pytest.raises(Refused):
        remove(stage)
    assert (stage.root / "victim/kept").exists()
    assert (stage.root / "victim/state/kept").exists()


def test_a_tree_without_end_is_refused_in_words(stage: Stage, state: Path) -> None:
    fd = os.open(state / OWN[0], os.O_RDONLY)
    for _ in range(150):
        os.mkdir("x", dir_fd=fd)
        inner = os.open("x", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    with pytest.raises(Refused, match="deeper than"):
        remove(stage)
