"""The reader of the operator's file: what is in force when it changes, breaks, goes, or is another user's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from meta import own_file
from meta.network.operator_watch import OperatorWatch
from meta.network.rule import parse_rule

PYTHON = '[groups]\npython = ["pypi.org"]\n'
FOREIGN = 65_533


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.toml"


def write(path: Path, text: str) -> None:
    """Write a file that nobody has touched for long."""
    path.write_text(text)
    os.utime(path, (0, 0))


@dataclass
class Clock:
    """Two clocks that stand still until they are set. They begin at the present time, as files do."""

    now: float

    def __call__(self) -> float:
        return self.now


def test_without_a_file_there_is_nothing_in_it(path: Path) -> None:
    watch = OperatorWatch(path)
    assert not watch.file.groups and watch.ceiling is None and not watch.problem and not watch.reload()


def test_a_change_of_the_file_is_in_force_at_the_next_look(path: Path) -> None:
    write(path, PYTHON)
    watch = OperatorWatch(path)
    write(path, '[groups]\nrust = ["crates.io"]\n')
    assert watch.reload() and not watch.reload()
    assert list(watch.file.groups) == ["rust"]


def test_a_broken_version_keeps_the_last_good_one_and_names_the_fault(path: Path) -> None:
    write(path, PYTHON)
    watch = OperatorWatch(path)
    write(path, "[groups]\npython = [1]\n")
    assert watch.reload()
    assert "python" in watch.file.groups
    assert "groups.python" in watch.problem and str(path) in watch.problem


def test_the_revision_grows_with_each_good_version_alone(path: Path) -> None:
    watch = OperatorWatch(path)
    first = watch.revision
    write(path, "groups = 1")
    assert watch.reload() and watch.revision == first
    write(path, PYTHON)
    assert watch.reload() and watch.revision > first


def test_a_file_that_is_mended_by_its_mode_alone_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, PYTHON)
    path.chmod(0o000)

    def refuse(*_: object, **__: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as unreadable:
        unreadable.setattr(own_file, "read", refuse)
        watch = OperatorWatch(path)
    assert "Permission denied" in watch.problem

    path.chmod(0o644)

    assert watch.reload() and not watch.problem and "python" in watch.file.groups


def test_a_removed_file_is_an_empty_one_after_a_second(path: Path) -> None:
    clock = Clock(0.0)
    write(path, PYTHON)
    watch = OperatorWatch(path, monotonic=clock)
    path.unlink()
    assert not watch.reload() and watch.file.groups
    clock.now = 1.0
    assert watch.reload() and not watch.file.groups and not watch.problem


@pytest.mark.parametrize("moment", ["", "[groups]\npython = []\n", "[gro"])
def test_a_file_that_is_being_written_is_not_obeyed(path: Path, moment: str) -> None:
    monotonic = Clock(0.0)
    write(path, PYTHON)
    watch = OperatorWatch(path, monotonic=monotonic)
    path.write_text(moment)
    assert not watch.reload()
    monotonic.now = 0.9
    write(path, PYTHON)
    watch.reload()
    assert watch.file.groups["python"] and not watch.problem


def test_a_new_file_is_obeyed_once_it_has_been_the_same_for_a_second(path: Path) -> None:
    monotonic = Clock(0.0)
    write(path, PYTHON)
    watch = OperatorWatch(path, monotonic=monotonic)
    path.write_text("")
    assert not watch.reload()
    monotonic.now = 0.9
    path.write_text("\n")
    assert not watch.reload()
    monotonic.now = 1.8
    assert not watch.reload()
    monotonic.now = 2.0
    assert watch.reload() and not watch.file.groups


def test_what_takes_nothing_away_is_obeyed_at_once(path: Path) -> None:
    watch = OperatorWatch(path)
    path.write_text(PYTHON)
    assert watch.reload() and watch.file.groups


def test_a_named_file_that_is_missing_is_a_problem_and_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta.network.operator_watch.SETTLE_SECONDS", 0.0)
    write(path, PYTHON)
    watch = OperatorWatch(path, may_miss=False)
    path.unlink()
    assert watch.reload() and "python" in watch.file.groups and "HIVE_NETWORK_FILE" in watch.problem


def test_a_folder_in_its_place_is_a_problem(path: Path) -> None:
    path.mkdir()
    assert "folder" in OperatorWatch(path).problem


def test_a_file_below_another_file_is_a_problem(path: Path) -> None:
    path.write_text("")
    assert "Not a directory" in OperatorWatch(path / "network.toml").problem


def test_a_file_that_every_user_may_write_is_not_obeyed_until_its_mode_is_mended(path: Path) -> None:
    write(path, PYTHON)
    path.chmod(0o666)
    watch = OperatorWatch(path)
    assert not watch.file.groups and watch.problem == f"every user may write {path} (take that away with chmod o-w)"
    path.chmod(0o664)
    assert watch.reload() and watch.file.groups and not watch.problem


def test_a_file_of_another_user_is_not_obeyed_unless_that_user_is_trusted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, PYTHON)
    if os.geteuid() == 0:
        os.chown(path, FOREIGN, -1)
    monkeypatch.setattr(os, "geteuid", lambda: FOREIGN + 1)
    owner = path.stat().st_uid
    if owner == 0:
        pytest.skip("only root can give a file to another user")
    watch = OperatorWatch(path)
    assert not watch.file.groups and f"{path} belongs to uid {owner} (give it to root" in watch.problem
    assert OperatorWatch(path, trusted=(owner,)).file.groups


def test_the_ceiling_follows_the_groups_of_the_file(path: Path) -> None:
    write(path, PYTHON)
    watch = OperatorWatch(path, "@python, crates.io:443")
    assert watch.ceiling == (parse_rule("pypi.org"), parse_rule("crates.io:443"))
    write(path, '[groups]\npython = ["pypi.org", "files.pythonhosted.org"]\n')
    assert watch.reload() and watch.within_ceiling("files.pythonhosted.org", 443)


def test_a_ceiling_that_never_was_understood_lets_nothing_pass(path: Path) -> None:
    watch = OperatorWatch(path, "*.example @python")
    assert watch.ceiling == () and not watch.within_ceiling("a.example", 443)
    assert "HIVE_NETWORK_CEILING" in watch.problem and "@python" in watch.problem
    write(path, PYTHON)
    assert watch.reload() and not watch.problem
    assert watch.within_ceiling("a.example", 443) and watch.within_ceiling("pypi.org", 443)
    assert not watch.within_ceiling("crates.io", 443)


def test_a_ceiling_whose_group_went_keeps_what_it_was(path: Path) -> None:
    write(path, PYTHON)
    watch = OperatorWatch(path, "@python")
    write(path, "[groups]\n")
    assert watch.reload() and watch.ceiling == (parse_rule("pypi.org"),) and watch.problem
