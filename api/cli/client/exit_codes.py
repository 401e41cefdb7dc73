"""The exit codes of `hive`, in one table; docs/reference/cli.md prints it."""

from __future__ import annotations

from enum import IntEnum

from meta.errors import BadInput, Conflict, HiveError, NewerState, NotFound, Refused, TransientError


class Code(IntEnum):
    """An exit code of `hive`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5
    TIMEOUT = 6
    TRY_AGAIN = 7
    NEWER = 8
    INTERRUPTED = 130


MEANINGS: dict[Code, str] = {
    Code.OK: "done; with `--wait`: the work ended well",
    Code.FAILED: "it failed: a deploy that ended `failed/`, an agent that does not start, an error inside hive "
    "(also one that ends `hive serve`), or an output that cannot be written, for which the work is done",
    Code.USAGE: "the command line is wrong (bad name, no such option, not a commit)",
    Code.NOT_FOUND: "there is no such agent or proposal",
    Code.CONFLICT: "refused: another request came first, the state does not allow it, or hive will not do it",
    Code.UNREACHABLE: "no daemon answers on the socket",
    Code.TIMEOUT: "`--timeout` passed, or the daemon exists and does not answer; the work goes on",
    Code.TRY_AGAIN: "it failed now and may work later (disk full, a busy lock)",
    Code.NEWER: "a newer hive wrote the state directory, and nothing was changed; systemd does not try again",
    Code.INTERRUPTED: "interrupted with Ctrl-C; the work goes on",
}


class Unreachable(HiveError):
    """No daemon answers."""


class TimedOut(HiveError):
    """`--timeout` passed."""


class NoAnswer(TimedOut):
    """A daemon listens, and does not answer in time."""


class Interrupted(HiveError):
    """Ctrl-C ended the command. What it waited for goes on."""


class Failed(HiveError):
    """The work that `--wait` waited for failed."""


def code_of(error: HiveError) -> Code:
    """Return the exit code for an error."""
    match error:
        case BadInput():
            return Code.USAGE
        case NotFound():
            return Code.NOT_FOUND
        case Conflict() | Refused():
            return Code.CONFLICT
        case NewerState():
            return Code.NEWER
        case Unreachable():
            return Code.UNREACHABLE
        case TimedOut():
            return Code.TIMEOUT
        case TransientError():
            return Code.TRY_AGAIN
        case Interrupted():
            return Code.INTERRUPTED
        case _:
            return Code.FAILED
