"""What can be looked at. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from pydantic import Field, TypeAdapter

from api.operations.base import (
    LEADERS,
    OPERATORS,
    AgentField,
    Call,
    Input,
    Nothing,
    Raw,
    Route,
    Tool,
    on_host,
    on_manager,
    operation,
)
from api.operations.event_stream import sse
from api.operations.lifecycle import another
from api.operations.proposals import MOST_ROWS
from api.operations.waiting import unless_stopping
from meta.errors import Conflict
from meta.names import OPERATOR, AgentName
from meta.wire import host, manager
from meta.wire.common import U32
from meta.wire.limits import LOG_LINES_MOST
from reconciler.events.feed import Resync
from reconciler.messaging.questions import Question
from reconciler.views import Card, Event, LogRow, PlanRow, Status

if TYPE_CHECKING:
    from reconciler.agents.lifecycle import Service

MOST_LINES = LOG_LINES_MOST
MOST_SECONDS = 600
MOST_EVENTS = 1000
MOST_WAIT = 30
"""Seconds that one request for a log may wait for the next line."""
MOST_TIME = 1e11


class MaybeAgent(Input):
    """One agent, or all."""

    agent: AgentField | None = None


class Newest(Input):
    """How many."""

    limit: int = Field(50, ge=1, le=MOST_ROWS)


class Tail(Input):
    """The end of an agent's log."""

    agent: AgentField
    lines: U32 = Field(50, description=f"how many; never more than {MOST_LINES}")
    since: float | None = Field(None, ge=0, le=MOST_TIME, description="only what was written after, in Unix seconds")
    after: str | None = Field(None, description="only what comes behind this cursor")
    wait: float = Field(0.0, ge=0, le=MOST_WAIT, description="seconds to wait for the next line")
    follow: bool = Field(False, description="answer a cursor")


class Waiting(MaybeAgent):
    """How long."""

    timeout: float = Field(30.0, ge=0, le=MOST_SECONDS, allow_inf_nan=False, description="seconds")


class Following(Input):
    """Where in the sequence, and whether to go on."""

    follow: bool = Field(True, description="a stream; else a list")
    after: str | None = Field(None, description="begin behind this event")
    limit: int = Field(50, ge=1, le=MOST_EVENTS, description="of a list")
    last_event_id: str | None = Field(None, description="as `after`, and stronger")
    snapshot: bool = Field(False, description="a stream that does not resume begins with everything as it is")


@dataclass(frozen=True, slots=True)
class Name:
    """One agent's name."""

    agent: AgentName


@dataclass(frozen=True, slots=True)
class Logs:
    """The end of an agent's log."""

    agent: AgentName
    text: str
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Everything at once; every event behind `seq` comes with `/api/events?after=`, so that nothing is missed."""

    seq: str
    status: Status
    proposals: list[Card]
    questions: list[Question]
    unread: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Whether nothing is left to do (for `agent`)."""

    agent: AgentName | None
    settled: bool


def _content(logs: Logs) -> manager.LogsResponse:
    return manager.LogsResponse(content=logs.text)


def _text(_call: Call, logs: Logs) -> str:
    return logs.text


def _names(rows: list[Name]) -> host.HostResponse:
    return host.HostResponse(ok=True, agents=tuple(row.agent for row in rows))


@operation("overview", OPERATORS, routes=(Route("GET", "/api/status"),))
async def overview(call: Call, _asked: Nothing) -> Status:
    """The daemon and every agent."""
    return await call.service.status()


@operation("state", OPERATORS, routes=(Route("GET", "/api/state"),))
async def state(call: Call, _asked: Nothing) -> State:
    """Everything at once, with the number of the newest event before it was looked at."""
    return await _everything(call.service)


async def _everything(service: Service) -> State:
    return State(
        seq=await service.events.last(),
        status=await service.status(),
        proposals=await service.pending(),
        questions=await service.questions.open(),
        unread=await service.broker.unread(OPERATOR),
    )


@operation("list", OPERATORS, lines=(on_host(host.ListAgents, _names),), routes=(Route("GET", "/api/agents"),))
async def agents(call: Call, _asked: Nothing) -> list[Name]:
    """The names of all agents."""
    return [Name(agent) for agent in call.service.agents()]


@operation("plan", OPERATORS, routes=(Route("GET", "/api/plan"),))
async def plan(call: Call, asked: MaybeAgent) -> list[PlanRow]:
    """The next step of every agent and why; `step` is `none` when there is nothing to do."""
    return await call.service.plan(asked.agent)


@operation("log", OPERATORS, routes=(Route("GET", "/api/log"),))
async def log(call: Call, asked: Newest) -> list[LogRow]:
    """The system-wide deploy log (meta `main`), newest first."""
    return await call.service.log(asked.limit)


@operation(
    "get_logs",
    LEADERS,
    lines=(on_manager(manager.GetLogs, _content),),
    routes=(Route("GET", "/api/agents/{agent}/logs"),),
    tool=Tool(_text),
)
async def get_logs(call: Call, asked: Tail) -> Logs:
    """The last lines that an agent's container wrote."""
    agent, lines = another(call, asked.agent, "read the logs of"), min(asked.lines, MOST_LINES)
    if not {"since", "after", "wait", "follow"} & asked.model_fields_set:
        return Logs(agent, await call.service.logs(agent, lines))
    waiting = call.service.logs_after(agent, asked.after, lines, asked.since or None, asked.wait)
    part = await unless_stopping(call, waiting, "the daemon is stopping; agents go on")
    return Logs(agent, part.text, part.cursor)


@operation("wait", OPERATORS, routes=(Route("GET", "/api/wait"),))
async def wait(call: Call, asked: Waiting) -> Settled:
    """Until nothing is left to do, at most `timeout` seconds."""
    settling = call.service.settled(asked.agent, asked.timeout)
    words = "the daemon is stopping; what was asked for goes on when it is started"
    return Settled(asked.agent, await unless_stopping(call, settling, words))


@operation(
    "events",
    OPERATORS,
    routes=(
        Route(
            "GET",
            "/api/events",
            headers={"last-event-id": "last_event_id"},
            media=("text/event-stream", "application/json"),
        ),
    ),
)
async def events(call: Call, asked: Following) -> Raw | list[Event]:
    """The event sequence from `after` or from now on, as server-sent events; with `follow=0` a list, oldest first."""
    source, after = call.service.events, asked.last_event_id or asked.after or None
    if after is not None:
        source.check(after)
    if not asked.follow:
        try:
            return await source.since(after or _before(await source.last(), asked.limit), asked.limit)
        except Resync as error:
            raise Conflict(error.summary, error.hint) from error
    stream = sse(source, after, call.stopping, partial(_snapshot, call.service) if asked.snapshot else None)
    return Raw(stream, "text/event-stream", {"cache-control": "no-store"})


async def _snapshot(service: Service) -> tuple[str, str]:
    """For the stream; JSON has no line ends of its own."""
    found = await _everything(service)
    return found.seq, _state_type().dump_json(found).decode()


@cache
def _state_type() -> TypeAdapter[State]:
    return TypeAdapter(State)


def _before(last: str, count: int) -> str:
    """The place `count` events before `last`."""
    database, _, n = last.rpartition("-")
    return f"{database}-{max(0, int(n) - count)}"


VIEWS = (overview, state, agents, plan, log, get_logs, wait, events)
