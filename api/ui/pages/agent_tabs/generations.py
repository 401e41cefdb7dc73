"""Every id of an agent: what was deployed, failed or denied, by whom, and how it differs from what runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from api.operations.base import IdField, Nothing
from api.operations.lifecycle import Named
from api.operations.proposals import PendingInput, ProposalInput, pending, proposal
from api.operations.settings import ChangeInput, change
from api.operations.views import overview
from api.ui.moment import Moment
from api.ui.page import Fragment, Region, Shown
from api.ui.pages.agent.head import agent_row, read_head
from api.ui.pages.agent_tabs.tab import tab
from api.ui.pages.deploys.rows import tag_of, title_of
from api.ui.pages.needs_you.settings import settings_of
from api.words.users import with_names
from meta.errors import HiveError
from meta.names import AgentName, ProposalId
from reconciler.views import Card

PAGE_ROWS = 50
READ = 1_000
"""Cards that the operation returns at most."""
BADGES = {"failed": "bad", "proposal": "warn", "building": "run", "approved": "run"}


class GenerationsInput(Named):
    """One agent, and the page of its ids."""

    page: int = Field(1, ge=1, le=READ // PAGE_ROWS)


class GenerationInput(Named):
    """One id of an agent."""

    id: IdField
    layout: Literal["inline", "split"] = "inline"


@dataclass(frozen=True, slots=True)
class Generation:
    """One id. `badge` is the class of `word`; `by` decided on it, `asked` proposed it."""

    id: ProposalId
    tag: str
    word: str
    badge: str
    title: str
    at: float
    by: str
    asked: str
    commit: str
    deployed: bool
    runs: bool


def generations(cards: Iterable[Card], running: ProposalId | None) -> list[Generation]:
    """Return the ids of cards, in their order."""
    return [generation(card, running) for card in cards]


def generation(card: Card, running: ProposalId | None) -> Generation:
    """Return the id of one card. `running` is the one that is deployed now."""
    runs = card.id == running and card.state == "deployed"
    word = {"proposal": "waits"}.get(card.state, card.state)
    return Generation(
        id=card.id,
        tag=tag_of(card),
        word="runs" if runs else word,
        badge="ok" if runs else BADGES.get(card.state, "off"),
        title=title_of(card),
        at=float(card.resolved_at or card.requested_at),
        by=with_names(card.approved_by or card.decided_by),
        asked=with_names(card.proposed_by),
        commit=(card.sha or card.fetched_sha or "")[:12],
        deployed=card.state == "deployed",
        runs=runs,
    )


async def view(moment: Moment, asked: GenerationsInput) -> Shown:
    """Return one page of the ids of an agent, newest first."""
    head = await read_head(moment, asked.agent, "generations")
    wanted = min(asked.page * PAGE_ROWS + 1, READ)
    cards = await moment.ask(pending, PendingInput(all=True, agent=asked.agent, limit=wanted))
    rows = cards[(asked.page - 1) * PAGE_ROWS :]
    values = {
        "head": head,
        "rows": generations(rows[:PAGE_ROWS], head.row.deployed),
        "page_number": asked.page,
        "older": len(rows) > PAGE_ROWS,
    }
    return Shown(values, f"Generations of {asked.agent}")


async def view_one(moment: Moment, asked: GenerationInput) -> Shown:
    """Return how one deployed id differs from what runs; the one that runs, from the one before."""
    row = agent_row(await moment.ask(overview, Nothing()), asked.agent)
    card = await moment.ask(proposal, ProposalInput(id=asked.id, agent=asked.agent))
    shown = generation(card, row.deployed)
    values = {
        "agent": asked.agent,
        "it": shown,
        "layout": asked.layout,
        "problem": "" if shown.deployed else "It was not deployed.",
        "files": None,
    }
    if not shown.deployed:
        return Shown(values)
    try:
        made = await moment.ask(change, _wanted(asked.agent, shown, row.deployed))
        files = await moment.diffs.show(made, f"g{asked.agent}-{asked.id}", asked.layout)
    except HiveError as error:
        return Shown({**values, "problem": error.describe()})
    rows = await asyncio.to_thread(settings_of, made.settings, made.words)
    return Shown({**values, "files": files, "cut": made.cut, "settings": rows})


def _wanted(agent: AgentName, shown: Generation, running: ProposalId | None) -> ChangeInput:
    """Return what to compare: what runs with the one before, and another id with what runs, to see the way back."""
    if shown.runs or running is None:
        return ChangeInput.model_validate({"agent": agent, "to": str(shown.id)})
    return ChangeInput.model_validate({"agent": agent, "from": str(running), "to": str(shown.id)})


GENERATIONS = tab(
    "generations", "Generations", GenerationsInput, view, Region("generations", "agent_tabs/generations_list.html")
)
FRAGMENTS = (Fragment("/agents/{agent}/generations/{id}", GenerationInput, view_one, "agent_tabs/generation.html"),)
