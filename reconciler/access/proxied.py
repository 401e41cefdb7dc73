"""The users whom a reverse proxy logs in with each request: who came in the last minutes. Kept in memory only."""

from __future__ import annotations

from dataclasses import replace

from meta.names import operator_who
from meta.text import one_line
from reconciler.access.rules import BROWSER_LIMIT
from reconciler.access.views import SessionView

SEEN = 600
"""Seconds after the last request. An open page comes back at least twice within that time."""
HOW = "proxy"
_MOST = 1_000


class Proxied:
    """Browsers of users whom a proxy named, each with its first and its last request."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], SessionView] = {}

    def note(self, user: str, browser: str, now: float) -> None:
        """Record a request. Beyond _MOST browsers the one that did not come for the longest time is forgotten."""
        key, at = (user, one_line(browser, BROWSER_LIMIT)), int(now)
        before = self._seen.pop(key, None)
        if before is None or before.ends_at <= at:
            before = SessionView(0, operator_who(None, user), HOW, key[1], at, at, at)
        self._seen[key] = replace(before, used_at=at, ends_at=at + SEEN)
        if len(self._seen) > _MOST:
            del self._seen[next(iter(self._seen))]

    def present(self, now: float) -> list[SessionView]:
        """Return those that came in the last minutes, the last one first."""
        return [view for view in reversed(self._seen.values()) if view.ends_at > now]
