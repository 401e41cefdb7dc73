"""The operator's settings as the daemon asks for them. The reader is tested in tests/meta/network."""

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


def test_each_answer_is_of_the_file_of_now(path: Path) -> None:
    settings = OperatorSettings(path, "@python")
    assert settings.problem and settings.ceiling() == ()
    first = settings.revision()
    path.write_text(PYTHON)
    assert settings.revision() > first
    assert settings.file().groups["python"] == settings.ceiling() == (parse_rule("pypi.org"),)
    assert not settings.problem


@pytest.mark.parametrize(("named", "expected"), [("", "state/network.toml"), ("/etc/hive/n.toml", "/etc/hive/n.toml")])
def test_the_path_is_that_of_the_configuration_or_in_the_state_directory(
    named: str, expected: str, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "state", tmp_path / "run")
    assert OperatorSettings.of(layout, Config(network_file=named)).path == tmp_path / expected
