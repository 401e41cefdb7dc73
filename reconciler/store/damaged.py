"""Databases that were damaged and moved aside. Until somebody looked, that is said wherever hive says how it is."""

from __future__ import annotations

from pathlib import Path

LOST = "messages, events and crash counters in it are not in the new one"
REMEDY = "look at it, then move it out of the state directory: that ends this warning"


def set_aside(database: Path) -> tuple[Path, ...]:
    """The files `hive.db.corrupt-<time>` beside `database`, oldest first, without their side files."""
    try:
        found = sorted(database.parent.glob(f"{database.name}.corrupt-*"))
    except OSError:
        return ()
    return tuple(path for path in found if not path.name.endswith(("-wal", "-shm")))


def described(paths: tuple[Path, ...]) -> str:
    """In words; "" where there is none."""
    if not paths:
        return ""
    older = f" (and {len(paths) - 1} before it)" if len(paths) > 1 else ""
    return f"the database was damaged and is now {paths[-1]}{older}: {LOST}"
