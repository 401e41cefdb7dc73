"""A push repo of an older hive moves to where no agent can write, whatever the manager does and whenever hive dies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.config import Config
from meta.layout import Layout
from meta.names import AgentName
from meta.process import failpoint
from meta.proposed import push_check, push_move, push_repo

ALICE = AgentName("alice")
Git = Callable[..., str]


class Old:
    """alice's push repo where an older hive had it, with branches, a tag, packed and loose objects."""

    def __init__(self, layout: Layout, tmp_path: Path, git: Git) -> None:
        self.layout, self.git = layout, git
        self.path = layout.proposed(ALICE) / "push.git"
        self.path.parent.mkdir(parents=True)
        push_repo.create(layout, ALICE, Config(push_group="no-such-group"))
        new = layout.push_repo(ALICE)
        clone = tmp_path / "clone"
        clone.mkdir()
        git(clone, "init", "-q", "-b", "main")
        git(clone, "commit", "-q", "--allow-empty", "-m", "first")
        git(clone, "push", "-q", str(new), "HEAD:main", "HEAD:a/b", "HEAD:refs/tags/t")
        git(new, "-c", "safe.directory=*", "gc", "-q")
        git(clone, "commit", "-q", "--allow-empty", "-m", "second")
        git(clone, "push", "-q", str(new), "HEAD:main")
        self.refs = self.show(new)
        shutil.rmtree(new / "logs")  # an older hive did not make it
        new.rename(self.path)

    def show(self, repo: Path) -> str:
        return self.git(repo, "-c", "safe.directory=*", "for-each-ref")

    def move(self) -> None:
        push_move.move_all(self.layout, Config(push_group="no-such-group"))

    def check_moved(self) -> None:
        """All is where it belongs, and nothing is left on the way."""
        new = self.layout.push_repo(ALICE)
        assert not os.path.lexists(self.path)
        assert push_check.fault(new, os.geteuid()) is None
        assert self.show(new) == self.refs
        self.git(new, "-c", "safe.directory=*", "fsck", "--strict")
        assert list(self.layout.push_moving.iterdir()) == []
        assert push_move.aside(self.layout, ALICE) == ()
        assert list(self.layout.scratch.iterdir()) == []

    def aside(self) -> Path:
        """The one that was set aside; no other is used."""
        assert not os.path.lexists(self.path)
        assert list(self.layout.push_moving.iterdir()) == []
        (path,) = push_move.aside(self.layout, ALICE)
        return path


@pytest.fixture
def old(layout: Layout, tmp_path: Path, git: Git) -> Old:
    return Old(layout, tmp_path, git)


def test_branches_tags_and_objects_move_and_a_second_start_changes_nothing(old: Old) -> None:
    before = old.path.stat().st_ino
    old.move()
    old.check_moved()
    new = old.layout.push_repo(ALICE).stat()
    assert new.st_ino != before, "who has the old folder open must not have the new one open"
    old.move()
    old.check_moved()
    assert old.layout.push_repo(ALICE).stat().st_ino == new.st_ino


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_who_pushed_a_branch_stays_known(old: Old) -> None:
    os.chown(old.path / "refs/heads/main", 61_001, -1)
    old.move()
    assert (old.layout.push_repo(ALICE) / "refs/heads/main").stat().st_uid == 61_001


POINTS = [f"push-move-{point}:{side}" for point in ("take", "copy", "install", "drop") for side in ("before", "after")]


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_operation_is_repaired_by_the_next_start(old: Old, point: str) -> None:
    die_at(old, point)
    shutil.rmtree(old.layout.scratch, ignore_errors=True)  # as each start does
    old.layout.scratch.mkdir()
    old.move()
    old.check_moved()


@pytest.mark.parametrize("point", ["push-move-take:after", "push-move-aside:before", "push-move-aside:after"])
def test_so_is_one_while_a_repo_is_set_aside(old: Old, point: str) -> None:
    (old.path / "hooks").mkdir()
    die_at(old, point)
    old.move()
    assert "hooks" in push_move.reason(old.aside())


def die_at(old: Old, point: str) -> None:
    """Move in a child that dies at the failpoint."""
    pid = os.fork()
    if pid == 0:
        failpoint.arm(point)
        old.move()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9, f"{point} was not reached"


def plant_hook(path: Path) -> None:
    (path / "hooks").mkdir()


def plant_configuration(path: Path) -> None:
    (path / "config").write_text("[core]\n\tbare = true\n", encoding="ascii")


def plant_symlink(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def plant_dangling_symlink(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to("/nowhere")


def plant_file(path: Path) -> None:
    shutil.rmtree(path)
    path.touch()


def plant_fifo(path: Path) -> None:
    shutil.rmtree(path)
    os.mkfifo(path)


def plant_hole(path: Path) -> None:
    with (path / "objects/pack" / f"pack-{'0' * 40}.pack").open("wb") as file:
        file.truncate(2**40)


def plant_fifo_as_a_branch(path: Path) -> None:
    os.mkfifo(path / "refs/heads/pipe")


PLANTS = (
    *(plant_hook, plant_configuration, plant_symlink, plant_dangling_symlink, plant_file, plant_fifo),
    *(plant_hole, plant_fifo_as_a_branch),
)


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_not_as_hive_made_it_is_set_aside_and_never_used(old: Old, plant: Callable[[Path], None]) -> None:
    plant(old.path)
    old.move()
    path = old.aside()
    assert not old.layout.push_repo(ALICE).exists()
    line = push_move.aside_line(old.layout, path)
    assert str(path) in line
    assert f"push what you miss to {old.layout.push_repo(ALICE)}" in line
    old.move()
    assert old.aside() == path


def test_one_that_appears_beside_hives_own_is_set_aside(old: Old) -> None:
    old.move()
    shutil.copytree(old.layout.push_repo(ALICE), old.path)
    planted = push_move.planted(old.layout, ALICE)
    assert planted is not None
    assert f"not push there but to {old.layout.push_repo(ALICE)}" in planted.remedy
    old.move()
    assert push_move.planted(old.layout, ALICE) is None
    assert old.aside().is_dir()
    assert old.show(old.layout.push_repo(ALICE)) == old.refs


def test_a_folder_that_became_a_symlink_is_not_followed(old: Old, tmp_path: Path) -> None:
    folder = old.layout.proposed(ALICE)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    old.move()
    assert (tmp_path / "elsewhere" / "push.git").is_dir()
    assert not old.layout.push_repo(ALICE).exists()


@pytest.mark.unprivileged
def test_rights_that_the_manager_took_away_do_not_keep_it_there(old: Old) -> None:
    old.path.chmod(0o500)
    old.path.parent.chmod(0o500)
    old.move()
    assert not os.path.lexists(old.path)
