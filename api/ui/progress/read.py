"""Reads what is known about deploys, by operations."""

from __future__ import annotations

from collections.abc import Sequence

from api.operations.base import Nothing
from api.operations.proposals import ProposalInput, build_log
from api.operations.views import EventsInput, MaybeAgent, events, overview, plan
from api.ui.moment import Moment
from api.ui.progress.facts import KINDS, UNDER_WAY, Facts
from reconciler.views import Card, Event

BEFORE = 5.0
"""Seconds before an id was asked for from which its events are read: clocks of tags are whole seconds."""
AFTER = 900.0
"""Seconds after an id ended for which its events are read: until what ran before runs again."""
EVENTS = 200


async def facts_of(moment: Moment, card: Card) -> Facts:
    """Return what is known about the deploy of a card."""
    status = await moment.ask(overview, Nothing())
    rows = await moment.ask(plan, MaybeAgent()) if card.state in UNDER_WAY else []
    return Facts(
        card,
        next((row for row in rows if row.agent == card.agent), None),
        next((agent for agent in status.agents if agent.agent == card.agent), None),
        await _events(moment, card),
        (await moment.ask(build_log, ProposalInput(id=card.id, agent=card.agent))).lines,
    )


async def _events(moment: Moment, card: Card) -> Sequence[Event]:
    since = max(card.requested_at - BEFORE, 0.0)
    until = None if card.resolved_at is None else card.resolved_at + AFTER
    asked = EventsInput(follow=False, agent=card.agent, kind=",".join(KINDS), since=since, until=until, limit=EVENTS)
    found = await moment.ask(events, asked)
    return found if isinstance(found, list) else []
