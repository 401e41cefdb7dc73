"""The allocation table on the disk, for the harness and for each of its sub-agents. Every method waits for the disk.

One process at a time has the table, by a lock beside it; so none changes a file that another one sets aside. Whoever
changes the table first takes back what belongs to processes that have ended: there is no other reaper.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.events.database import Unavailable
from harness.subagents.leases import database, table
from harness.subagents.leases.table import Alive, Table
from meta.errors import DiskFull, TransientError
from meta.process.identity import ProcessIdentity, open_pidfd
from meta.scope.rules import Rule, Scope

log = logging.getLogger(__name__)

LOCK_SECONDS = 5.0
"""Seconds to wait for the lock. A change takes milliseconds."""
RETRY_SECONDS = 1.0

_PAUSE = 0.01
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def is_alive(owner: ProcessIdentity) -> bool:
    """Return True if exactly this process runs, or if the host cannot say: a lease is never taken away in doubt."""
    try:
        pidfd = open_pidfd(owner)
    except OSError as error:
        log.warning("nobody can say whether process %d runs: %s", owner.pid, error)
        return True
    if pidfd is None:
        return False
    os.close(pidfd)
    return True


class LeaseStore:
    """The table at `path`. `lost` counts the damaged tables that this object set aside; each began anew, empty.

    Every method raises TransientError (DiskFull) if the file cannot be used now, and what its decision raises. The
    table is then as it was. A pod that is in no table registers again: another process has set a damaged one aside.
    """

    def __init__(self, path: Path, alive: Alive = is_alive, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        self._alive = alive
        self._clock = clock
        self.lost = 0

    def read(self) -> Table:
        """Return the table as it is, with what belongs to the dead."""
        return self.change(lambda now: now)

    def living(self) -> Table:
        """Return the table as the next change finds it, without the dead. It writes nothing, so a full disk is fine."""
        return table.reclaim(self.read(), self._alive)[0]

    def change(self, decide: Callable[[Table], Table]) -> Table:
        """Replace the table by what `decide` makes of it, and return that. Nobody changes it in between."""
        with self._locked():
            try:
                try:
                    return database.change(self._path, decide)
                except Unavailable as error:
                    if not error.damaged:
                        raise
                    self._set_aside(error)
                    return database.change(self._path, decide)
            except Unavailable as error:
                raise self._unusable(error) from error

    def register(self, pod: str, owner: ProcessIdentity, socket: str, scope: Scope) -> Table:
        """See `table.register`."""
        return self.change(lambda now: table.register(now, pod, owner, socket, scope, self._alive))

    def reserve(self, pod: str, spawner: str, socket: str, allow: Iterable[Rule], deny: Iterable[Rule] = ()) -> Table:
        """See `table.reserve`. The targets are canonical for the CLI (harness.subagents.targets)."""
        rules, caps = tuple(allow), tuple(deny)
        return self._change_living(lambda now: table.reserve(now, pod, spawner, socket, rules, caps))

    def adopt(self, pod: str, owner: ProcessIdentity) -> Table:
        """See `table.adopt`."""
        return self._change_living(lambda now: table.adopt(now, pod, owner))

    def hold(self, pod: str) -> Table:
        """See `table.hold`."""
        return self._change_living(lambda now: table.hold(now, pod))

    def release(self, pod: str) -> Table:
        """See `table.release`."""
        return self.change(lambda now: table.release(now, pod))

    def reclaim(self) -> tuple[str, ...]:
        """Release what belongs to processes that have ended. Return the names of these pods."""
        dead: tuple[str, ...] = ()

        def decide(now: Table) -> Table:
            nonlocal dead
            now, dead = table.reclaim(now, self._alive)
            return now

        self.change(decide)
        return dead

    def effective_scope(self, pod: str) -> Scope:
        """Return what a pod may do now, in the table without the dead. See `table.effective_scope`."""
        return table.effective_scope(self.living(), pod)

    def _change_living(self, decide: Callable[[Table], Table]) -> Table:
        return self.change(lambda now: decide(table.reclaim(now, self._alive)[0]))

    def _set_aside(self, error: Unavailable) -> None:
        aside = database.set_aside(self._path, int(self._clock()))
        self.lost += 1
        log.warning("the table of scopes %s is damaged (%s); it is now %s", self._path, error, aside.name)

    def _unusable(self, error: Unavailable | OSError) -> TransientError:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        if database.is_full(error):
            return DiskFull(f"the table of scopes {self._path} cannot be written: {reason}", "free some space")
        return TransientError(
            f"the table of scopes {self._path} cannot be used: {reason}",
            "see that its folder can be written",
            retry_after=RETRY_SECONDS,
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = self._lock()
        try:
            yield
        finally:
            os.close(descriptor)

    def _lock(self) -> int:
        """Return a descriptor with the lock, which is that of the file that has the name now."""
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            descriptor = self._open_lock()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current(descriptor):
                    return descriptor
            except BlockingIOError:
                pass
            except OSError as error:
                os.close(descriptor)
                raise self._unusable(error) from error
            os.close(descriptor)
            if time.monotonic() > deadline:
                raise TransientError(
                    f"another program has locked {self._lock_path} for more than {LOCK_SECONDS:.0f} s",
                    "see with `fuser` which one it is",
                    retry_after=RETRY_SECONDS,
                )
            time.sleep(_PAUSE)

    def _open_lock(self) -> int:
        """Return a descriptor of the lock file. What is no file is set aside."""
        try:
            self._lock_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISREG(self._lock_path.lstat().st_mode):
                    database.set_aside(self._lock_path, int(self._clock()))
            return os.open(self._lock_path, _OPEN, 0o600)
        except (OSError, Unavailable) as error:
            raise self._unusable(error) from error

    def _is_current(self, descriptor: int) -> bool:
        mine = os.fstat(descriptor)
        try:
            now = self._lock_path.lstat()
        except FileNotFoundError:
            return False
        return (mine.st_dev, mine.st_ino) == (now.st_dev, now.st_ino)
