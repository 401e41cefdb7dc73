"""The tutorial of the first real agent, typed line by line: the real claude CLI, a stand-in for its model."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from tests.docs.typing_in import Step, blocks, shows, steps, type_in
from tests.support.lab import Lab, Said
from tests.support.real_agents import CLAUDE, SETTINGS

PAGE = Path(__file__).parents[2] / "docs/tutorial/first-real-agent.md"
ROOT = PAGE.parents[2]


@contextmanager
def stand_in(lab: Lab) -> Iterator[None]:
    """Run the command of the page that stands in for the model."""
    (line,) = [line for line in PAGE.read_text("utf-8").splitlines() if "tests.support.stand_in" in line]
    words = shlex.split(line.replace(".hive/run", str(lab.layout.runtime)))
    assert words[0] == ".venv/bin/python"
    with subprocess.Popen([sys.executable, *words[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True) as model:
        assert model.stdout is not None
        try:
            assert model.stdout.readline().startswith("stands in for a model at ")
            yield
        finally:
            model.send_signal(signal.SIGINT)
        assert model.wait(10) == 0


def attach(lab: Lab, step: Step) -> None:
    """Watch until the lines of the page were there, then press Ctrl-C."""
    where = ["--state", str(lab.layout.state), "--runtime", str(lab.layout.runtime)]
    command = [sys.executable, "-m", "api.cli.main", *step.words[1:], *where]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        seen = ""
        try:
            while not shows(Said(0, seen, ""), step):
                line = watching.stdout.readline()
                assert line, f"{step.words}\n{seen}\nexpected {step.shown}"
                seen += line
            assert "-----" not in seen, "the stand-in repeats the lines around a message"
        finally:  # also at the test's time limit, or the wait for its end has none
            watching.send_signal(signal.SIGINT)


@pytest.fixture
def nothing() -> Iterator[TextIO]:
    """A stdin at its end."""
    with Path(os.devnull).open(encoding="utf-8") as file:
        yield file


@pytest.mark.bwrap
@pytest.mark.timeout(120)
@pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude")
@pytest.mark.lab(tiny=False, settings=SETTINGS)
def test_every_step_with_a_real_agent_shows_what_the_page_says(
    lab: Lab, tmp_path: Path, nothing: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    (login,) = blocks(PAGE, "json")
    (tmp_path / "login.json").write_text(login, encoding="utf-8")
    (tmp_path / "login.json").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", nothing)
    typed = list(steps(PAGE))
    first = next(n for n, step in enumerate(typed) if step.words[1] == "send")
    for step in typed[:first]:
        type_in(lab, step)
    with stand_in(lab):
        for step in typed[first:]:
            if step.words[1] == "attach":
                attach(lab, step)
            else:
                type_in(lab, step)


def test_the_page_starts_the_daemon_with_the_cli_that_make_claude_installs() -> None:
    (line,) = re.findall(r'export PATH="\$PWD/(.*):\$PATH"', PAGE.read_text("utf-8"))
    assert ROOT / line == CLAUDE.parent
