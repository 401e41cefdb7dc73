"""The dashboard's links and sessions: who may use it with a browser."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import CHANGES, OPERATORS, READS, REMOVES, Call, Input, Nothing, Route, operation
from api.sockets.principals import Operator
from reconciler.access.views import Link, SessionView


class SessionInput(Input):
    """One session."""

    session: int = Field(ge=0, lt=2**63, description="the number of the session", examples=[3])


class SessionsInput(Input):
    """All sessions, or all but one."""

    keep: int | None = Field(None, ge=0, lt=2**63, description="the number of a session that goes on")


@operation("dashboard_link", OPERATORS, CHANGES, routes=(Route("POST", "/api/dashboard/links"),))
async def dashboard_link(call: Call, _asked: Nothing) -> Link:
    """Make a link that logs a browser in to the dashboard as the user who asks: once, within five minutes."""
    uid = call.principal.uid if isinstance(call.principal, Operator) else None
    return await call.service.access.make_link(uid)


@operation("dashboard_sessions", OPERATORS, READS, routes=(Route("GET", "/api/dashboard/sessions"),))
async def dashboard_sessions(call: Call, _asked: Nothing) -> list[SessionView]:
    """List the browsers that are logged in to the dashboard, the one that was used last first."""
    return await call.service.access.sessions()


@operation(
    "revoke_dashboard_session", OPERATORS, REMOVES, routes=(Route("DELETE", "/api/dashboard/sessions/{session}"),)
)
async def revoke_dashboard_session(call: Call, asked: SessionInput) -> SessionView:
    """Log a browser out of the dashboard. Its open pages end within a second."""
    return await call.service.access.revoke(asked.session, call.who)


@operation("revoke_dashboard_sessions", OPERATORS, REMOVES, routes=(Route("DELETE", "/api/dashboard/sessions"),))
async def revoke_dashboard_sessions(call: Call, asked: SessionsInput) -> list[SessionView]:
    """Log all browsers out of the dashboard, or all but one. Return those that were logged in."""
    return await call.service.access.revoke_all(call.who, asked.keep)


DASHBOARD = (dashboard_link, dashboard_sessions, revoke_dashboard_session, revoke_dashboard_sessions)
