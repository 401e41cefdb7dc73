"""What a harness takes beside its CLI: what it imports before hive has its hello, and its memory."""

from __future__ import annotations

import os
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive, Harness

MEMORY = 60_000_000
"""Bytes of a harness of claude, of which some 40 MB are Python, asyncio and pydantic."""
LIBRARIES = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
BEFORE_THE_HELLO = {
    *(
        "",
        ".bus",
        ".cli",
        ".asides",
        ".connect",
        ".environment",
        ".faults",
        ".gate",
        ".hold",
        ".link",
        ".serve",
        ".state_file",
    ),
    *(".stop", ".starter", ".starter.wire", ".keeper", ".keeper.wanted"),
    *(".events", ".events.bus", ".events.database", ".events.encoding", ".events.feed", ".events.store"),
    *(".runtimes", ".runtimes.json_line"),
}
"""Modules of the harness. hive waits for the hello: others are imported behind it (harness.serve._turns)."""


async def test_a_harness_of_claude_is_small_and_imports_little_before_its_hello(
    harness: Harness, hive: FakeHive
) -> None:
    harness.configure('runtime = "claude"\ncommand = ["/missing/claude"]\n')
    harness.around = ("env", "PYTHONPROFILEIMPORTTIME=1")
    process = await harness.start()
    await hive.until(lambda: hive.abouts)
    assert resident(process.pid) < MEMORY
    assert await harness.end() == 0
    before, _, after = harness.log.partition("hello to hive")
    early, late = modules(before), modules(after)
    assert {name for name in early if name.startswith("harness")} <= {f"harness{name}" for name in BEFORE_THE_HELLO}
    assert libraries(early) <= LIBRARIES
    assert {"harness.assembly", "harness.runtimes.claude.adapter"} <= late
    assert not any(name.startswith("harness.runtimes.acp") for name in late)


def modules(log: str) -> set[str]:
    """Return the modules whose import Python reports in a log."""
    return {line.rsplit("|", 1)[1].strip() for line in log.splitlines() if line.startswith("import time:")}


def libraries(names: set[str]) -> set[str]:
    """Return the packages that were installed beside hive."""
    installed = {top for top in packages_distributions() if not top.startswith("_")}
    return {name.partition(".")[0] for name in names} & installed - {"harness", "meta"}


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
