"""The rounds of an endless task that goes on after an error: how many failed in a row, and the last error."""

from __future__ import annotations

from meta.errors import HiveError
from meta.text import one_line

ERROR_LIMIT = 300
"""Characters of an error in an event and in `hive status`. The log has all of it."""


class Rounds:
    """The rounds of one task. `failures` counts those that failed since the last success; `error` is the last error."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.failures = 0
        self.error = ""

    def fail(self, error: Exception) -> None:
        """Count a round that failed."""
        self.failures += 1
        self.error = describe(error)

    def succeed(self) -> None:
        """Forget the failures: a round succeeded."""
        self.failures = 0
        self.error = ""

    def notes(self) -> tuple[str, ...]:
        """Return what an operator should know: nothing unless the last round failed."""
        if not self.failures:
            return ()
        often = f" {self.failures} times in a row" if self.failures > 1 else ""
        return (f"background task {self.task} failed{often} ({self.error}); it tries again, and agents run on",)


def describe(error: BaseException) -> str:
    """Return an error in one line without secrets: what went wrong and what to do, or the type of a mistake in hive."""
    if isinstance(error, HiveError):
        return one_line(f"{error.summary} ({error.hint})" if error.hint else error.summary, ERROR_LIMIT)
    text = str(error)
    return one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__, ERROR_LIMIT)
