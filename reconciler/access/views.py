"""What is given of links and sessions: to browsers, to the command line, to pages."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.store.access import Session


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link. Whoever opens it before `ends_at` (Unix seconds) is logged in."""

    address: str
    ends_at: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session, and the token for the browser's cookie."""

    session: Session
    token: str


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as operators see it. `ends_at`: if it is not used any more. Times are Unix seconds.

    With the `id` 0 and `how` "proxy" it is a browser of a user whom a proxy logs in: only the proxy ends that.
    """

    id: int
    by: str
    how: str
    browser: str
    made_at: int
    used_at: int
    ends_at: int
