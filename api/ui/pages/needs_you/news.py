"""What is new on the list, for notifications: static/worker.js tells a new row from one that it knows by its key."""

from __future__ import annotations

from urllib.parse import quote

from api.operations.attention import attention
from api.operations.base import Nothing
from api.ui.moment import Moment
from api.ui.page import Feed, Shown
from reconciler.attention.row import Severity

MOST = 50
"""Rows that are sent: the most severe ones."""


async def view(moment: Moment, _asked: Nothing) -> Shown:
    """Return the rows by key, with hive's own words only: a notification is read by whoever sees the screen."""
    listed = await moment.ask(attention, Nothing())
    rows = [
        {
            "key": row.key,
            "title": row.title,
            "urgent": row.severity in (Severity.CRITICAL, Severity.HIGH),
            "href": f"/#row-{quote(row.key, safe=':')}",
        }
        for row in listed.rows[:MOST]
        if row.severity is not Severity.LOW
    ]
    return Shown({"rows": rows})


NEWS = Feed("news", "/needs-you/news", Nothing, view)
"""The stream of the list."""
