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


PORT = "8089"
KEY = "/home/you/hive/.hive/model-key"


@contextmanager
def stand_in() -> Iterator[str]:
    """Run the command of the page that stands in for the model, on a free port; yield the port."""
    (line,) = [line for line in PAGE.read_text("utf-8").splitlines() if "tests.support.stand_in" in line]
    words = shlex.split(line)
    assert (words[0], words[-1]) == (".venv/bin/python", PORT)
    with subprocess.Popen([sys.executable, *words[1:-1], "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as model:
        assert model.stdout is not None
        try:
            (port,) = re.findall(r"stands in for a model at http://127.0.0.1:(\d+);", model.stdout.readline())
            yield port
        finally:
            model.send_signal(signal.SIGINT)
        assert model.wait(10) == 0


def give_key(lab: Lab, port: str) -> None:
    """Write the files of the page: the key, and network.toml with the paths and the port of here."""
    (line,) = [line.strip() for line in PAGE.read_text("utf-8").splitlines() if "umask" in line]
    key = lab.layout.state / "model-key"
    subprocess.run(["sh", "-c", line.replace(".hive/model-key", str(key))], check=True)
    (text,) = blocks(PAGE, "toml")
    assert text.count(PORT) == 2
    lab.layout.network_file.write_text(text.replace(PORT, port).replace(KEY, str(key)), encoding="utf-8")


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
@pytest.mark.lab(tiny=False, settings={**SETTINGS, "HIVE_EGRESS_START": "true"})
def test_every_step_with_a_real_agent_shows_what_the_page_says(
    lab: Lab, nothing: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", nothing)
    with stand_in() as port:
        give_key(lab, port)
        for step in steps(PAGE):
            if step.words[1] == "attach":
                attach(lab, step)
            else:
                type_in(lab, step)


def test_the_page_starts_the_daemon_with_the_cli_that_make_claude_installs() -> None:
    (line,) = re.findall(r'export PATH="\$PWD/(.*):\$PATH"', PAGE.read_text("utf-8"))
    assert ROOT / line == CLAUDE.parent
