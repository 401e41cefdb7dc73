"""Long diffs go through a pager on a terminal, as git does it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from api.cli.terminal import pager
from meta.process import ambient


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, ["less"]),
        ({"PAGER": "more -s"}, ["more", "-s"]),
        ({"PAGER": "more", "HIVE_PAGER": "less '-P a b'"}, ["less", "-P a b"]),
        ({"PAGER": "more", "HIVE_PAGER": ""}, []),
        ({"PAGER": "cat"}, []),
        ({"PAGER": "more", "TERM": "dumb"}, []),
        ({"PAGER": "'"}, []),
    ],
)
def test_the_pager_is_chosen_as_git_does_it(variables: dict[str, str], words: list[str]) -> None:
    assert pager.pager(variables) == words


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of four lines, with a pager that writes LESS and its input to a file."""
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{name}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **__: os.terminal_size((80, 4)))


def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int, variables: dict[str, str], **how: bool) -> str:
    """What the pager got; "" if it did not run."""
    file = tmp_path / "seen"
    script = "import os, sys; open(sys.argv[1], 'w').write(os.environ['LESS'] + ' ' + sys.stdin.read())"
    command = f"{sys.executable} -c \"{script}\" '{file}'"
    monkeypatch.setattr(ambient, "before", lambda: {"PATH": os.environ["PATH"], "HIVE_PAGER": command, **variables})
    with pager.paged(**how):
        sys.stdout.write("\n".join("abcdefgh"[:lines]) + "\n")
    return file.read_text() if file.exists() else ""


def test_a_long_text_goes_through_it_and_less_gets_its_options(
    terminal: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(tmp_path, monkeypatch, 5, {}) == "FRX a\nb\nc\nd\ne\n"
    assert shown(tmp_path, monkeypatch, 5, {"LESS": "i"}).startswith("i a\n")


@pytest.mark.parametrize(
    ("lines", "variables", "wanted"), [(3, {}, True), (5, {}, False), (5, {"HIVE_PAGER": "/nonexistent/less"}, True)]
)
def test_what_fits_what_is_not_wanted_and_what_has_no_pager_is_printed(
    terminal: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lines: int,
    variables: dict[str, str],
    wanted: bool,
) -> None:
    assert shown(tmp_path, monkeypatch, lines, variables, wanted=wanted) == ""
    assert capsys.readouterr().out == "\n".join("abcdefgh"[:lines]) + "\n"


def test_without_a_terminal_nothing_is_paged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(tmp_path, monkeypatch, 8, {}) == ""
