"""Operations that only read: status, plan, logs, events."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from pydantic import Field, TypeAdapter

from api.operations.base import (
    LEADERS,
    OPERATORS,
    READS,
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
from api.operations.proposals import MAX_ROWS
from api.operations.waiting import unless_stopping
from meta.errors import BadInput, Conflict
from meta.names import OPERATOR, AgentName
from meta.wire import host, manager
from meta.wire.common import U32
from meta.wire.limits import LOG_LINES_MOST
from reconciler.events.feed import EVENT_KINDS, Resync
from reconciler.messaging.questions import Question
from reconciler.store.events.log import Filter
from reconciler.views import Card, Digest, Event, LogRow, PlanRow, Remains, Status

if TYPE_CHECKING:
    from reconciler.service import Service

MAX_LINES = LOG_LINES_MOST
MAX_TIMEOUT = 600
MAX_EVENTS = 1000
MAX_DETAILS = 50
MAX_WAIT = 30
"""Seconds that one request for a log may wait for the next line."""
MAX_TIME = 1e11


class MaybeAgent(Input):
    """One agent, or all."""

    agent: AgentField | None = None


class LogInput(Input):
    """The number of rows."""

    limit: int = Field(50, ge=1, le=MAX_ROWS)


class LogsInput(Input):
    """The end of an agent's log."""

    agent: AgentField
    lines: U32 = Field(50, description=f"how many; never more than {MAX_LINES}")
    since: float | None = Field(None, ge=0, le=MAX_TIME, description="only lines after this time, in Unix seconds")
    after: str | None = Field(None, description="only lines after this cursor")
    wait: float = Field(0.0, ge=0, le=MAX_WAIT, description="seconds to wait for the next line")
    follow: bool = Field(False, description="include a cursor in the answer")


class WaitInput(MaybeAgent):
    """The length of the wait."""

    timeout: float = Field(30.0, ge=0, le=MAX_TIMEOUT, allow_inf_nan=False, description="seconds")


class DigestInput(MaybeAgent):
    """From when on, and how much of it."""

    since: float = Field(ge=0, le=MAX_TIME, description="what happened since, in Unix seconds")
    details: int = Field(5, ge=0, le=MAX_DETAILS, description="the newest events of each agent")


class EventsInput(Input):
    """The position in the sequence, and whether to continue with new events."""

    follow: bool = Field(True, description="a stream; else a list")
    after: str | None = Field(None, description="start after this event")
    limit: int = Field(50, ge=1, le=MAX_EVENTS, description="how many, for a list")
    last_event_id: str | None = Field(None, description="as `after`, which it overrides")
    before: str | None = Field(None, description="only events before this one, for a list")
    oldest: bool = Field(False, description="a list of the oldest events that are kept, if there is no `after`")
    snapshot: bool = Field(False, description="start a stream that does not resume with the whole state")
    agent: AgentField | None = Field(None, description="only events of this agent")
    kind: str | None = Field(None, description="only events of this kind, or of these, divided by commas")
    since: float | None = Field(None, ge=0, le=MAX_TIME, description="only events from this time on, in Unix seconds")
    until: float | None = Field(None, ge=0, le=MAX_TIME, description="only events up to this time, in Unix seconds")


