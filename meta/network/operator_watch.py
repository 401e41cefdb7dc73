"""The operator's file and the ceiling, read again when the file changes: one reader for all who obey them.

Standard library only.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from meta import own_file
from meta.errors import BadInput, HiveError, Refused
from meta.network.operator_file import FILE_LIMIT, OperatorFile, ceiling_of, parse_operator_file
from meta.network.rule import Rule, covers

SETTLE_SECONDS = 1.0
"""Age at which a changed file is obeyed. An editor empties a file before it writes it: obeyed in between, that would
end every connection that the file allows.
"""
_SEE = "see docs/reference/network.md"
_READABLE = "make it readable for the users of hive's daemon and of hive-egress"
_Stamp = tuple[int, ...]
_MISSING: _Stamp = ()
_WENT: _Stamp = (-1, -1)


class OperatorWatch:
    """The last good version of the file, and the ceiling.

    A broken version changes nothing, nor does one that another user may write. A ceiling that cannot be understood,
    and never could, lets nothing pass.
    """

    def __init__(
        self,
        path: Path,
        ceiling: str = "",
        *,
        may_miss: bool = True,
        trusted: Iterable[int] = (),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the path and the text of the ceiling, and read them.

        `may_miss`: without the file there is nothing in it. `trusted` are uids that the file may belong to, besides
        root and the own one.
        """
        self._path = path
        self._text = ceiling
        self._may_miss = may_miss
        self._trusted = {0, os.geteuid(), *trusted}
        self._clock = clock
        self._monotonic = monotonic
        self._stamp: _Stamp | None = None
        self._next: tuple[_Stamp, float] | None = None
        self.file = OperatorFile()
        self.ceiling: tuple[Rule, ...] | None = () if ceiling.split() else None
        self.revision = 0
        """It grows when another good version of the file is read."""
        self.file_fault: HiveError | None = None
        self.ceiling_fault: HiveError | None = None
        self.reload()

    @property
    def path(self) -> Path:
        """The path of the operator's file."""
        return self._path

    @property
    def problem(self) -> str:
        """What is wrong with the file or the ceiling, with the remedy; "" if nothing is."""
        return "; ".join(fault.describe() for fault in (self.file_fault, self.ceiling_fault) if fault is not None)

    def reload(self) -> bool:
        """Read the file if it changed, and has been as it is for a second.

        Return True if something else is obeyed, or there is another problem.
        """
        status, fault = self._look()
        stamp = _stamp(status) if fault is None else (fault.errno or -1,)
        if stamp == self._stamp:
            self._next = None
            return False
        if not self._is_settled(stamp, status):
            return False
        self._stamp, self._next = stamp, None
        before = (self.revision, self.ceiling, self.problem)
        self._read(status, fault)
        return (self.revision, self.ceiling, self.problem) != before

    def within_ceiling(self, host: str, port: int) -> bool:
        """Return True if the operator's ceiling covers a host and port, or there is none."""
        return self.ceiling is None or covers(self.ceiling, host, port)

    def is_private(self, host: str, port: int) -> bool:
        """Return True if the operator lets a host and port have a private or own address."""
        return covers(self.file.private, host, port)

    def _look(self) -> tuple[os.stat_result | None, OSError | None]:
        try:
            return self._path.stat(), None
        except FileNotFoundError:
            return None, None
        except OSError as error:
            return None, error

    def _is_settled(self, stamp: _Stamp, status: os.stat_result | None) -> bool:
        """Return False for a file that may be written at this moment. What takes nothing away need not settle."""
        if self._stamp is None or self.file == OperatorFile():
            return True
        if status is not None and self._clock() - status.st_mtime >= SETTLE_SECONDS:
            return True
        now = self._monotonic()
        if self._next is None or self._next[0] != stamp:
            self._next = (stamp, now)
        return now - self._next[1] >= SETTLE_SECONDS

    def _read(self, status: os.stat_result | None, fault: OSError | None) -> None:
        try:
            if fault is not None:
                raise fault
            self.file, self.file_fault = self._content(status), None
            self.revision += 1
        except FileNotFoundError:
            self._stamp = _WENT  # between the two looks: look again
        except OSError as error:
            self.file_fault = BadInput(f"{self._path} cannot be read: {error.strerror}", _READABLE)
            self.file_fault.__cause__ = error
        except HiveError as error:
            self.file_fault = error
        try:
            self.ceiling, self.ceiling_fault = ceiling_of(self._text, self.file), None
        except BadInput as error:
            self.ceiling_fault = BadInput(f"HIVE_NETWORK_CEILING: {error.summary}", error.hint)

    def _content(self, status: os.stat_result | None) -> OperatorFile:
        if status is not None:
            _require_own(self._path, status, self._trusted)
            data = own_file.read(self._path, FILE_LIMIT, follow=True, hint=_SEE)
            return parse_operator_file(data, str(self._path))
        if self._may_miss:
            return OperatorFile()
        raise BadInput(f"{self._path}: there is no such file", "write it, or leave HIVE_NETWORK_FILE out")


def _require_own(path: Path, status: os.stat_result, trusted: set[int]) -> None:
    """Raise Refused if others may change the file: they would open hosts, and send keys elsewhere.

    In a user namespace root's files belong to the owner of `/`.
    """
    if status.st_uid not in trusted and status.st_uid != Path("/").stat().st_uid:
        raise Refused(f"{path} belongs to uid {status.st_uid}", "give it to root or to hive's user with chown")
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWOTH:
        raise Refused(f"every user may write {path}", "take that away with chmod o-w")


def _stamp(status: os.stat_result | None) -> _Stamp:
    """Return what changes with the file, its owner and its mode."""
    if status is None:
        return _MISSING
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size, status.st_uid, status.st_mode
