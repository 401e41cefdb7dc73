"""What a person does about messages: write one, mark as read, deal with dead letters."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.operations.base import Call, Input
from api.operations.dead_letters import DeadLetterId, discard, revive
from api.operations.messages import RECENT_MOST, MarkReadInput, SendInput, mark_read, send
from api.ui.acting import do
from api.ui.numbers import plural
from api.ui.page import Action, AnyAction, Done
from meta.names import ALL

FormId = Annotated[int, Field(strict=False, ge=0, le=2**63 - 1)]
"""A message's id as a form has it: in digits."""


class ReadInput(Input):
    """The messages that were read."""

    ids: tuple[FormId, ...] = Field(min_length=1, max_length=RECENT_MOST)


async def send_it(call: Call, asked: SendInput) -> Done:
    """Send a message as the operator."""
    sent = await do(call, send, asked)
    return Done(f"Message {sent.id} waits in {'all inboxes' if sent.to == ALL else f'the inbox of {sent.to}'}.")


async def mark_them_read(call: Call, asked: ReadInput) -> Done:
    """Mark messages to the operator as read."""
    count = (await do(call, mark_read, MarkReadInput(ids=asked.ids))).read
    return Done(f"{plural(count, 'message')} marked as read.")


async def revive_it(call: Call, asked: DeadLetterId) -> Done:
    """Put a dead letter back into its inbox."""
    await do(call, revive, asked)
    return Done(f"Message {asked.id} is in its inbox again.")


async def discard_it(call: Call, asked: DeadLetterId) -> Done:
    """Remove a dead letter for ever."""
    await do(call, discard, asked)
    return Done(f"Message {asked.id} is gone.")


ACTIONS: tuple[AnyAction, ...] = (
    Action("/messages/send", SendInput, send_it),
    Action("/messages/read", ReadInput, mark_them_read),
    Action("/messages/{id}/revive", DeadLetterId, revive_it),
    Action("/messages/{id}/discard", DeadLetterId, discard_it),
)
"""The forms of this page. Needs you has those of a dead letter, too."""
