"""One agent: its turn as it happens, and all about it."""

from __future__ import annotations

from api.operations.lifecycle import Named
from api.ui.moment import Moment
from api.ui.page import Page, Region, Room, Shown


async def view(_moment: Moment, _asked: Named) -> Shown:
    """Return what the page shows."""
    return Shown({})


PAGE = Page(
    "agent",
    "/agents/{agent}",
    "Agent",
    "agents",
    Named,
    view,
    "agent/page.html",
    (Region("nav", "parts/navigation.html"),),
)
AGENT = Room(pages=(PAGE,))
