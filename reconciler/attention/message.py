"""A notification as the text and the JSON that leave the host. It has titles and commands, never a detail. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.attention.row import Row, Severity

ROWS_MOST = 20
"""Rows of one notification, at most."""
_PRIORITIES = {Severity.CRITICAL: 5, Severity.HIGH: 4, Severity.NORMAL: 3, Severity.LOW: 2}
"""ntfy's words for urgency."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification about `rows`, the most severe first. `host` is where hive runs. `test`: it was asked for."""

    host: str
    rows: tuple[Row, ...]
    test: bool = False

    @property
    def severity(self) -> Severity:
        """The severity of the most severe row."""
        return min((row.severity for row in self.rows), key=lambda severity: severity.rank, default=Severity.NORMAL)

    @property
    def title(self) -> str:
        """One line."""
        if self.test:
            return f"hive on {self.host}: this is a test"
        what = self.rows[0].title if len(self.rows) == 1 else f"{len(self.rows)} things need you"
        return f"hive on {self.host}: {what}"

    @property
    def text(self) -> str:
        """One line for each row, with its command."""
        if self.test:
            return "Notifications of hive arrive here."
        lines = [f"[{row.severity}] {row.title}: {row.command}" for row in self.rows[:ROWS_MOST]]
        more = len(self.rows) - len(lines)
        return "\n".join([*lines, *([f"and {more} more: hive attention"] if more else [])])

    def as_json(self) -> bytes:
        """Return the JSON for webhooks and commands."""
        return _dump(
            {
                "host": self.host,
                "title": self.title,
                "text": self.text,
                "severity": self.severity,
                "test": self.test,
                "count": len(self.rows),
                "rows": _rows(self.rows[:ROWS_MOST]),
            }
        )

    def for_ntfy(self, topic: str) -> bytes:
        """Return the JSON that ntfy takes."""
        link = next((row.link for row in self.rows if row.link), None)
        click = {"click": link} if link else {}
        message = {"topic": topic, "title": self.title, "message": self.text, "priority": _PRIORITIES[self.severity]}
        return _dump({**message, **click})


def _rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    keys = ("key", "kind", "severity", "agent", "since", "title", "command", "link")
    return [{key: getattr(row, key) for key in keys} for row in rows]


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
