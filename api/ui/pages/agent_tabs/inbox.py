"""What waits in an agent's inbox and what its turn took, its reminders, and what is open of it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.operations.base import Call, Input
from api.operations.lifecycle import Named
from api.operations.loose_ends import cancel_loose_end, loose_ends
from api.operations.messages import AllMessagesInput, all_messages
from api.operations.reminders import RemindAgentInput, remind_agent, reminders
from api.ui.acting import do
from api.ui.moment import Moment
from api.ui.page import Action, Done, Region, Shown
from api.ui.pages.agent.figures import ends_of
from api.ui.pages.agent.head import read_head
from api.ui.pages.agent_tabs.tab import tab
from api.ui.pages.messages.rows import answers_to, letters
from meta.wire.agent import CancelLooseEnd, GetLooseEnds
from meta.wire.common import I64, CancelLooseEndKind, InSeconds, ReminderEnd

READ = 200
"""Messages that are read of each state. Those that the agent wrote itself are among them, and left out."""
SHOWN = 30
REMINDERS = 50
MINUTE, HOUR, DAY = 60, 3_600, 86_400
UNITS = ((MINUTE, "minutes"), (HOUR, "hours"), (DAY, "days"))


class RemindInput(Named):
    """A reminder for an agent after `number` times `unit` seconds."""

    message: str = Field(min_length=1, max_length=1_000_000)
    number: int = Field(ge=1, le=10_000)
    unit: int = Field(MINUTE, ge=MINUTE, le=DAY)


class CancelReminderInput(Input):
    """One reminder."""

    agent: str
    id: I64


async def view(moment: Moment, asked: Named) -> Shown:
    """Return what waits for an agent."""
    head = await read_head(moment, asked.agent, "inbox")
    ends = await moment.ask(loose_ends, GetLooseEnds())
    waiting = await moment.ask(reminders, Named(agent=asked.agent))
    values: dict[str, Any] = {
        "head": head,
        "taken": await _letters(moment, asked, "in-flight"),
        "unread": await _letters(moment, asked, "waiting"),
        "reminders": waiting[:REMINDERS],
        "more_reminders": max(0, len(waiting) - REMINDERS),
        "ends": ends_of(asked.agent, [end for end in ends if not isinstance(end, ReminderEnd)]),
        "answers_to": answers_to,
        "units": UNITS,
    }
    return Shown(values, f"Inbox of {asked.agent}")


async def _letters(moment: Moment, asked: Named, state: str) -> Any:
    """Return the messages to an agent in one state, newest first."""
    wanted = AllMessagesInput.model_validate({"agent": asked.agent, "state": state, "limit": READ})
    page = await moment.ask(all_messages, wanted)
    return letters([row for row in page.rows if row.recipient == asked.agent][:SHOWN])


async def remind(call: Call, asked: RemindInput) -> Done:
    """Set a reminder for an agent."""
    timing = InSeconds(seconds=asked.number * asked.unit)
    await do(call, remind_agent, RemindAgentInput(agent=asked.agent, message=asked.message, timing=timing))
    words = next((words for unit, words in UNITS if unit == asked.unit), f"times {asked.unit} s")
    return Done(f"{asked.agent} gets it in {asked.number} {words if asked.number > 1 else words.removesuffix('s')}.")


async def cancel(call: Call, asked: CancelReminderInput) -> Done:
    """Cancel a reminder."""
    await do(call, cancel_loose_end, CancelLooseEnd(kind=CancelLooseEndKind.REMINDER, id=asked.id))
    return Done(f"Reminder {asked.id} is cancelled.")


INBOX = tab("inbox", "Inbox", Named, view, Region("inbox", "agent_tabs/inbox_list.html"))
ACTIONS = (
    Action("/agents/{agent}/reminders", RemindInput, remind),
    Action("/agents/{agent}/reminders/{id}/cancel", CancelReminderInput, cancel),
)
