"""A watch on folders. A hint means that an entry in one of them changed; it does not say which. Not recursive.

The owner of a folder may replace it with a symlink before it is watched: that costs one watch and gives useless hints.
If the kernel has no watches left, `complaint` has the reason, and the caller has to poll.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, awatch

log = logging.getLogger(__name__)
# watchfiles logs every change at INFO, too many lines to find others between them.
logging.getLogger("watchfiles").setLevel(logging.WARNING)

STEP_MS = 10
"""Milliseconds: changes that follow each other faster are one batch of hints."""
DEBOUNCE_MS = 200
"""Milliseconds after which a batch is reported at the latest."""
UNREPORTED = 2.0
"""Seconds during which a change may be held back, and lost if the watch ends. This is longer than DEBOUNCE_MS."""
COALESCE = 0.05
"""Seconds between a request for other folders and watching them. Requests often come in groups."""
SHARE = 20
"""Setting watches takes at most one part in SHARE of the time, even if folders are created and removed all the time."""
VANISHED = 3
"""Attempts in a row that are repeated at once because a folder vanished just before it was watched."""
RETRY = 30.0
"""Seconds from a failure to the next attempt to watch."""

Hints = Iterable[tuple[Path, bool]]
"""Paths that may have changed, each with True if it was removed."""
Arm = Callable[[list[Path], asyncio.Event], AsyncIterator[Hints]]
"""Watches the folders until the event is set. Yields batches of hints."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder with its inode: a new folder at the same path needs a new watch."""

    path: Path
    inode: int

    @classmethod
    def of(cls, path: Path) -> Folder:
        """Return the folder as it is now, with inode 0 if it cannot be watched: missing, no directory, unreadable."""
        try:
            status = path.lstat()
        except OSError:
            return cls(path, 0)
        readable = os.access(path, os.R_OK | os.X_OK, effective_ids=True) if path.is_dir() else False
        return cls(path, status.st_ino if readable and not path.is_symlink() else 0)

    def changed_within(self, seconds: float) -> bool:
        """Return True if an entry of the folder was added, removed or renamed within `seconds`."""
        try:
            return time.time() - self.path.lstat().st_mtime < seconds
        except OSError:
            return True


async def arm(folders: list[Path], stop: asyncio.Event) -> AsyncIterator[Hints]:
    """Yield hints, batch by batch. Set the watches before the first wait; raise OSError if one cannot be set."""
    changes = awatch(
        *folders,
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        stop_event=stop,
        recursive=False,
        force_polling=False,
        ignore_permission_denied=False,  # True would make watchfiles ignore a lack of watches, too
    )
    async for batch in changes:
        yield [(Path(path), change is Change.deleted) for change, path in batch]


