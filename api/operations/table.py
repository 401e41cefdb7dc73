"""The table of all operations, and the lookups for each surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from api.operations.attention import ATTENTION
from api.operations.audit import AUDIT
from api.operations.base import AnyOperation, Role, Surface
from api.operations.dashboard import DASHBOARD
from api.operations.dead_letters import DEAD_LETTERS
from api.operations.down import DOWN
from api.operations.host import HOST
from api.operations.lifecycle import LIFECYCLE
from api.operations.live_events import LIVE_EVENTS
from api.operations.login import LOGIN
from api.operations.loose_ends import LOOSE_ENDS
from api.operations.messages import MESSAGES
from api.operations.network import NETWORK
from api.operations.passkeys import PASSKEYS
from api.operations.pods import PODS
from api.operations.proposals import PROPOSALS
from api.operations.questions import QUESTIONS
from api.operations.reminders import REMINDERS
from api.operations.settings import SETTINGS
from api.operations.turns import TURNS
from api.operations.upkeep import UPKEEP
from api.operations.usage import USAGE
from api.operations.views import VIEWS
from meta.wire.common import Wire

OPERATIONS: tuple[AnyOperation, ...] = (
    *VIEWS,
    *LIVE_EVENTS,
    *ATTENTION,
    *PROPOSALS,
    *LIFECYCLE,
    *DOWN,
    *TURNS,
    *PODS,
    *SETTINGS,
    *MESSAGES,
    *DEAD_LETTERS,
    *QUESTIONS,
    *REMINDERS,
    *LOOSE_ENDS,
    *NETWORK,
    *UPKEEP,
    *AUDIT,
    *HOST,
    *USAGE,
    *LOGIN,
    *DASHBOARD,
    *PASSKEYS,
)


class OnLine(NamedTuple):
    """An operation with its binding to a line socket."""

    operation: AnyOperation
    response: Callable[[Any], Wire]


def _by_request(surface: Surface) -> dict[type[Wire], OnLine]:
    bindings = ((operation.line(surface), operation) for operation in OPERATIONS)
    return {line.request: OnLine(operation, line.response) for line, operation in bindings if line is not None}


ON_LINES: Mapping[Surface, Mapping[type[Wire], OnLine]] = {
    surface: _by_request(surface) for surface in (Surface.HOST, Surface.MANAGER, Surface.AGENT)
}
"""The operation for each request type, for each line socket."""


def tools_of(role: Role) -> dict[str, AnyOperation]:
    """Return the tools of a role by name."""
    return {
        operation.tool.name or operation.name: operation
        for operation in OPERATIONS
        if operation.tool is not None and role in operation.principals
    }
