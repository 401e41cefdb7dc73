"""A hive with 100 agents that do nothing: what that costs, and how fast it still is. `python -m tests.bench.idle`.

A real daemon in a process of its own, with backend `fake`: its agents cost nothing, so what is measured is hive's.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from meta.config import Config
from tests.bench.discovery import WHY, proposed, seen
from tests.bench.figure import Figure, figure
from tests.support.lab import fresh_lab

AGENTS = 100
RESYNC = Config().resync
WINDOWS = 3
PUSHES = 15
SETTINGS = {"HIVE_RESYNC": str(RESYNC), "HIVE_FINDS_PER_MINUTE": "1000", "HIVE_HEALTH_DEADLINE": "60"}


def measure() -> Iterator[Figure]:
    """CPU and processes over WINDOWS times RESYNC seconds, watches, then pushes."""
    with fresh_lab("i", SETTINGS, backend="fake") as lab:
        lab.spawn("alice", *(f"a{number}" for number in range(1, AGENTS)))
        lab.settle()
        shares, faults = [], []
        for _ in range(WINDOWS):
            share, fault = window(lab.pid)
            shares.append(share)
            faults.append(fault)
        yield figure(
            f"idle daemon with {AGENTS} agents, resync {RESYNC:g} s: CPU of one core", "%", shares, at_most=1.0
        )
        yield figure(f"idle daemon with {AGENTS} agents: page faults of its children", "", faults, at_most=0.0)
        yield figure(f"inotify watches with {AGENTS} agents", "", [float(watches(lab.pid))])
        timed: dict[str, list[float]] = {"seen": [], "proposed": []}
        for number in range(PUSHES):
            timed["seen"].append(seen(lab, number))
            timed["proposed"].append(proposed(lab, number))
        yield figure(
            f"push to card with {AGENTS} agents", "ms", timed["seen"], floor=timed["proposed"], at_most=300, why=WHY
        )


def window(pid: int) -> tuple[float, float]:
    """Percent of a core that the daemon used for RESYNC seconds; page faults of children that ended (0 = had none)."""
    before, began = usage(pid), time.perf_counter()
    time.sleep(RESYNC)
    after, took = usage(pid), time.perf_counter() - began
    return (after[0] - before[0]) / took * 100, float(after[1] - before[1])


def usage(pid: int) -> tuple[float, int]:
    """CPU seconds of all threads, with the kernel's nanoseconds; minor faults of children that were waited for."""
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the thread ended meanwhile
            spent += int((task / "schedstat").read_text().split()[0])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return spent / 1e9, int(fields[8])


def watches(pid: int | str = "self") -> int:
    """inotify watches that a process holds."""
    return sum(_held(entry) for entry in os.scandir(f"/proc/{pid}/fdinfo"))


def _held(entry: os.DirEntry[str]) -> int:
    try:
        return Path(entry.path).read_text(encoding="ascii").count("inotify wd:")
    except FileNotFoundError:  # closed since
        return 0


if __name__ == "__main__":
    for one in measure():
        sys.stdout.write(f"{one}\n")
        sys.stdout.flush()
