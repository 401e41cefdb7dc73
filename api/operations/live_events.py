"""Operations on the live events of agents: what happens in their turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from api.operations.base import OPERATORS, READS, AgentField, Call, Input, Raw, Route, operation
from api.operations.live_stream import live_row, live_sse
from meta.errors import Conflict, NotFound
from reconciler.store.live import AGENT_ROWS
from reconciler.store.live_queue import LiveRow

POSITION = "[A-Za-z0-9]{1,64}-[0-9]{1,16}"
NEWEST = 200


class LiveEventsInput(Input):
    """Which events of the agent."""

    agent: AgentField
    after: str | None = Field(None, pattern=f"^{POSITION}$", description="only events after the one with this `id`")
    limit: int = Field(NEWEST, ge=1, le=AGENT_ROWS, description="how many")


class LiveInput(Input):
    """Where the stream begins."""

    agent: AgentField
    newest: int = Field(NEWEST, ge=0, le=AGENT_ROWS, description="how many of the newest events come first")
    last_event_id: str | None = Field(
        None, pattern=f"^({POSITION})?$", description="begin after the event with this `id` instead"
    )


@dataclass(frozen=True, slots=True)
class LiveEventRow:
    """One live event. `id` is `<log>-<number>`, `ts` Unix seconds. `event` is as the agent sent it."""

    id: str
    ts: int
    event: dict[str, Any]


@operation("live_events", OPERATORS, READS, routes=(Route("GET", "/api/agents/{agent}/events"),))
async def live_events(call: Call, asked: LiveEventsInput) -> Raw | list[LiveEventRow]:
    """Return the newest live events of an agent, or the first ones after `after`, oldest first."""
    _require_agent(call, asked)
    live = call.service.live
    if asked.after is None:
        rows: list[LiveRow] | None = await live.newest(asked.agent, asked.limit)
    else:
        rows = await live.after(asked.agent, asked.after, asked.limit)
    if rows is None:
        raise Conflict(f"the events after {asked.after} are not kept any more", "ask without `after`")
    return Raw(f"[{','.join(map(live_row, rows))}]".encode(), "application/json")


@operation(
    "live",
    OPERATORS,
    READS,
    routes=(
        Route(
            "GET",
            "/api/agents/{agent}/live",
            headers={"last-event-id": "last_event_id"},
            media=("text/event-stream",),
        ),
    ),
)
async def live(call: Call, asked: LiveInput) -> Raw:
    """Stream the live events of an agent as server-sent events: the newest ones, and then each new one."""
    _require_agent(call, asked)
    stream = live_sse(call.service.live, asked.agent, asked.last_event_id or None, asked.newest, call.stopping)
    return Raw(stream, "text/event-stream", {"cache-control": "no-store"})


def _require_agent(call: Call, asked: LiveEventsInput | LiveInput) -> None:
    if asked.agent not in call.service.names():
        raise NotFound(f"there is no agent {asked.agent}", "see `hive list`")


LIVE_EVENTS = (live_events, live)
