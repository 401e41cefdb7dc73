"""The exit codes of `hive`, in one table; docs/reference/cli.md prints it."""

from __future__ import annotations

from enum import IntEnum

from meta.errors import BadInput, Conflict, HiveError, NotFound, Refused, TransientError


class Code(IntEnum):
    """What `hive` ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5
    TIMEOUT = 6
    TRY_AGAIN = 7
    INTERRUPTED = 130


MEANINGS: dict[Code, str] = {
    Code.OK: "done; with `--wait` also: it ended well",
    Code.FAILED: "it failed: a deploy that ended `failed/`, an agent that does not come up, an error inside hive "
    "(also one that ends `hive serve`)",
    Code.USAGE: "the command line or what it names is wrong (bad name, no such option, not a commit)",
    Code.NOT_FOUND: "there is no such agent or proposal",
    Code.CONFLICT: "refused: somebody was first, the state does not allow it, or hive will not do it",
    Code.UNREACHABLE: "no daemon answers on the socket",
    Code.TIMEOUT: "`--timeout` passed first; what was asked for goes on",
    Code.TRY_AGAIN: "it did not work now and may work later (disk full, a busy lock)",
    Code.INTERRUPTED: "interrupted with Ctrl-C; what was asked for goes on",
}


class Unreachable(HiveError):
    """No daemon answers."""


class TimedOut(HiveError):
    """`--timeout` passed."""


class Failed(HiveError):
    """What was waited for ended badly."""


def code_of(error: HiveError) -> Code:
    """The exit code for an error."""
    match error:
        case BadInput():
            return Code.USAGE
        case NotFound():
            return Code.NOT_FOUND
        case Conflict() | Refused():
            return Code.CONFLICT
        case Unreachable():
            return Code.UNREACHABLE
        case TimedOut():
            return Code.TIMEOUT
        case TransientError():
            return Code.TRY_AGAIN
        case _:
            return Code.FAILED
