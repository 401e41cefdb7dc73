"""What can be decided here. Each decision is an operation, as the person who is logged in."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import Call, Input
from api.operations.loose_ends import cancel_loose_end
from api.operations.network import AllowInput, network_allow, network_deny
from api.operations.network import DenyInput as RefuseInput
from api.operations.proposals import (
    ApproveInput,
    DenyInput,
    PendingInput,
    ProposalInput,
    approve,
    deny,
    pending,
    proposal,
    rebase,
    retry,
)
from api.operations.questions import QuestionInput, answer, question
from api.ui.acting import do
from api.ui.numbers import plural
from api.ui.page import Action, AnyAction, Done
from api.words.users import with_names
from meta.errors import BadInput, Conflict, HiveError, Refused, Unseen
from meta.wire import agent as wire
from meta.wire.common import I64, CancelLooseEndKind
from reconciler.messaging.questions import Question
from reconciler.views import Card

DIGITS = 4
"""Digits of the place of an option."""
OTHER = "other"
"""The choice of an answer in one's own words. The others are numbers."""
OPTIONS_MOST = 200


class AnswerInput(Input):
    """The answer to a question: the places of chosen options, from 0, or `other` with a text."""

    id: I64
    choice: tuple[str, ...] = Field((), max_length=OPTIONS_MOST)
    other: str = Field("", max_length=65_536)


class CancelInput(Input):
    """A question to cancel."""

    id: I64


async def approve_it(call: Call, asked: ApproveInput) -> Done:
    """Approve exactly what was shown. If something else is there by now, raise what moved."""
    try:
        card = await do(call, approve, asked)
    except Unseen:
        raise
    except (Conflict, Refused) as error:
        raise await _moved(call, asked, error) from error
    return Done(f"{_what(card)} is approved.")


async def deny_it(call: Call, asked: DenyInput) -> Done:
    """Deny a proposal."""
    card = await do(call, deny, asked)
    return Done(f"{_what(card)} is denied. {with_names(card.proposed_by) or card.agent} is told why.")


async def rebase_it(call: Call, asked: ProposalInput) -> Done:
    """Replay a stale proposal onto what the agent runs now."""
    card = await do(call, rebase, asked)
    left = f" {card.merges_left_out} merges were left out." if card.merges_left_out else ""
    return Done(f"Proposal {asked.id} is rebased: decide on proposal {card.id} in its place.{left}")


async def retry_it(call: Call, asked: ProposalInput) -> Done:
    """Propose the commit of a failed id again."""
    card = await do(call, retry, asked)
    return Done(f"It is proposed again, as proposal {card.id} of {card.agent}.")


async def answer_it(call: Call, asked: AnswerInput) -> Done:
    """Answer a question with the options that were chosen, joined by ", ", or in one's own words."""
    open_ = await do(call, question, QuestionInput(id=asked.id))
    text = answer_text(open_, asked.choice, asked.other)
    await do(call, answer, wire.Answer(id=asked.id, answer=text))
    return Done(f"{open_.asker} gets your answer.")


def answer_text(asked: Question, choice: tuple[str, ...], other: str) -> str:
    """Return the answer that a form means. Raise BadInput if it means none, or if a text would be lost."""
    own = other.strip()
    if own and OTHER not in choice and (choice or not asked.multi) and asked.options:
        raise BadInput("you wrote an answer of your own and did not choose it", "choose Other, or empty the field")
    parts = [_option(asked, place) for place in choice if place != OTHER]
    if own:
        parts.append(own)
    if OTHER in choice and not own:
        raise BadInput("Other is chosen and has no text", "write your answer beside it")
    if not parts:
        raise BadInput("there is no answer", "choose one, or write your own")
    if len(parts) > 1 and not asked.multi:
        raise BadInput("this question takes one answer", "choose one")
    return ", ".join(parts)


def _option(asked: Question, place: str) -> str:
    if not (place.isascii() and place.isdigit()) or len(place) > DIGITS or int(place) >= len(asked.options):
        raise BadInput("one of the choices does not exist", "load the page again")
    return asked.options[int(place)]


async def cancel_it(call: Call, asked: CancelInput) -> Done:
    """Cancel a question; its asker is told."""
    await do(call, cancel_loose_end, wire.CancelLooseEnd(kind=CancelLooseEndKind.QUESTION, id=asked.id))
    return Done(f"Question {asked.id} is cancelled. Its asker is told.")


async def allow_it(call: Call, asked: AllowInput) -> Done:
    """Allow an agent a host for a time, or propose it for good."""
    allowed = await do(call, network_allow, asked)
    if allowed.proposal is not None:
        return Done(f"Proposal {allowed.proposal} of {asked.agent} would allow {allowed.rule} for good: decide on it.")
    return Done(f"{asked.agent} may reach {allowed.rule} for {plural(asked.seconds // 3600, 'hour')}, from now on.")


async def refuse_it(call: Call, asked: RefuseInput) -> Done:
    """Refuse what an agent asked for."""
    await do(call, network_deny, asked)
    return Done(f"{asked.agent} is told that it may not reach it.")


async def _moved(call: Call, asked: ApproveInput, error: HiveError) -> HiveError:
    """Return the error that says what moved since the card was shown: who decided, or what is in its place."""
    card = await do(call, proposal, ProposalInput(id=asked.id, agent=asked.agent))
    if card.status == "pending":
        return Refused(f"{error.summary}: nothing is approved", "the card shows it as it is now; read it, then decide")
    newer = [each for each in await do(call, pending, PendingInput(agent=card.agent)) if each.id > card.id]
    decider = f" by {with_names(card.decided_by)}" if card.decided_by else ""
    why = f": {card.note}" if card.note else ""
    summary = f"{_what(card)} was {card.status}{decider} meanwhile{why}"
    if not newer:
        return Conflict(summary, "nothing waits for you any more")
    there = newer[-1]
    commit, by = (there.sha or there.fetched_sha or "")[:12], with_names(there.proposed_by) or "hive"
    return Conflict(
        summary,
        f"in its place is proposal {there.id}, commit {commit}, by {by}: decide on that",
    )


def _what(card: Card) -> str:
    return f"The spawn of {card.agent}" if card.kind == "spawn" else f"Proposal {card.id} of {card.agent}"


ACTIONS: tuple[AnyAction, ...] = (
    Action("/needs-you/proposals/{id}/approve", ApproveInput, approve_it),
    Action("/needs-you/proposals/{id}/deny", DenyInput, deny_it),
    Action("/needs-you/proposals/{id}/rebase", ProposalInput, rebase_it),
    Action("/needs-you/proposals/{id}/retry", ProposalInput, retry_it),
    Action("/needs-you/questions/{id}/answer", AnswerInput, answer_it),
    Action("/needs-you/questions/{id}/cancel", CancelInput, cancel_it),
    Action("/needs-you/hosts/allow", AllowInput, allow_it),
    Action("/needs-you/hosts/refuse", RefuseInput, refuse_it),
)
"""The forms of this page. What is done about a dead letter is an action of Messages."""
