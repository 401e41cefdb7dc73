"""A pytest plugin: collects what the cells of the crash matrix saw, prints it, keeps it in build/crash-matrix.json."""

from __future__ import annotations

from typing import cast

import pytest

from tests.crash import table

FAILED = " (FAILED)"
_SEEN: table.Seen = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take over what a cell noted (also from another worker)."""
    if report.when != "call":
        return
    for name, value in report.user_properties:
        if name == "crash":
            scenario, failpoint, kills, outcome = cast("list[str | int]", value)
            key = str(scenario), str(failpoint), int(kills)
            _SEEN[key] = str(outcome) if report.passed else f"{outcome}{FAILED}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table; the page can be written from the file."""
    if not _SEEN or hasattr(config, "workerinput"):
        return
    terminalreporter.section("crash matrix")
    for line in table.lines(_SEEN):
        terminalreporter.write_line(line)
    table.keep({cell: outcome for cell, outcome in _SEEN.items() if not outcome.endswith(FAILED)})
    terminalreporter.write_line(f"kept in {table.FILE}; `python -m tests.crash.table` writes {table.PAGE.name}")
