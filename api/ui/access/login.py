"""The login of a request: who looks or acts, and the token that each of the page's forms carries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from litestar import Request

from api.sockets.principals import Operator
from reconciler.store.access import Session

KEY = "login"
"""Where the guard puts the login in the scope's state."""
ADDRESS = "address"
"""Where it puts the address of the browser: for limits and events, never for a decision about who it is."""


@dataclass(frozen=True, slots=True)
class Login:
    """A browser that is logged in, for one request.

    `session` is the session's id, "" for a user whom a reverse proxy logs in with each request. `revoked` is set when
    the session ends: streams end then. `record` is the session itself, None without one.
    """

    session: str
    operator: Operator
    csrf: str
    revoked: asyncio.Event = field(default_factory=asyncio.Event, compare=False)
    record: Session | None = None


def login_of(request: Request[Any, Any, Any]) -> Login:
    """Return the login of a request that the guard let through. Raise LookupError where it asks for none."""
    login = maybe_login_of(request)
    if login is None:
        raise LookupError(f"{request.scope['path']} is open to all: it has no login")
    return login


def maybe_login_of(request: Request[Any, Any, Any]) -> Login | None:
    """Return the login, also on paths that are open to all; None without one."""
    login = request.scope.get("state", {}).get(KEY)
    return login if isinstance(login, Login) else None
