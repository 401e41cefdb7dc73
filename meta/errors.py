"""The errors that hive raises on purpose.

    HiveError                 summary: what went wrong; hint: what to do about it
    |- PermanentError         trying again changes nothing
    |  |- BadInput            what the caller gave is wrong (name, commit, settings, a line on a socket)
    |  |- NotFound            the thing named is not there
    |  |- Conflict            somebody else was first, or the state does not allow it
    |  |- Refused             hive could, and will not (trust, limits, isolation)
    |  `- BuildFailed         the commit does not become a generation; log: the last lines
    `- TransientError         may pass by itself; retry_after: seconds

The loop asks only one question of an error: permanent or transient.
Standard library only: the root helper imports this module.
"""

from __future__ import annotations


class HiveError(Exception):
    """An expected failure: one line of what, one line of what to do."""

    def __init__(self, summary: str, hint: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.hint = hint


class PermanentError(HiveError):
    """Trying again changes nothing."""


class BadInput(PermanentError):
    """What the caller gave is wrong."""


class NotFound(PermanentError):
    """The thing named is not there."""


class Conflict(PermanentError):
    """Somebody else was first, or the present state does not allow it."""


class Refused(PermanentError):
    """hive could do it and will not."""


class BuildFailed(PermanentError):
    """A commit does not become a generation. `log` holds the last lines of the builder's output.

    `bound`: it ended at a limit of time or memory, which a busy host reaches sooner than another.
    """

    def __init__(self, summary: str, hint: str = "", log: str = "", *, bound: bool = False) -> None:
        super().__init__(summary, hint)
        self.log = log
        self.bound = bound


class TransientError(HiveError):
    """May pass by itself. `retry_after` is in seconds; None leaves it to the queue's back-off."""

    def __init__(self, summary: str, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(summary, hint)
        self.retry_after = retry_after
