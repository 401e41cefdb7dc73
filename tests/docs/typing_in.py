"""Pages of the documentation as what a person types, and sees then."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.lab import Lab, Said

FENCED = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
WAITS = {"status", "questions", "inbox", "propose", "log", "events", "plan", "usage"}
"""Commands that a person types again until what was begun is there."""


@dataclass(frozen=True)
class Step:
    """One command of the page, and the lines that it shows. `…` stands for anything."""

    words: tuple[str, ...]
    shown: tuple[str, ...]


def blocks(page: Path, language: str) -> Iterator[str]:
    """Yield the blocks of the page in a language, without the page's indentation."""
    for indent, kind, text in FENCED.findall(page.read_text("utf-8")):
        if kind == language:
            yield "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))


def steps(page: Path) -> Iterator[Step]:
    """Yield what is typed at a `$`, with what follows it. A quoted text may go over several lines."""
    for block in blocks(page, "console"):
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
    wanted = [re.escape(" ".join(line.split())).replace("…", ".*") for line in step.shown]
    for shown in (said.err + said.out, said.out + said.err):  # which came first is not known
        seen = iter([" ".join(line.split()) for line in shown.splitlines()])
        if all(any(re.fullmatch(pattern, line) for line in seen) for pattern in wanted):
            return True
    return False


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
