"""Watching folders: hints that something in one of them changed, never what. Not recursive, whatever lies below.

A path may lead elsewhere by the time that it is watched (its owner can put a symlink there): that costs one watch and
gives hints that say nothing. When the kernel has no watches left, `complaint` says so and the caller looks by itself.
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
# It says every change at INFO and would drown the rest.
logging.getLogger("watchfiles").setLevel(logging.WARNING)

STEP_MS = 10
"""Changes that follow each other faster are one hint..."""
DEBOUNCE_MS = 200
"""...which comes after this time at the latest."""
UNTOLD = 2.0
"""Seconds: more than DEBOUNCE_MS, for which watches that end may keep a change to themselves."""
COALESCE = 0.05
"""Seconds between the wish for other folders and watching them: wishes come in swarms."""
SHARE = 20
"""Setting the watches takes at most one part in so many of the time, whoever makes and removes folders all the time."""
VANISHED = 3
"""Times in a row that a folder may vanish just before it is watched."""
RETRY = 30.0
"""Seconds until watching is tried again after it failed."""

Hints = Iterable[tuple[Path, bool]]
"""Paths that may have changed, and whether something was removed there."""
Arm = Callable[[list[Path], asyncio.Event], AsyncIterator[Hints]]


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as it was seen: a new one under the same path needs a watch of its own."""

    path: Path
    inode: int

    @classmethod
    def of(cls, path: Path) -> Folder:
        """As it is now; inode 0 when it cannot be watched: gone, no directory, or not readable."""
        try:
            found = path.lstat()
        except OSError:
            return cls(path, 0)
        readable = os.access(path, os.R_OK | os.X_OK, effective_ids=True) if path.is_dir() else False
        return cls(path, found.st_ino if readable and not path.is_symlink() else 0)

    def changed_within(self, seconds: float) -> bool:
        """Whether something came, went or was renamed in it so lately."""
        try:
            return time.time() - self.path.lstat().st_mtime < seconds
        except OSError:
            return True


async def arm(folders: list[Path], stop: asyncio.Event) -> AsyncIterator[Hints]:
    """Hints, batch by batch. The watches are set before the first wait. OSError when one cannot be set."""
    changes = awatch(
        *folders,
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        stop_event=stop,
        recursive=False,
        force_polling=False,
        ignore_permission_denied=False,  # True makes watchfiles pass over a lack of watches, too
    )
    async for batch in changes:
        yield [(Path(path), change is Change.deleted) for change, path in batch]


class Watch:
    """All watched folders of one daemon. `on_hint` is called on the loop with a path that may have changed.

    `failing` is set while there is a `complaint`.
    """

    def __init__(self, on_hint: Callable[[Path], None], arm: Arm = arm, retry: float = RETRY) -> None:
        self.on_hint = on_hint
        self.arm = arm
        self._retry = retry
        self._wanted: dict[Hashable, frozenset[Folder]] = {}
        self._other = asyncio.Event()
        self._watching: _Watching | None = None
        self.complaint: str | None = None
        self.failing = asyncio.Event()

    def want(self, what: Hashable, paths: Iterable[Path]) -> None:
        """From now on these folders are watched for `what`, and no others for it."""
        wanted = frozenset(folder for folder in map(Folder.of, paths) if folder.inode)
        if wanted != self._wanted.get(what, frozenset()) or not wanted <= self._kept():
            self._wanted[what] = wanted
            self._other.set()

    def _kept(self) -> frozenset[Folder]:
        """What is watched now: a folder that went away may come back as it was, and has no watch then."""
        return self._watching.kept() if self._watching is not None else frozenset()

    async def run(self) -> None:
        """Watch until cancelled."""
        vanished = 0
        try:
            while True:
                self._other.clear()
                began = time.monotonic()
                begun = _Watching(self._there(), self)
                await asyncio.sleep(0)  # its first step sets the watches, or fails
                took = time.monotonic() - began
                before, earlier, self._watching = self._kept(), self._watching, begun
                if earlier is not None:
                    await earlier.end()  # only now: the new ones are set; what it had seen and not yet told is lost
                vanished = vanished + 1 if begun.vanished() else 0
                if not 0 < vanished <= VANISHED:
                    self._say(begun.trouble())
                    for folder in begun.folders:
                        if folder not in before or folder.changed_within(UNTOLD):
                            self.on_hint(folder.path)  # what came before its watch, or was not told by the earlier one
                    await self._until_other(begun)
                await asyncio.sleep(max(COALESCE, SHARE * took))
        finally:
            if self._watching is not None:
                await self._watching.end()

    def _there(self) -> frozenset[Folder]:
        """What is wanted and still there: one that is not would keep all the others from being watched."""
        wanted = frozenset().union(*self._wanted.values())
        return frozenset(folder for folder in wanted if Folder.of(folder.path) == folder)

    async def _until_other(self, watching: _Watching) -> None:
        """Until other folders are wanted, or watching ended, or it is time to try again."""
        other = asyncio.ensure_future(self._other.wait())
        failed = watching.trouble() is not None
        ended = set() if failed or not watching.folders else {watching.task}
        try:
            await asyncio.wait({other, *ended}, timeout=self._retry if failed else None, return_when="FIRST_COMPLETED")
        finally:
            other.cancel()
        if watching.task.done():
            watching.task.result()  # an error that is no trouble with watching ends the watch, and is not lost

    def gone(self, _folder: Path) -> None:
        """A watched folder was removed, and its watch with it: what comes in its place needs another."""
        self._other.set()

    def _say(self, complaint: str | None) -> None:
        if complaint != self.complaint and complaint is not None:
            log.warning("%s", complaint)
        self.complaint = complaint
        if complaint is None:
            self.failing.clear()
        else:
            self.failing.set()


class _Watching:
    """One set of watches."""

    def __init__(self, folders: frozenset[Folder], watch: Watch) -> None:
        self.folders = folders
        self._watch = watch
        self._removed: set[Path] = set()
        self._stop = asyncio.Event()
        self._error: Exception | None = None
        self.task = asyncio.create_task(self._run(), name="watching")

    async def _run(self) -> None:
        if not self.folders:
            return
        paths = {folder.path for folder in self.folders}
        try:
            async for batch in self._watch.arm(sorted(paths), self._stop):
                for path, removed in batch:
                    if removed and path in paths:
                        self._removed.add(path)
                        self._watch.gone(path)
                    self._watch.on_hint(path)
        except (OSError, RuntimeError) as error:
            self._error = error

    def kept(self) -> frozenset[Folder]:
        """What is watched still."""
        if self.task.done():
            return frozenset()
        return frozenset(folder for folder in self.folders if folder.path not in self._removed)

    def vanished(self) -> bool:
        """Whether a folder went away before it was watched."""
        return isinstance(self._error, FileNotFoundError)

    def trouble(self) -> str | None:
        """Why it ended, if it did."""
        if self._error is None:
            return None
        text = str(self._error)
        if "watch limit" in text or "os error 28" in text:
            why = "the kernel has no inotify watches left (raise fs.inotify.max_user_watches)"
        elif "os error 24" in text:
            why = "the kernel has no inotify instances left (raise fs.inotify.max_user_instances)"
        else:
            why = f"watching failed ({text[:200]})"
        return f"{why}: proposed repos are looked at every second instead"

    async def end(self) -> None:
        """Stop and await it."""
        self._stop.set()
        await asyncio.wait({self.task}, timeout=5)
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
