"""What the loop does next, and why."""

from __future__ import annotations

from api.operations.base import Nothing
from api.ui.moment import Moment
from api.ui.page import Page, Region, Room, Shown


async def view(_moment: Moment, _asked: Nothing) -> Shown:
    """Return what the page shows."""
    return Shown({})


PAGE = Page(
    "plan",
    "/plan",
    "Plan",
    "plan",
    Nothing,
    view,
    "plan/page.html",
    (Region("nav", "parts/navigation.html"),),
)
PLAN = Room(pages=(PAGE,))
