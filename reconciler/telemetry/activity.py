"""What a worker is doing at this moment, for log lines and traces: which agent, which pass, which step.

A context variable, so that everything called from a step has it. What a step leaves running (a socket's server) has
inherited it too: `over` says that it no longer holds.
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
class Doing:
    """`reconcile` is the pass's id, eight hex digits; `step` is empty between two steps."""

    agent: AgentName
    reconcile: str
    step: str = ""
    over: bool = False

    def facts(self) -> dict[str, str]:
        """For a log line."""
        found = {"agent": str(self.agent), "reconcile": self.reconcile, "step": self.step}
        return {} if self.over else {key: value for key, value in found.items() if value}


_CURRENT: ContextVar[Doing | None] = ContextVar("doing", default=None)


def facts() -> dict[str, str]:
    """What is being done here, or nothing."""
    doing = _CURRENT.get()
    return doing.facts() if doing is not None else {}


@contextmanager
def reconciling(agent: AgentName) -> Iterator[None]:
    """Around one pass of one agent's worker."""
    doing = Doing(agent, secrets.token_hex(4))
    token = _CURRENT.set(doing)
    try:
        with tracing.span("reconcile", agent=agent, reconcile=doing.reconcile):
            yield
    finally:
        doing.over = True
        _CURRENT.reset(token)


@contextmanager
def stepping(name: str) -> Iterator[None]:
    """Around one step of it."""
    doing = _CURRENT.get()
    if doing is not None:
        doing.step = name
    try:
        with tracing.span(name, **facts()):
            yield
    finally:
        if doing is not None:
            doing.step = ""
