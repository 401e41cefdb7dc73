"""The reader of the operator's settings: what is in force when the file changes, breaks, goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.config import Config
from meta.layout import Layout
from meta.network.rule import parse_rule
from reconciler.network.operator import OperatorSettings

PYTHON = '[groups]\npython = ["pypi.org"]\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.toml"


def test_without_a_file_there_is_nothing_in_it(path: Path) -> None:
    settings = OperatorSettings(path)
    assert not settings.file().groups and settings.ceiling() is None and not settings.problem


def test_a_change_of_the_file_is_in_force_at_the_next_look(path: Path) -> None:
    settings = OperatorSettings(path)
    settings.file()
    path.write_text(PYTHON)
    assert settings.file().groups["python"] == (parse_rule("pypi.org"),)


def test_a_broken_version_keeps_the_last_good_one_and_names_the_fault(path: Path) -> None:
    path.write_text(PYTHON)
    settings = OperatorSettings(path)
    settings.file()
    path.write_text("[groups]\npython = [1]\n")
    assert "python" in settings.file().groups
    assert "groups.python" in settings.problem and str(path) in settings.problem


def test_the_revision_grows_with_each_good_version_alone(path: Path) -> None:
    settings = OperatorSettings(path)
    first = settings.revision()
    path.write_text("groups = 1")
    assert settings.revision() == first
    path.write_text(PYTHON)
    assert settings.revision() == settings.revision() > first


def test_a_mended_file_ends_the_problem(path: Path) -> None:
    path.write_text("groups = 1")
    settings = OperatorSettings(path)
    assert settings.problem
    path.write_text(PYTHON)
    assert not settings.problem and "python" in settings.file().groups


def test_a_removed_file_is_an_empty_one(path: Path) -> None:
    path.write_text(PYTHON)
    settings = OperatorSettings(path)
    settings.file()
    path.unlink()
    assert not settings.file().groups and not settings.problem


def test_a_named_file_that_is_missing_is_a_problem_and_changes_nothing(path: Path) -> None:
    path.write_text(PYTHON)
    settings = OperatorSettings(path, may_miss=False)
    settings.file()
    path.unlink()
    assert "python" in settings.file().groups and "HIVE_NETWORK_FILE" in settings.problem


def test_a_folder_in_its_place_is_a_problem(path: Path) -> None:
    path.mkdir()
    assert "folder" in OperatorSettings(path).problem


def test_a_file_below_another_file_is_a_problem(path: Path) -> None:
    path.write_text("")
    assert "Not a directory" in OperatorSettings(path / "network.toml").problem


def test_the_ceiling_follows_the_groups_of_the_file(path: Path) -> None:
    path.write_text(PYTHON)
    settings = OperatorSettings(path, "@python, crates.io:443")
    assert settings.ceiling() == (parse_rule("pypi.org"), parse_rule("crates.io:443"))
    path.write_text('[groups]\npython = ["pypi.org", "files.pythonhosted.org"]\n')
    assert parse_rule("files.pythonhosted.org") in (settings.ceiling() or ())


def test_a_ceiling_that_never_was_understood_lets_nothing_through(path: Path) -> None:
    settings = OperatorSettings(path, "@python")
    assert settings.ceiling() == ()
    assert "HIVE_NETWORK_CEILING" in settings.problem and "@python" in settings.problem


def test_a_ceiling_whose_group_went_keeps_what_it_was(path: Path) -> None:
    path.write_text(PYTHON)
    settings = OperatorSettings(path, "@python")
    settings.ceiling()
    path.unlink()
    assert settings.ceiling() == (parse_rule("pypi.org"),) and settings.problem


@pytest.mark.parametrize(("named", "expected"), [("", "state/network.toml"), ("/etc/hive/n.toml", "/etc/hive/n.toml")])
def test_the_path_is_that_of_the_configuration_or_in_the_state_directory(
    named: str, expected: str, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "state", tmp_path / "run")
    assert OperatorSettings.of(layout, Config(network_file=named)).path == tmp_path / expected
