"""The tutorial, typed line by line: every command works, and shows what the page says that one sees."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.lab import Lab, Said

PAGE = Path(__file__).parents[2] / "docs/tutorial/first-hive.md"
FENCED = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
WAITS = {"status", "questions", "inbox", "propose", "log", "events", "plan"}
"""Commands that a person types again until what was begun is there."""


NOBODY = 65_534


@dataclass(frozen=True)
class Step:
    """One command of the page, and the lines that it shows. `…` stands for anything."""

    words: tuple[str, ...]
    shown: tuple[str, ...]


def blocks(language: str) -> Iterator[str]:
    """Yield the blocks of the page in a language, without the page's indentation."""
    for indent, kind, text in FENCED.findall(PAGE.read_text("utf-8")):
        if kind == language:
            yield "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))


def steps() -> Iterator[Step]:
    """Yield what is typed at a `$`, with what follows it. A quoted text may go over several lines."""
    for block in blocks("console"):
        for typed in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = typed.rstrip("\n").split("\n")
            count = next(n for n in range(1, len(lines) + 1) if is_whole("\n".join(lines[:n])))
            yield Step(tuple(shlex.split("\n".join(lines[:count]))), tuple(lines[count:]))


def is_whole(text: str) -> bool:
    try:
        return bool(shlex.split(text))
    except ValueError:
        return False


def shows(said: Said, step: Step) -> bool:
    """Return True if the lines were shown, in this order."""
    seen = iter([" ".join(line.split()) for line in [*said.err.splitlines(), *said.out.splitlines()]])
    wanted = [re.escape(" ".join(line.split())).replace("…", ".*") for line in step.shown]
    return all(any(re.fullmatch(pattern, line) for line in seen) for pattern in wanted)


def type_in(lab: Lab, step: Step) -> None:
    """Type one command, and look at what it shows."""
    program, command, *_ = step.words
    assert program == "hive"
    head = lab.layout.state / "proposed/alice/config/.git/refs/heads/main"
    before = head.read_bytes() if head.exists() else b""
    said = lab.hive(*step.words[1:])
    if command in WAITS and not shows(said, step):
        with contextlib.suppress(AssertionError):  # the one below says more
            lab.until(lambda: shows(lab.hive(*step.words[1:]), step) or None)
        said = lab.hive(*step.words[1:])
    assert shows(said, step), f"{step.words}\n{said.err}{said.out}\nexpected {step.shown}"
    if step.words[1:3] == ("send", "manager"):
        lab.until(lambda: True if head.exists() and head.read_bytes() != before else None)


@pytest.mark.bwrap
@pytest.mark.timeout(120)
@pytest.mark.lab(tiny=False, settings={"HIVE_HEALTH_DEADLINE": "10", "HIVE_HEALTH_STABLE": "0.05"})
def test_every_step_shows_what_the_page_says(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (rules,) = blocks("toml")
    (tmp_path / "rules").write_text(rules, encoding="utf-8")
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\ncat {tmp_path}/rules >> "$1"\n', encoding="ascii")
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for step in steps():
        type_in(lab, step)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_the_owner_of_a_hive_removes_it_with_the_command_of_the_page() -> None:
    (command,) = [line.strip() for line in PAGE.read_text("utf-8").splitlines() if "rm -rf .hive" in line]
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        build = Path(name, ".hive", "generations", "alice", "1")
        build.mkdir(parents=True)
        (build / "agent.toml").touch(mode=0o444)
        closed = Path(name, ".hive", "agents", "alice", "state")
        closed.mkdir(parents=True)
        for path in (build, closed):
            path.chmod(0o555 if path is build else 0)
        for path in (Path(name), *Path(name).rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        ask = {"cwd": name, "user": NOBODY, "group": NOBODY, "extra_groups": (), "capture_output": True}
        assert subprocess.run(["rm", "-rf", ".hive"], check=False, **ask).returncode != 0  # type: ignore[call-overload]
        assert subprocess.run(["sh", "-c", command], check=False, **ask).returncode == 0  # type: ignore[call-overload]
        assert list(Path(name).iterdir()) == []
