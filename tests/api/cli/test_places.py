"""Options beat the environment, before the command and behind it, for every command."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from api.cli import command
from api.cli.client import paths
from api.cli.commands import serve
from api.cli.commands.man import leaves
from api.cli.main import execute, parser
from meta.errors import Refused
from tests.api.cli.words import words_of

WITHOUT_DAEMON = {"man", "wire canonical", "install-service"}
COMMANDS = [leaf for leaf in leaves(parser()) if leaf.name not in WITHOUT_DAEMON]


class Stopped(Refused):
    """The place is known, and the command goes no further."""


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[paths.Where]:
    """Where each command looks for its daemon; it stops there. The environment names another hive."""
    seen: list[paths.Where] = []
    real = paths.find

    def find(state: str | None, runtime: str | None, *, serving: bool = False) -> paths.Where:
        seen.append(real(state, runtime, serving=serving))
        raise Stopped("seen")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "find", find)
    monkeypatch.setattr(serve, "_require_git", lambda: None)
    for name in ("state", "runtime"):
        monkeypatch.setenv(f"HIVE_{name.upper()}", str(tmp_path / "other" / name))
    return seen


def test_a_state_on_the_command_line_beats_both_variables_for_every_command(
    found: list[paths.Where], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = parser()
    monkeypatch.setattr("api.cli.main.parser", lambda: group)
    here = str(tmp_path / "here")
    for leaf in COMMANDS:
        for words in ([*words_of(leaf), "--state", here], ["--state", here, *words_of(leaf)]):
            assert execute(words) == 4, words
            assert found[-1] == paths.Where(Path(here), Path(here, "run")), words
    assert len(found) == 2 * len(COMMANDS)


def test_without_options_the_variables_count(found: list[paths.Where], tmp_path: Path) -> None:
    execute(["status"])
    assert found == [paths.Where(tmp_path / "other/state", tmp_path / "other/runtime")]


@pytest.mark.parametrize(
    "words",
    [
        ["--state", "s", "--runtime", "r", "status"],
        ["--runtime", "r", "status", "--state", "s"],
        ["--state", "x", "--runtime", "x", "status", "--state", "s", "--runtime", "r"],
    ],
)
def test_the_last_of_each_option_counts(found: list[paths.Where], tmp_path: Path, words: list[str]) -> None:
    execute(words)
    assert found == [paths.Where(tmp_path / "s", tmp_path / "r")]


def test_a_runtime_alone_leaves_the_state_of_the_environment(found: list[paths.Where], tmp_path: Path) -> None:
    execute(["status", "--runtime", "r"])
    assert found == [paths.Where(tmp_path / "other/state", tmp_path / "r")]


def test_options_without_a_command_are_an_error_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--state", "/x"]) == 2
    assert capsys.readouterr().err == "hive: no command is given\n  try: `hive --help`\n"


@pytest.mark.parametrize("state", ["plain", "with a space", "it's"])
def test_the_printed_command_finds_the_same_hive_in_any_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for runtime in (None, str(tmp_path / "r")):
        where = paths.find(state, runtime)
        program, serves, *options = shlex.split(where.serve_command())
        assert (program, serves) == ("hive", "serve")
        values = dict(zip(options[::2], options[1::2], strict=True))
        for variables in ({}, {"HIVE_STATE": "/other", "HIVE_RUNTIME": "/other/r"}):
            monkeypatch.setattr(os, "environ", variables)
            assert paths.find(values.get("--state"), values.get("--runtime")) == where


def test_where_no_options_are_needed_none_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HIVE_STATE", "HIVE_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".hive").mkdir()
    assert paths.find(None, None).serve_command() == "hive serve"
    monkeypatch.setenv("HIVE_STATE", "/other")
    assert paths.find(".hive", None).options() == ("--state", str(tmp_path / ".hive"))


def test_every_command_that_needs_a_daemon_goes_the_same_way() -> None:
    assert command.find.__doc__
    for leaf in COMMANDS:
        options = {name for param in leaf.command.params for name in param.opts}
        assert {"--state", "--runtime"} <= options, leaf.name
