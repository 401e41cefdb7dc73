"""The list of agents: what each does, what it costs today, and what one can do about it."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode

from pydantic import Field

from api.operations.base import Input, Nothing
from api.operations.usage import UsageInput, usage
from api.operations.views import destroyed, overview
from api.ui.moment import Moment
from api.ui.page import Page, Region, Room, Shown
from api.ui.pages.agents.acting import ACTIONS
from api.ui.pages.agents.ask import FRAGMENTS
from api.ui.pages.agents.new import NEW
from api.ui.pages.agents.rows import FILTERS, fleet
from reconciler.plan.rollout import Rollout

TOMBS = 50
"""Destroyed agents that the page shows; `hive list --destroyed` has all."""


class AgentsInput(Input):
    """What to show of the agents."""

    q: str = Field("", max_length=100, description="only names with this in them")
    phase: Literal["", "working", "idle", "stopped", "care"] = ""
    page: int = Field(1, ge=1, le=1_000_000)


async def view(moment: Moment, asked: AgentsInput) -> Shown:
    """Return one page of the agents, and what the page says about all of them."""
    status = await moment.ask(overview, Nothing())
    used = await moment.ask(usage, UsageInput())
    shown = fleet(status.agents, used.agents, asked.q, asked.phase, asked.page)
    old = [agent.agent for agent in status.agents if agent.built_with]
    return Shown(
        {
            "fleet": shown,
            "filters": [(name, words, _query(asked, phase=name, page=1)) for name, words in FILTERS],
            "asked": asked,
            "previous": _query(asked, page=shown.page - 1) if shown.page > 1 else None,
            "next": _query(asked, page=shown.page + 1) if shown.page < shown.pages else None,
            "old": old,
            "rollout": _progress(status.rollout),
            "newest": status.revision,
            "tombs": (await moment.ask(destroyed, Nothing()))[:TOMBS],
        }
    )


def _query(asked: AgentsInput, **changes: object) -> str:
    values = {"q": asked.q, "phase": asked.phase, "page": asked.page, **changes}
    return f"?{urlencode({key: value for key, value in values.items() if value not in ('', 1)})}"


def _progress(rollout: Rollout | None) -> dict[str, object] | None:
    """Return how far a rebuild of all agents is."""
    if rollout is None:
        return None
    return {
        "by": rollout.by,
        "at": float(rollout.at),
        "done": len(rollout.done),
        "all": len(rollout.waiting) + len(rollout.begun) + len(rollout.done),
        "begun": sorted(rollout.begun),
        "waiting": rollout.waiting,
        "left_out": rollout.left_out,
        "failed": rollout.failed,
        "reason": rollout.reason,
    }


PAGE = Page(
    "agents",
    "/agents",
    "Agents",
    "agents",
    AgentsInput,
    view,
    "agents/page.html",
    (
        Region("nav", "parts/navigation.html"),
        Region("agents-sum", "agents/sum.html"),
        Region("agents-note", "agents/note.html"),
        Region("agents-filter", "agents/filter.html"),
        Region("agents", "agents/list.html"),
        Region("tombs", "agents/tombs.html"),
    ),
)
AGENTS = Room(pages=(PAGE, NEW), actions=ACTIONS, fragments=FRAGMENTS)
