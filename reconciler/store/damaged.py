"""Databases that were damaged and moved aside. Status, doctor and metrics report them until the file is moved away."""

from __future__ import annotations

from pathlib import Path

LOST = "messages, events and crash counters in it are not in the new one"
REMEDY = "look at it, then move it out of the state directory: that ends this warning"


def files(database: Path) -> tuple[Path, ...]:
    """Return the files `hive.db.corrupt-<time>` beside `database`, oldest first, without their side files."""
    try:
        paths = sorted(database.parent.glob(f"{database.name}.corrupt-*"))
    except OSError:
        return ()
    return tuple(path for path in paths if not path.name.endswith(("-wal", "-shm")))


def describe(database: Path) -> str:
    """Return a sentence about the damaged files beside `database`, or "" if there are none."""
    paths = files(database)
    if not paths:
        return ""
    older = f" (and {len(paths) - 1} before it)" if len(paths) > 1 else ""
    return f"the database was damaged and is now {paths[-1]}{older}: {LOST}"
