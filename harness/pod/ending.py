"""How the end of a turn is told to a pod's clients: the error if there is one, and the result of the run. Pure."""

from __future__ import annotations

from typing import NamedTuple

from harness.runtimes.base import Ending, Fault, TurnOutcome
from harness.stop import Cause
from meta.wire.pod import ErrorCode, RunResult, TurnResult

PAUSES = frozenset({Cause.PAUSE, Cause.POD})
"""Who ends a turn so that it goes on later."""


class RunEnding(NamedTuple):
    """The end of a run. `error` is None if it failed not at all, or only at a limit that somebody set."""

    result: RunResult
    error: ErrorCode | None = None

    @property
    def turn(self) -> TurnResult:
        """Return the end of the turn that was under way."""
        return TurnResult.PAUSED if self.result is RunResult.PAUSED else TurnResult.FINISHED


def run_ending(outcome: TurnOutcome, cause: Cause | None) -> RunEnding:
    """Return the end of a run. `cause`: who asked for it.

    A run has one end whatever happens, so that no client waits for ever: after an error it is `finished`. That of a run
    that somebody cancelled is `finished` without an error, since it is what was asked for.
    """
    if outcome.ok:
        return RunEnding(RunResult.FINISHED)
    if cause in PAUSES:
        return RunEnding(RunResult.PAUSED)
    if cause is Cause.LIMIT or outcome.fault is Fault.LIMIT:
        return RunEnding(RunResult.LIMIT_REACHED)
    if cause is Cause.OPERATOR:
        return RunEnding(RunResult.FINISHED)
    if outcome.fault is Fault.TOOLS:
        return RunEnding(RunResult.FINISHED, ErrorCode.TOOL_ERROR)
    crashed = outcome.ending in (Ending.CRASHED, Ending.CANCELLED)
    return RunEnding(RunResult.FINISHED, ErrorCode.INTERNAL if crashed else ErrorCode.PROVIDER_ERROR)
