"""The doctor of a running daemon: one run at a time, at most once a minute, never in the daemon's loop."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path

from meta.config import Config
from meta.layout import Layout
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict
from reconciler.upkeep.doctor.examine import Check
from reconciler.upkeep.doctor.live import SPACING, LiveDoctor
from reconciler.views import Status

LONG = 30.0


@dataclass
class Case:
    """A doctor with one check, which waits for `go`."""

    root: Path
    now: float = 1000.0
    changed: int = 0
    runs: list[tuple[str, str, int]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def doctor(self) -> LiveDoctor:
        async def check(subject: Subject) -> list[Finding]:
            self.go.wait(LONG)
            if self.error is not None:
                raise self.error
            assert subject.daemon is not None
            self.runs.append((subject.backend, subject.daemon.notes[0], threading.get_ident()))
            return [Finding(Verdict.WARN, "no room", "make some")]

        async def status() -> Status:
            return Status("r", "local", "plain", str(self.root), "", "", "", "", "", ("a note",), ())

        def note() -> None:
            self.changed += 1

        checks = (Check("one", "a fact", check),)
        layout = Layout(self.root, self.root)
        return LiveDoctor(layout, Config(), status, note, checks=checks, clock=lambda: self.now)


async def test_a_run_leaves_its_findings_and_reports_its_begin_and_its_end(tmp_path: Path) -> None:
    case = Case(tmp_path)
    doctor = case.doctor()
    assert (doctor.last.rows, doctor.last.at) == ((), None)
    begun = await doctor.examine(0)
    assert (begun.running, case.changed) == (True, 1)
    case.go.set()
    ended = await doctor.examine(LONG)
    assert [(row.check, row.verdict, row.text, row.remedy) for row in ended.rows] == [
        ("one", "warn", "no room", "make some")
    ]
    assert (ended.at, ended.running, case.changed) == (1000.0, False, 2)
    ((backend, note, thread),) = case.runs
    assert (backend, note) == ("local", "a note") and thread != threading.get_ident()


async def test_whoever_asks_during_a_run_or_soon_after_it_gets_that_one(tmp_path: Path) -> None:
    case = Case(tmp_path)
    doctor = case.doctor()
    both = asyncio.gather(doctor.examine(LONG), doctor.examine(LONG))
    case.go.set()
    first, second = await both
    assert first.rows == second.rows and len(case.runs) == 1
    case.now += SPACING - 1
    await doctor.examine(LONG)
    assert len(case.runs) == 1
    case.now += 1
    await doctor.examine(LONG)
    assert len(case.runs) == 2


async def test_checks_that_end_with_an_error_are_a_finding(tmp_path: Path) -> None:
    case = Case(tmp_path, error=RuntimeError("no such thing"))
    case.go.set()
    ended = await case.doctor().examine(LONG)
    ((row),) = ended.rows
    assert (row.verdict, ended.running) == (Verdict.FAIL, False) and "no such thing" in row.text
