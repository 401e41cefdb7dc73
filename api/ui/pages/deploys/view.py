"""What is being deployed, what failed, and the log of all."""

from __future__ import annotations

from api.operations.base import Nothing
from api.ui.moment import Moment
from api.ui.page import Page, Region, Room, Shown


async def view(_moment: Moment, _asked: Nothing) -> Shown:
    """Return what the page shows."""
    return Shown({})


PAGE = Page(
    "deploys",
    "/deploys",
    "Deploys",
    "deploys",
    Nothing,
    view,
    "deploys/page.html",
    (Region("nav", "parts/navigation.html"),),
)
DEPLOYS = Room(pages=(PAGE,))
