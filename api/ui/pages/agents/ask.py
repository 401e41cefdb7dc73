"""What a dialog shows before something is done that is hard to undo. It is fetched when the dialog opens."""

from __future__ import annotations

from api.operations.base import Nothing
from api.operations.lifecycle import Named
from api.operations.proposals import PendingInput, pending
from api.operations.views import destroyed, overview
from api.ui.moment import Moment
from api.ui.page import AnyFragment, Fragment, Shown
from api.ui.pages.agent.head import agent_row
from meta.errors import NotFound
from reconciler.views import AgentStatus, Card

IDS = 50
"""Deployed ids that the dialog of a rollback lists."""
READ = 1_000
"""Cards of the agent among which they are looked for."""


async def before_rollback(moment: Moment, asked: Named) -> Shown:
    """Return the deployed ids of an agent, newest first."""
    agent = await _agent(moment, asked)
    cards = await moment.ask(pending, PendingInput(all=True, agent=asked.agent, limit=READ))
    done = [card for card in cards if card.state == "deployed"]
    return Shown({"agent": agent, "ids": [_id(card, agent) for card in done[:IDS]], "more": max(0, len(done) - IDS)})


async def before_destroy(moment: Moment, asked: Named) -> Shown:
    """Return what is known about an agent that may be destroyed."""
    return Shown({"agent": await _agent(moment, asked)})


async def before_purge(moment: Moment, asked: Named) -> Shown:
    """Return what a destroyed agent left."""
    for tomb in await moment.ask(destroyed, Nothing()):
        if tomb.agent == asked.agent:
            return Shown({"tomb": tomb})
    raise NotFound(f"there is no destroyed agent {asked.agent}", "see the list of agents")


async def _agent(moment: Moment, asked: Named) -> AgentStatus:
    return agent_row(await moment.ask(overview, Nothing()), asked.agent)


def _id(card: Card, agent: AgentStatus) -> dict[str, object]:
    words = (card.description or "").strip().partition("\n")[0][:200]
    return {
        "id": card.id,
        "at": float(card.resolved_at or card.requested_at),
        "words": words or {"spawn": "its first files", "rollback": "a rollback"}.get(str(card.kind), ""),
        "commit": (card.sha or card.fetched_sha or "")[:7],
        "runs": card.id == agent.deployed,
    }


FRAGMENTS: tuple[AnyFragment, ...] = (
    Fragment("/agents/{agent}/rollback", Named, before_rollback, "agents/rollback.html"),
    Fragment("/agents/{agent}/destroy", Named, before_destroy, "agents/destroy.html"),
    Fragment("/agents/{agent}/purge", Named, before_purge, "agents/purge.html"),
)
