"""The restore of a backup: it is extracted to a directory of its own, checked there, then renamed into place.

The tar is not trusted. Only plain files (and directories of agents) with the names of archive.py are extracted; each
must have the hash of the manifest, and none may be missing. Configuration, hooks and alternates of a repo are never
in a backup: hive writes its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from meta.errors import BadInput, Conflict, NotFound, Refused
from meta.layout import Layout
from meta.process.disk import disk_error
from reconciler.upkeep.backups import archive
from reconciler.upkeep.backups.archive import Manifest
from reconciler.upkeep.backups.extract import Owner, extract
from reconciler.upkeep.backups.write import held

_MACHINES = Path("/run/systemd/machines")
_STATE_MODE = 0o711


class Part(StrEnum):
    """A part that can be restored alone, while agents keep running."""

    META = "meta"
    APPLIED = "applied"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore. `aside`: the paths of the previous files now."""

    manifest: Manifest
    aside: tuple[Path, ...]


def restore(
    source: Path, layout: Layout, *, force: bool = False, only: Part | None = None, new_owner: bool = False
) -> Restored:
    """Restore the backup `source` to the state directory, while no daemon runs there.

    Without `force` or `only` the directory must be empty or absent. `force` moves its content aside. `only` replaces
    one part and moves the old part aside. `new_owner` sets a new id, for a copy beside the original. Raise BadInput
    (not a sound backup), Conflict (a daemon runs, the directory is not empty), Refused (agents run).
    """
    state = layout.state
    try:
        with contextlib.ExitStack() as stack:
            if state.exists():
                stack.enter_context(held(layout))
            _check_place(layout, force, only)
            owner = _owner_of(state)
            within = state.exists() and (only is not None or not force)
            folder = state if within else state.parent
            folder.mkdir(parents=True, exist_ok=True)
            staging = folder / f".{state.name}.restore-{secrets.token_hex(4)}"
            staging.mkdir(mode=0o700)
            stack.callback(_discard, staging)
            manifest = extract(source, staging, owner)
            if new_owner:
                (staging / archive.OWNER).write_text(secrets.token_hex(16), encoding="ascii")
            os.sync()  # one sync for all files: one per file would take a thousand times as long
            stamp = _stamp(state)
            if only is not None:
                return Restored(manifest, tuple(_replace(staging, layout, only, stamp)))
            return Restored(manifest, tuple(_move_into_place(staging, state, owner, stamp, within=within)))
    except OSError as error:
        raise disk_error(f"cannot restore to {state} ({error.filename or source})", error) from error


def _stamp(state: Path) -> str:
    """Return the suffix for files that are moved aside now. It has a number if the same second has one already."""
    first = time.strftime("before-%Y%m%dT%H%M%SZ", time.gmtime())
    taken = [path.name for folder in (state.parent, state) if folder.is_dir() for path in folder.iterdir()]
    at, stamp = 2, first
    while any(name.endswith((stamp, f"{stamp}-wal", f"{stamp}-shm")) for name in taken):
        at, stamp = at + 1, f"{first}-{at}"
    return stamp


def _check_place(layout: Layout, force: bool, only: Part | None) -> None:
    state = layout.state
    if only is not None:
        if not layout.meta_git.is_dir() and only is not Part.META:
            raise NotFound(f"there is no hive in {state}", "without --only everything is restored")
        return
    if not state.exists() or not {path.name for path in state.iterdir()} - {layout.lock.name}:
        return
    if not force:
        hint = "--force moves it aside; --only meta, applied or database replaces one part"
        raise Conflict(f"{state} is not empty", hint)
    running = sorted(_running(layout))
    if running:
        raise Refused(
            f"agents still run there: {', '.join(running)}",
            "start the daemon, `hive stop` them, stop the daemon",
        )


def _running(layout: Layout) -> Iterator[str]:
    """Return the agents that run: of backend local by the lock of their supervisor, of nixos by their containers."""
    for lock in layout.backend("local").glob("*/lock"):
        descriptor = os.open(lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield lock.parent.name
        finally:
            os.close(descriptor)
    for folder in layout.backend("nixos").glob("*/"):  # systemd-machined has a file for each machine that runs
        if (_MACHINES / folder.name).exists():
            yield folder.name


def _owner_of(state: Path) -> Owner:
    """Return the owner of the state directory. If it does not exist yet, return the caller."""
    if not state.exists():
        return Owner(os.geteuid(), os.getegid())
    status = state.stat()
    return Owner(status.st_uid, status.st_gid)


def _move_into_place(staging: Path, state: Path, owner: Owner, stamp: str, *, within: bool) -> Iterator[Path]:
    """Move all files into place. Yield the paths of the previous ones."""
    if within:
        for path in sorted(staging.iterdir()):
            path.rename(state / path.name)
        return
    staging.chmod(_STATE_MODE)
    if os.geteuid() == 0:
        os.chown(staging, owner.uid, owner.gid)
    if state.exists():
        aside = state.with_name(f"{state.name}.{stamp}")
        state.rename(aside)
        yield aside
    staging.rename(state)


def _replace(staging: Path, layout: Layout, part: Part, stamp: str) -> Iterator[Path]:
    """Move one part into place. Yield the paths of the previous one."""
    state = layout.state
    if part is Part.DATABASE:
        if not (staging / archive.DATABASE).is_file():
            raise BadInput("the backup has no database", "there was none when it was made")
        for path in [layout.database, *(layout.database.with_name(f"hive.db{end}") for end in ("-wal", "-shm"))]:
            if path.exists():
                yield path.rename(path.with_name(path.name.replace("hive.db", f"hive.db.{stamp}", 1)))
        (staging / archive.DATABASE).rename(layout.database)
        return
    if part is Part.META:
        yield from _swap(staging / "meta" / ".git", layout.meta_git, state / f"meta.{stamp}")
        return
    for path in sorted((staging / "applied").iterdir()):
        yield from _swap(path / ".git", state / "applied" / path.name / ".git", state / f"applied.{stamp}" / path.name)


def _swap(new: Path, place: Path, aside: Path) -> Iterator[Path]:
    """Move a repo into place. Its directory stays, because containers have it bound."""
    if place.exists():
        aside.mkdir(parents=True, exist_ok=True)
        place.rename(aside / ".git")
        yield aside
    place.parent.mkdir(parents=True, exist_ok=True)
    new.rename(place)


def _discard(staging: Path) -> None:
    """Remove the rest, even below directories that are not writable."""
    with contextlib.suppress(OSError):
        for folder, _, _ in os.walk(staging):
            Path(folder).chmod(0o700)
    shutil.rmtree(staging, ignore_errors=True)
