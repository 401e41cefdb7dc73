"""The errors that hive raises on purpose.

    HiveError                 summary: what went wrong; hint: what to do about it
    |- PermanentError         a retry changes nothing
    |  |- BadInput            what the caller gave is wrong (name, commit, settings, a line on a socket)
    |  |- NotFound            the named thing does not exist
    |  |- Conflict            another change was first, or the state does not allow it
    |  |  `- Occupied         it would take the place of what another one proposed, and does not say so
    |  |- Damaged             a file of hive exists and cannot be read or understood
    |  |- NewerState          a newer hive wrote the state directory
    |  |- Refused             hive could do it but does not (trust, limits, isolation)
    |  `- BuildFailed         the commit cannot be built; log: the last lines
    `- TransientError         a retry may succeed; retry_after: seconds
       `- DiskFull            nothing can be written: no block, no inode, or a quota is used up

For the loop an error is either permanent or transient.
Standard library only: the root helper imports this module.
"""

from __future__ import annotations


class HiveError(Exception):
    """An expected failure: what went wrong and what to do, one line each."""

    def __init__(self, summary: str, hint: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.hint = hint

    def describe(self) -> str:
        """Return what is wrong and, in brackets, what to do about it."""
        return f"{self.summary} ({self.hint})" if self.hint else self.summary


class PermanentError(HiveError):
    """An error that a retry does not help against."""


class BadInput(PermanentError):
    """The caller's input is wrong: a name, a commit, a setting, a line on a socket."""


class NotFound(PermanentError):
    """The named thing does not exist."""


class Conflict(PermanentError):
    """Another change was first, or the present state does not allow this one."""


class Occupied(Conflict):
    """A proposal that would take the place of another one's, without the word that says so."""


class Damaged(PermanentError):
    """A file of hive exists and cannot be read or understood. It never counts as absent."""

    def __init__(self, path: object, what: str, hint: str = "`hive doctor` names the remedy") -> None:
        super().__init__(f"{path} is damaged: {what}", hint)


class NewerState(PermanentError):
    """A newer hive wrote the state directory. This hive changes nothing in it."""


class Refused(PermanentError):
    """hive could do it but does not."""


class Unseen(Refused):
    """An approval of changes that the diff does not show as a whole, without the word that says so."""


class BuildFailed(PermanentError):
    """A commit cannot be built. `log` holds the last lines of the builder's output.

    `bound`: the build reached a limit of time or memory, which happens sooner on a busy host.
    """

    def __init__(self, summary: str, hint: str = "", log: str = "", *, bound: bool = False) -> None:
        super().__init__(summary, hint)
        self.log = log
        self.bound = bound


class TransientError(HiveError):
    """A retry may succeed. `retry_after` is in seconds; None leaves it to the queue's back-off."""

    def __init__(self, summary: str, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(summary, hint)
        self.retry_after = retry_after


class DiskFull(TransientError):
    """Nothing can be written: the disk or a quota is full. Nothing was written in part."""
