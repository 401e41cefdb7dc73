"""What the tests of `hive doctor` share: a whole host, and one look at a check."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from meta.names import AgentName
from reconciler.upkeep.doctor.checks.base import Daemon, Host, Subject, Verdict
from reconciler.upkeep.doctor.examine import CHECKS, Row, examine

ALICE = AgentName("alice")
GONE = 2**22 + 7
"""No process has this pid."""


def whole_host(**changes: Any) -> Host:
    """A host on which nothing is wrong, whatever the one below it is like."""
    room = SimpleNamespace(f_bavail=2**30, f_blocks=2**31, f_frsize=4096, f_files=10**7, f_favail=10**6, f_flag=0)
    known = {
        "files": lambda: 20_000,
        "synchronised": lambda: True,
        "groups": lambda _: os.getgid(),
        "programs": lambda *_: {},
        "environment": {},
        "landlock": lambda: 7,
    }
    whole = replace(Host(disk=lambda _: cast(os.statvfs_result, room)), **known)  # type: ignore[arg-type]
    return replace(whole, **changes)


async def look(subject: Subject, *names: str, fix: bool = False) -> list[Row]:
    """What these checks say."""
    chosen = [check for check in CHECKS if check.name in names]
    assert len(chosen) == len(names)
    return await examine(subject, fix=fix, checks=chosen)


async def only(subject: Subject, name: str, verdict: Verdict, text: str, *, fix: bool = False) -> Row:
    """The one row of that verdict, which says `text` and what to do."""
    rows = [row for row in await look(subject, name, fix=fix) if row.verdict is verdict]
    assert len(rows) == 1, rows
    assert text in rows[0].text
    assert rows[0].remedy or verdict is Verdict.OK
    return rows[0]


def program(folder: Path, name: str, script: str) -> None:
    """A program of that name."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o755)


def aged(path: Path, seconds: float) -> None:
    """As if nobody had touched it for so long."""
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def ref(subject: Subject, name: str) -> Path:
    return subject.layout.applied_git(ALICE) / "refs/tags" / name


def deployed(subject: Subject) -> str:
    """alice's newest deployed id."""
    return max((path.name for path in ref(subject, "deployed").iterdir()), key=int)


WELL = Daemon("", "1", "fake", "plain", "memory, pids, cpu enforced (cgroup v2)", "none")


def running_since(subject: Subject, proc: Path, seconds: float) -> None:
    """A daemon that took the lock so long ago, by a clock that did not jump since; the subject sees `proc`."""
    subject.layout.lock.write_text(f"{GONE}\n", encoding="ascii")
    aged(subject.layout.lock, seconds)
    (proc / str(GONE)).mkdir(parents=True)
    ticks = int((10_000 - seconds) * os.sysconf("SC_CLK_TCK"))
    fields = " ".join(["S", *["0"] * 18, str(ticks), "0"])
    (proc / str(GONE) / "stat").write_text(f"{GONE} (hive (x) y) {fields}\n", encoding="ascii")
    (proc / "uptime").write_text("10000.00 1.00\n", encoding="ascii")
    subject.held = True
    subject.host = replace(subject.host, proc=proc)
