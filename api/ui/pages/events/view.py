"""The audit trail."""

from __future__ import annotations

from api.operations.base import Nothing
from api.ui.moment import Moment
from api.ui.page import Page, Region, Room, Shown


async def view(_moment: Moment, _asked: Nothing) -> Shown:
    """Return what the page shows."""
    return Shown({})


PAGE = Page(
    "events",
    "/events",
    "Events",
    "events",
    Nothing,
    view,
    "events/page.html",
    (Region("nav", "parts/navigation.html"),),
)
EVENTS = Room(pages=(PAGE,))
