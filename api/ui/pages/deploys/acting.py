"""What a person does about a deploy: end it, try it again, tell an agent why it failed."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import Call
from api.operations.messages import SendInput, send
from api.operations.proposals import DenyInput, ProposalInput, cancel, proposal, retry
from api.ui.acting import do
from api.ui.page import Action, AnyAction, Done
from api.ui.pages.deploys.rows import title_of
from meta.errors import Conflict

REASON = 4_000
"""Characters of a failure's reason that an agent is told."""


class TellInput(ProposalInput):
    """One failed deploy, and the agent that is told."""

    to: str = Field(max_length=100)


async def cancel_it(call: Call, asked: DenyInput) -> Done:
    """End a deploy before hive commits it."""
    card = await do(call, cancel, asked)
    return Done(f"Deploy {card.id} of {card.agent} is cancelled. What ran before goes on.")


async def retry_it(call: Call, asked: ProposalInput) -> Done:
    """Propose the same commit again."""
    card = await do(call, retry, asked)
    return Done(f"The same commit of {card.agent} waits for you as proposal {card.id}.", "/")


async def tell(call: Call, asked: TellInput) -> Done:
    """Send the reason of a failure to an agent, once."""
    card = await do(call, proposal, ProposalInput(id=asked.id, agent=asked.agent))
    if card.state != "failed":
        raise Conflict(f"deploy {card.id} of {card.agent} is {card.state}, it did not fail", "load the page again")
    text = f"Deploy {card.id} of {card.agent} ({title_of(card)}) failed:\n\n{(card.note or '')[:REASON]}"
    key = f"deploy-failed:{card.agent}:{card.id}:{card.resolved_at}"
    await do(call, send, SendInput(to=asked.to, body=text, key=key))
    return Done(f"{asked.to} has the reason as a message.")


ACTIONS: tuple[AnyAction, ...] = (
    Action("/deploys/{agent}/{id}/cancel", DenyInput, cancel_it),
    Action("/deploys/{agent}/{id}/retry", ProposalInput, retry_it),
    Action("/deploys/{agent}/{id}/tell", TellInput, tell),
)
