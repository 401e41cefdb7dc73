"""One agent: its turn as it happens, and all about it."""

from __future__ import annotations

from api.operations.lifecycle import Named
from api.ui.moment import Moment
from api.ui.page import Page, Region, Room, Shown
from api.ui.pages.agent.actions import TURN_ACTIONS
from api.ui.pages.agent.head import HEAD, read_head


async def view(moment: Moment, asked: Named) -> Shown:
    """Return what the page shows."""
    return Shown({"head": await read_head(moment, asked.agent, "live")}, asked.agent)


PAGE = Page(
    "agent",
    "/agents/{agent}",
    "Agent",
    "agents",
    Named,
    view,
    "agent/page.html",
    (Region("nav", "parts/navigation.html"), HEAD),
)
AGENT = Room(pages=(PAGE,), actions=TURN_ACTIONS)