@dataclass(frozen=True, slots=True)
class Name:
    """One agent's name and phase. `reason` and `remedy` are those of its plan."""

    agent: AgentName
    phase: str
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Logs:
    """The end of an agent's log."""

    agent: AgentName
    text: str
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The whole state. `/api/events?after=<seq>` continues from it without a gap."""

    seq: str
    status: Status
    proposals: list[Card]
    questions: list[Question]
    unread: int


@dataclass(frozen=True, slots=True)
class WaitResult:
    """The result of a wait. `settled` is true if no work is left (for `agent`)."""

    agent: AgentName | None
    settled: bool


def _logs_response(logs: Logs) -> manager.LogsResponse:
    return manager.LogsResponse(content=logs.text)


def _text(_call: Call, logs: Logs) -> str:
    return logs.text


def _names(rows: list[Name]) -> host.HostResponse:
    return host.HostResponse(ok=True, agents=tuple(row.agent for row in rows))


@operation("overview", OPERATORS, READS, routes=(Route("GET", "/api/status"),))
async def overview(call: Call, _asked: Nothing) -> Status:
    """Return the daemon and every agent."""
    return await call.status()


@operation("state", OPERATORS, READS, routes=(Route("GET", "/api/state"),))
async def state(call: Call, _asked: Nothing) -> State:
    """Return the whole state, with the number of the newest event before it was read."""
    return await _everything(call.service)


async def _everything(service: Service) -> State:
    return State(
        seq=await service.events.last(),
        status=await service.status(),
        proposals=await service.cards.pending(),
        questions=await service.questions.open(),
        unread=await service.broker.unread(OPERATOR),
    )


@operation("list", OPERATORS, READS, lines=(on_host(host.ListAgents, _names),), routes=(Route("GET", "/api/agents"),))
async def agents(call: Call, _asked: Nothing) -> list[Name]:
    """List the names of all agents, also of those that are just being spawned, with their phases."""
    rows = await call.service.plan(or_last=True, again=not call.glances)
    return [Name(row.agent, row.phase, row.reason, row.remedy) for row in rows if row.phase != "absent"]


@operation("destroyed", OPERATORS, READS, routes=(Route("GET", "/api/destroyed"),))
async def destroyed(call: Call, _asked: Nothing) -> list[Remains]:
    """List what destroyed agents left. It is kept until it is purged."""
    return await call.service.remains()


@operation("plan", OPERATORS, READS, routes=(Route("GET", "/api/plan"),))
async def plan(call: Call, asked: MaybeAgent) -> list[PlanRow]:
    """Return the next step of every agent, and why. `step` is `none` if there is nothing to do."""
    return await call.service.plan(asked.agent, again=not call.glances)


@operation("log", OPERATORS, READS, routes=(Route("GET", "/api/log"),))
async def log(call: Call, asked: LogInput) -> list[LogRow]:
    """Return the system-wide deploy log (meta `main`), newest first."""
    return await call.service.logs.deploys(asked.limit)


@operation(
    "get_logs",
    LEADERS,
    READS,
    lines=(on_manager(manager.GetLogs, _logs_response),),
    routes=(Route("GET", "/api/agents/{agent}/logs"),),
    tool=Tool(_text),
)
async def get_logs(call: Call, asked: LogsInput) -> Logs:
    """Return the last lines that an agent's container wrote."""
    agent, lines = another(call, asked.agent, "read the logs of"), min(asked.lines, MAX_LINES)
    if not {"since", "after", "wait", "follow"} & asked.model_fields_set:
        return Logs(agent, await call.service.logs.last(agent, lines))
    waiting = call.service.logs.after(agent, asked.after, lines, asked.since or None, asked.wait)
    part = await unless_stopping(call, waiting, "the daemon is stopping; agents keep running")
    return Logs(agent, part.text, part.cursor)


@operation("wait", OPERATORS, READS, routes=(Route("GET", "/api/wait"),))
async def wait(call: Call, asked: WaitInput) -> WaitResult:
    """Wait until no work is left, for at most `timeout` seconds."""
    settling = call.service.loop.settled(asked.agent, asked.timeout)
    message = "the daemon is stopping; the work goes on when it starts again"
    return WaitResult(asked.agent, await unless_stopping(call, settling, message))


@operation(
    "events",
    OPERATORS,
    READS,
    routes=(
        Route(
            "GET",
            "/api/events",
            headers={"last-event-id": "last_event_id"},
            media=("text/event-stream", "application/json"),
        ),
    ),
)
async def events(call: Call, asked: EventsInput) -> Raw | list[Event]:
    """Stream the events after `after`, or from now on, as server-sent events. With `follow=0` return a list, oldest
    first.
    """
    source, after, only = call.service.events, asked.last_event_id or asked.after or None, _wanted(asked)
    for seq in (after, asked.before):
        if seq is not None:
            source.check(seq)
    if not asked.follow:
        try:
            return await source.matching(after, asked.limit, only, before=asked.before, oldest=asked.oldest)
        except Resync as error:
            raise Conflict(error.summary, error.hint) from error
    stream = sse(source, after, call.stopping, partial(_snapshot, call.service) if asked.snapshot else None, only)
    return Raw(stream, "text/event-stream", {"cache-control": "no-store"})


@operation("digest", OPERATORS, READS, routes=(Route("GET", "/api/digest"),))
async def digest(call: Call, asked: DigestInput) -> Digest:
    """Count what happened since a time, agent by agent, with the newest details."""
    return await call.service.digest(asked.since, asked.agent, asked.details)


async def _snapshot(service: Service) -> tuple[str, str]:
    """Return the state for the stream, as JSON on one line."""
    state = await _everything(service)
    return state.seq, _state_type().dump_json(state).decode()


@cache
def _state_type() -> TypeAdapter[State]:
    return TypeAdapter(State)


def _wanted(asked: EventsInput) -> Filter:
    """Return the filter of a request. Raise BadInput for a kind that does not exist."""
    kinds = frozenset((asked.kind or "").split(",")) - {""}
    for unknown in sorted(kinds - set(EVENT_KINDS)):
        raise BadInput(f"{unknown[:60]!r} is not a kind of event", f"the kinds are {', '.join(sorted(EVENT_KINDS))}")
    until = math.inf if asked.until is None else asked.until
    return Filter(asked.agent, kinds, asked.since or 0.0, until)


VIEWS = (overview, state, agents, destroyed, plan, log, get_logs, wait, events, digest)
