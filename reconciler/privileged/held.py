"""Count what a container's directories hold: the daemon, which is not root, may not read them.

`du` follows no symlink and enters no other file system. It remembers every file that has several names, so its address
space is bounded. Unlinked files that a process holds open are not counted: the helper may not look into processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.errors import HiveError
from reconciler.privileged.command import Run

MEMORY = 512 * 2**20
"""Address space of one `du`."""


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes and inodes that were counted. `complete`: these are all."""

    bytes: int
    inodes: int
    complete: bool


def count(run: Run, places: Sequence[str | Path], seconds: float) -> Held:
    """Count files and directories of `places`, as far as those exist and `du` ends in time."""
    paths = [str(path) for path in places if os.path.lexists(path)]
    kib, all_bytes = _du(run, "-k", paths, seconds)
    inodes, all_inodes = _du(run, "--inodes", paths, seconds)
    return Held(kib * 1024, inodes, all_bytes and all_inodes)


def _du(run: Run, unit: str, paths: Sequence[str], seconds: float) -> tuple[int, bool]:
    if not paths:
        return 0, True
    argv = ("prlimit", f"--as={MEMORY}", "du", "-s", "-x", "-c", unit, "--", *paths)
    try:
        ended = run(argv, deadline=seconds)
    except HiveError:
        return 0, False
    total = ended.stdout.decode("utf-8", "replace").rpartition("\ttotal")[0].rpartition("\n")[2]
    if not total.isdigit():
        return 0, False
    return int(total), ended.code == 0 or all(
        line.endswith("No such file or directory") for line in ended.errors.splitlines()
    )
