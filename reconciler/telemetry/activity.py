"""The activity of a worker, for log lines and traces: agent, pass and step.

It is a context variable, so that every function called from a step has it. A task that outlives the step (a socket's
server) inherits it too. There `over` marks it as ended.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from meta.names import AgentName
from reconciler.telemetry import tracing


@dataclass(slots=True)
class Activity:
    """One pass of an agent's worker. `reconcile` is its id, eight hex digits; `step` is empty between two steps."""

    agent: AgentName
    reconcile: str
    step: str = ""
    over: bool = False

    def facts(self) -> dict[str, str]:
        """Return the fields of a log line."""
        fields = {"agent": str(self.agent), "reconcile": self.reconcile, "step": self.step}
        return {} if self.over else {key: value for key, value in fields.items() if value}


_CURRENT: ContextVar[Activity | None] = ContextVar("activity", default=None)


def facts() -> dict[str, str]:
    """Return the fields of the current activity, or {} outside a pass."""
    activity = _CURRENT.get()
    return activity.facts() if activity is not None else {}


@contextmanager
def reconciling(agent: AgentName) -> Iterator[None]:
    """Mark the block as one pass of an agent's worker."""
    activity = Activity(agent, secrets.token_hex(4))
    token = _CURRENT.set(activity)
    try:
        with tracing.span("reconcile", agent=agent, reconcile=activity.reconcile):
            yield
    finally:
        activity.over = True
        _CURRENT.reset(token)


@contextmanager
def stepping(name: str) -> Iterator[None]:
    """Mark the block as one step of the current pass."""
    activity = _CURRENT.get()
    if activity is not None:
        activity.step = name
    try:
        with tracing.span(name, **facts()):
            yield
    finally:
        if activity is not None:
            activity.step = ""