class Watch:
    """The watched folders of one daemon. Calls `on_hint` on the event loop with each path that may have changed.

    `complaint` is the reason why nothing is watched now, or None. `failing` is set while there is one.
    """

    def __init__(self, on_hint: Callable[[Path], None], arm: Arm = arm, retry: float = RETRY) -> None:
        self._on_hint = on_hint
        self._arm = arm
        self._retry = retry
        self._wanted: dict[Hashable, frozenset[Folder]] = {}
        self._changed = asyncio.Event()
        self._watches: _WatchSet | None = None
        self.complaint: str | None = None
        self.failing = asyncio.Event()

    def want(self, key: Hashable, paths: Iterable[Path]) -> None:
        """Watch these folders for `key`, in place of the folders that it wanted before."""
        wanted = frozenset(folder for folder in map(Folder.of, paths) if folder.inode)
        if wanted != self._wanted.get(key, frozenset()) or not wanted <= self._watched():
            self._wanted[key] = wanted
            self._changed.set()

    def _watched(self) -> frozenset[Folder]:
        """Return the folders that are watched now.

        A folder that was removed and restored has no watch, although its path is the same.
        """
        return self._watches.watched() if self._watches is not None else frozenset()

    async def run(self) -> None:
        """Watch until cancelled."""
        vanished = 0
        try:
            while True:
                self._changed.clear()
                began = time.monotonic()
                watches = _WatchSet(self._existing(), self._arm, self._on_hint, self._changed.set)
                await asyncio.sleep(0)  # its first step sets the watches, or fails
                took = time.monotonic() - began
                before, earlier, self._watches = self._watched(), self._watches, watches
                if earlier is not None:
                    await earlier.end()  # only now, because the new ones are set; changes that it held back are lost
                vanished = vanished + 1 if watches.vanished() else 0
                if not 0 < vanished <= VANISHED:
                    self._set_complaint(watches.complaint())
                    for folder in watches.folders:
                        if folder not in before or folder.changed_within(UNREPORTED):
                            # it may have changed before its watch was set, or the earlier watch lost the change
                            self._on_hint(folder.path)
                    await self._wait(watches)
                await asyncio.sleep(max(COALESCE, SHARE * took))
        finally:
            if self._watches is not None:
                await self._watches.end()

    def _existing(self) -> frozenset[Folder]:
        """Return the wanted folders that still exist. If one is missing, the others cannot be watched either."""
        wanted = frozenset().union(*self._wanted.values())
        return frozenset(folder for folder in wanted if Folder.of(folder.path) == folder)

    async def _wait(self, watches: _WatchSet) -> None:
        """Wait until one of these happens: other folders are wanted, a watched one is removed, watching ends, a retry
        is due.
        """
        changed = asyncio.ensure_future(self._changed.wait())
        failed = watches.complaint() is not None
        ended = set() if failed or not watches.folders else {watches.task}
        try:
            timeout = self._retry if failed else None
            await asyncio.wait({changed, *ended}, timeout=timeout, return_when="FIRST_COMPLETED")
        finally:
            changed.cancel()
        if watches.task.done():
            watches.task.result()  # raises an error of hive's own, which ends the watch

    def _set_complaint(self, complaint: str | None) -> None:
        if complaint != self.complaint and complaint is not None:
            log.warning("%s", complaint)
        self.complaint = complaint
        if complaint is None:
            self.failing.clear()
        else:
            self.failing.set()


class _WatchSet:
    """The watches that are set at one time. Calls `on_remove` after a watched folder was removed, with its watch."""

    def __init__(
        self,
        folders: frozenset[Folder],
        arm: Arm,
        on_hint: Callable[[Path], None],
        on_remove: Callable[[], None],
    ) -> None:
        self.folders = folders
        self._arm = arm
        self._on_hint = on_hint
        self._on_remove = on_remove
        self._removed: set[Path] = set()
        self._stop = asyncio.Event()
        self._error: Exception | None = None
        self.task = asyncio.create_task(self._run(), name="watching")

    async def _run(self) -> None:
        if not self.folders:
            return
        paths = {folder.path for folder in self.folders}
        try:
            async for batch in self._arm(sorted(paths), self._stop):
                for path, removed in batch:
                    if removed and path in paths:
                        self._removed.add(path)
                        self._on_remove()
                    self._on_hint(path)
        except (OSError, RuntimeError) as error:
            self._error = error

    def watched(self) -> frozenset[Folder]:
        """Return the folders that still have their watch."""
        if self.task.done():
            return frozenset()
        return frozenset(folder for folder in self.folders if folder.path not in self._removed)

    def vanished(self) -> bool:
        """Return True if a folder was removed before it was watched."""
        return isinstance(self._error, FileNotFoundError)

    def complaint(self) -> str | None:
        """Return the reason why watching failed, if it did."""
        if self._error is None:
            return None
        text = str(self._error)
        if "watch limit" in text or "os error 28" in text:
            reason = "the kernel has no inotify watches left (raise fs.inotify.max_user_watches)"
        elif "os error 24" in text:
            reason = "the kernel has no inotify instances left (raise fs.inotify.max_user_instances), or no descriptors"
        else:
            reason = f"watching failed ({text[:200]})"
        return f"{reason}: proposed repos are looked at every second instead"

    async def end(self) -> None:
        """Stop watching, and wait until the task ends."""
        self._stop.set()
        await asyncio.wait({self.task}, timeout=5)
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
