"""Messages that an agent gets later, from the sender `reminder`."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pydantic import Field

from api.operations.base import (
    AGENTS,
    CHANGES,
    OPERATORS,
    READS,
    AgentField,
    Call,
    Input,
    Route,
    Tool,
    on_agents,
    operation,
)
from api.operations.lifecycle import Named
from meta.errors import BadInput
from meta.wire import agent as wire
from meta.wire.common import At, ReminderTiming
from reconciler.messaging.reminders import Reminder

PAST_SLACK = 60
"""Seconds. A time may be so far in the past: people write whole minutes, and mean the present one."""


class RemindAgentInput(Input):
    """A reminder for an agent."""

    agent: AgentField
    message: str = Field(description="the text of the reminder", examples=["look at the nightly build"])
    timing: ReminderTiming
    file_path: str | None = Field(None, description="keep the text in this file below /state/reminders")


@dataclass(frozen=True, slots=True)
class RemindResult:
    """A reminder that is durable; `due_at` in Unix seconds."""

    id: int
    due_at: int


def _local(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(max(0.0, at)))


def _set_text(_call: Call, reminded: RemindResult) -> str:
    return f"reminder {reminded.id} is set"


def _count(count: int) -> wire.PendingRemindersCountResponse:
    return wire.PendingRemindersCountResponse(count=count)


@operation("remind", AGENTS, CHANGES, lines=(on_agents(wire.Remind),), tool=Tool(_set_text))
async def remind(call: Call, asked: wire.Remind) -> RemindResult:
    """Send the caller a message later, from `reminder`."""
    return RemindResult(*await call.service.reminders.put(call.name, asked.message, asked.timing, asked.file_path))


@operation(
    "remind_agent",
    OPERATORS,
    CHANGES,
    routes=(Route("POST", "/api/agents/{agent}/reminders", status=201, limit=2**23),),
)
async def remind_agent(call: Call, asked: RemindAgentInput) -> RemindResult:
    """Send an agent a message later, from `reminder`. A time in the past is refused: most likely it is a mistake."""
    if isinstance(asked.timing, At) and asked.timing.unix_timestamp < time.time() - PAST_SLACK:
        raise BadInput(
            f"the time of the reminder is in the past: {_local(asked.timing.unix_timestamp)}",
            f"it is {_local(time.time())} now: give a later time; `hive send` delivers at once",
        )
    return RemindResult(*await call.service.reminders.put(asked.agent, asked.message, asked.timing, asked.file_path))


@operation("reminders", OPERATORS, READS, routes=(Route("GET", "/api/agents/{agent}/reminders"),))
async def reminders(call: Call, asked: Named) -> list[Reminder]:
    """List the reminders of an agent that are not due yet, newest first."""
    return await call.service.reminders.of(asked.agent)


@operation("count_pending_reminders", AGENTS, READS, lines=(on_agents(wire.CountPendingReminders, _count),))
async def count_pending_reminders(call: Call, _asked: wire.CountPendingReminders) -> int:
    """Count the caller's reminders that are not due yet."""
    return await call.service.reminders.count(call.name)


REMINDERS = (remind, remind_agent, reminders, count_pending_reminders)
