"""Two hundred reconciles, quiet ones and ones with work: no child, thread or descriptor is left over."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.lab import Lab

RECONCILES = 200
BUSY = 40
"""Every so many reconciles there is something to do."""
pytestmark = pytest.mark.lab(agents=("alice", "bob"), settings={"HIVE_RESYNC": "60"}, backend="fake", fresh=True)


def descriptors(pid: int) -> Counter[str]:
    """What the process has open, as kinds and paths: pipes and sockets without their numbers."""
    found: Counter[str] = Counter()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found[str(path.readlink()).split(":")[0]] += 1
    return found


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def children(pid: int) -> list[str]:
    return [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def work(lab: Lab, rounds: int) -> None:
    for number in range(rounds):
        if number % BUSY == 0:
            lab.deploy(f'label = "{number}"\n')
        elif number % BUSY == BUSY // 2:
            lab.do("bob", "restart" if number % 4 else "rebuild")
        lab.post("/api/reconcile")
    lab.settle()


@pytest.mark.full
def test_two_hundred_reconciles_leave_no_extra_child_thread_or_descriptor(lab: Lab) -> None:
    work(lab, BUSY // 2 + 1)  # what is made once, at the first use
    pool = min(32, (os.cpu_count() or 1) + 4)
    # a look at the disk may be under way, and an earlier connection not closed yet
    before = lab.until(lambda: None if children(lab.pid) else (descriptors(lab.pid), threads(lab.pid)))
    work(lab, RECONCILES)
    lab.until(lambda: descriptors(lab.pid) <= before[0])
    assert children(lab.pid) == []
    assert threads(lab.pid) <= before[1] + pool, "more than asyncio's own pool"
    assert list(lab.layout.processes.iterdir()) == []
    assert list(lab.layout.scratch.iterdir()) == list(lab.layout.quarantine.iterdir()) == []
