"""The writing of a backup: one tar of all files that cannot be made again, consistent while the daemon runs.

Refs are read under meta's lock, so that no deploy commits to meta meanwhile. Objects are read afterwards. hive may add
some meanwhile, but it removes those of denied proposals only after the backup (`meta/git/packs.py`). The database is
copied first: an older one is corrected by the tags.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

from meta import own_file
from meta.errors import Conflict, NotFound, TransientError
from meta.git import packs
from meta.git.files import read_refs
from meta.git.frame import check_frame
from meta.layout import Layout
from meta.names import Sha
from meta.process.disk import disk_error
from reconciler.store import offline
from reconciler.upkeep.backups.archive import Manifest
from reconciler.upkeep.backups.packing import Moved, Origin, Packing, Refs, Wanted, agents_in

__all__ = ["Origin", "Wanted", "held", "write"]

T = TypeVar("T")
_TRIES = 3
_LOOKS = 50


async def write(
    layout: Layout, target: Path, wanted: Wanted, origin: Origin, still: AbstractAsyncContextManager[object]
) -> Manifest:
    """Write the backup to `target` (mode 0600), compressed if its name ends in "gz".

    While `still` is entered nothing commits to meta. Raise TransientError if the disk is full, and PermanentError if a
    file may not be read or written. A cancelled call leaves no file behind.
    """
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    database = scratch.with_name(f"{scratch.name}.db")
    stop = threading.Event()
    try:
        for attempt in range(_TRIES):
            await _in_thread(lambda: _copy_database(layout, database), stop)
            with packs.reading(layout.applied_repos):
                async with still:
                    refs = await _in_thread(lambda: _snapshot(layout), stop)
                try:
                    packing = Packing(layout, wanted, origin, stop)
                    return await _in_thread(partial(packing.archive, scratch, target, database, refs), stop)
                except Moved:
                    if attempt == _TRIES - 1:
                        raise
        raise AssertionError("unreachable: the last try raises")
    except OSError as error:
        raise disk_error(f"cannot write the backup {target} ({error.filename or scratch})", error) from error
    finally:
        for leftover in (scratch, database, database.with_name(f"{database.name}-journal")):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def held(layout: Layout) -> Iterator[None]:
    """Hold the state directory's lock, for work without a daemon. Raise Conflict if one runs."""
    try:
        descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise disk_error(f"cannot lock {layout.state}", error) from error
    try:
        if os.geteuid() == 0:  # the daemon's user must be able to take it
            owner = layout.state.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"a daemon runs in {layout.state}", "stop it first: agents keep running") from error
        yield
    finally:
        os.close(descriptor)


async def _in_thread(work: Callable[[], T], stop: threading.Event) -> T:
    """Run `work` in a thread. If the caller is cancelled, set `stop` and wait until the thread has ended."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.gather(running, return_exceptions=True)
        raise


def _copy_database(layout: Layout, copy: Path) -> None:
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    with contextlib.suppress(NotFound):  # then the backup has none, and a restore begins with a new one
        offline.copy(layout.database, copy)


def _snapshot(layout: Layout) -> Refs:
    if not check_frame(layout.meta_git):
        raise NotFound(f"there is no hive in {layout.state}", "name its directory with --state")
    repos = [layout.meta_git, *(layout.applied_git(name) for name in agents_in(layout.state / "applied"))]
    refs = {}
    for git_dir in repos:
        if check_frame(git_dir):
            refs[git_dir.relative_to(layout.state).as_posix()] = _refs(git_dir)
    return refs


def _refs(git_dir: Path) -> dict[str, Sha]:
    """Read every ref until two reads agree, because a transaction moves one ref after the other."""
    before = None
    for _ in range(_LOOKS):
        now = read_refs(git_dir, sorted(_ref_folders(git_dir)))
        if now == before:
            return now
        before = now
    raise TransientError(f"the refs of {git_dir} are moved continuously", "try again")


def _ref_folders(git_dir: Path) -> set[str]:
    """Return every folder of refs, including packed refs."""
    folders = {Path(folder).relative_to(git_dir).as_posix() for folder, _, _ in os.walk(git_dir / "refs")}
    with contextlib.suppress(FileNotFoundError):
        for line in own_file.read(git_dir / "packed-refs", own_file.LARGE).decode("utf-8", "replace").splitlines():
            folders.add(line.partition(" ")[2].rpartition("/")[0])
    return {folder for folder in folders if folder.startswith("refs")}
