"""The bound on lines of a CLI that are no JSON: a flood of them must not push the turns out of the event log."""

from __future__ import annotations

WHOLE = 100
"""Lines of one turn that are recorded as they came. Those that follow are counted only."""


class Flood:
    """Counts the lines of one turn that are no JSON."""

    def __init__(self) -> None:
        self._lines = 0

    def take(self) -> bool:
        """Count one; return True if it is to be recorded."""
        self._lines += 1
        return self._lines <= WHOLE

    @property
    def begins(self) -> bool:
        """Return True if the line that was just taken is the first that is counted only."""
        return self._lines == WHOLE + 1

    def note(self) -> str:
        """Return the sentence about those that were counted only; empty if there are none."""
        left = self._lines - WHOLE
        return f"{left:,} more lines that are no JSON" if left > 0 else ""
