"""Deploys that were approved and are under way: they stay on the list, as steps, until they are done or have failed."""

from __future__ import annotations

from dataclasses import dataclass

from api.operations.base import Nothing
from api.operations.proposals import ProposalInput, proposal
from api.operations.views import overview
from api.ui.moment import Moment
from api.ui.progress.facts import UNDER_WAY
from api.ui.progress.read import facts_of
from api.ui.progress.steps import Step, current, how_far, steps_of
from meta.errors import HiveError, NotFound
from meta.names import AgentName, ProposalId

MOST = 5
"""Deploys that are shown as steps. The page Deploys has all."""
AGAIN = 2.0
"""Seconds after which a page with a deploy is read again: a build's log grows without an event."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """One deploy: whose it is, how far it is in one word and in a sentence, its steps, and since when."""

    agent: AgentName
    id: ProposalId
    word: str
    sentence: str
    steps: tuple[Step, ...]
    since: float

    @property
    def key(self) -> str:
        """Begins the ids of its parts."""
        return f"{self.agent}-{self.id}"


async def read_under_way(moment: Moment) -> tuple[UnderWay, ...]:
    """Return the deploys that are under way, by agent."""
    status = await moment.ask(overview, Nothing())
    flying = [(row.agent, row.in_flight) for row in status.agents if row.in_flight is not None]
    found = [await _one(moment, agent, id) for agent, id in flying[:MOST]]
    return tuple(each for each in found if each is not None)


async def _one(moment: Moment, agent: AgentName, id: ProposalId) -> UnderWay | None:
    try:
        card = await moment.ask(proposal, ProposalInput(id=id, agent=agent))
        if card.state not in UNDER_WAY:
            return None
        steps = steps_of(await facts_of(moment, card))
    except NotFound:
        return None
    except HiveError as error:  # one deploy must not hide the list
        why = f"It cannot be read now: {error.summary}"
        return UnderWay(agent, id, "under way", why, (), moment.at)
    step = current(steps)
    begun = next((each.at for each in steps if each.at is not None), float(card.requested_at))
    return UnderWay(agent, id, how_far(steps), step.text if step else "", steps, begun)
