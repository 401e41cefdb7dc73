"""A hive that is a year old beside one with the same agents that is young. `python -m tests.bench.old`.

A real daemon in a process of its own, with backend `fake`. The commands run in this process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.bench.figure import Figure, figure
from tests.support.lab import Lab, discard
from tests.support.old_hive import BUSY, YEAR, YOUNG, Age, cached

RUNS = 3
COMMANDS = (
    ("status",),
    ("pending", "--all"),
    ("pending", "--refused"),
    ("history", str(BUSY)),
    ("log",),
    ("inbox",),
    ("events",),
    ("plan",),
    ("questions",),
    ("loose-ends",),
    ("dead-letters",),
    ("attention",),
    ("list",),
)
ONCE = (("doctor",), ("audit", "verify"))
"""Commands that read everything there is."""


def measure() -> Iterator[Figure]:
    """Start, each command that reads, doctor, audit, backup, one deploy and memory: young, then old."""
    young, old = dict(_all(YOUNG, "y")), dict(_all(YEAR, "o"))
    for name, runs in old.items():
        unit = "MB" if name == "memory" else "ms"
        yield figure(f"hive of a year: {name}", unit, runs, floor=young[name])


def _all(age: Age, letter: str) -> Iterator[tuple[str, list[float]]]:
    directory = Path(f"/tmp/hive-{os.getpid()}-{letter}")
    discard(directory)
    directory.mkdir(mode=0o755)
    lab = Lab(directory, {"HIVE_RESYNC": "600", "HIVE_HEALTH_DEADLINE": "60"}, backend="fake")
    try:
        cached(age, directory)
        yield "start", [_timed(lab.start)]
        yield "start until nothing is left to do", [_timed(lambda: _settle(lab))]
        for words in COMMANDS:
            yield f"hive {' '.join(words)} --json", [_timed(partial(lab.hive, *words, "--json")) for _ in range(RUNS)]
        for words in ONCE:
            yield f"hive {' '.join(words)}", [_timed(partial(lab.hive, *words))]
        yield "hive backup", [_timed(lambda: lab.hive("backup", str(directory / "backup.tar")))]
        lab.propose("", str(BUSY))  # the clone reads all tags: that is the person's git
        yield "a deploy", [_timed(lambda: lab.deploy('label = "new"', str(BUSY)))]
        yield "memory", [_memory(lab.pid)]
    finally:
        lab.kill()
        discard(directory)


def _settle(lab: Lab) -> None:
    for name in ("manager", str(BUSY)):
        lab.get("/api/wait", agent=name, timeout=60)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _memory(pid: int) -> float:
    """Return the resident set of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    for one in measure():
        sys.stdout.write(f"{one}\n")
        sys.stdout.flush()
