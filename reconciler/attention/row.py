"""The rows of the attention list, and the list as users and programs get it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from meta.names import AgentName

ROWS_MOST = 200
"""Rows of a list that is shown, at most. The most severe and oldest are shown."""


class Severity(StrEnum):
    """How much a row matters, the most severe first.

    Critical: hive itself cannot do its work. High: an agent, or a part of hive, does not work. Normal: a person has to
    decide or to answer. Low: for information.
    """

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """Its place in the order: 0 for the most severe."""
        return _ORDER[self]


_ORDER = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that needs a person. `since` is in Unix seconds.

    `key` stays the same for as long as the row is about the same thing. `title` has only hive's own words, names of
    agents and numbers, so that it may be sent away. `detail` may be text of others, cleaned, on one line. `command`
    shows more of it and changes nothing; the command that mends it is in `detail`. `link` is its page, None
    without a dashboard.
    """

    key: str
    kind: str
    severity: Severity
    agent: AgentName | None
    since: float
    title: str
    detail: str
    command: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """The attention list, the most severe rows first, then the oldest.

    `counts` has the number of all rows by severity. `left_out` of them are not in `rows`. `notes` has what else is to
    know, e.g. that new rows are not notified yet.
    """

    rows: tuple[Row, ...]
    counts: dict[str, int]
    left_out: int = 0
    notes: tuple[str, ...] = ()


def listed(rows: Sequence[Row], unlisted: int = 0, notes: tuple[str, ...] = ()) -> Attention:
    """Return the list of sorted `rows`, cut to ROWS_MOST. `unlisted`: rows that were not read at all."""
    shown = tuple(rows[:ROWS_MOST])
    return Attention(shown, count(rows), len(rows) - len(shown) + unlisted, notes)


def count(rows: Sequence[Row]) -> dict[str, int]:
    """Return the number of rows of each severity, 0 included."""
    counted = Counter(row.severity for row in rows)
    return {severity.value: counted[severity] for severity in Severity}
