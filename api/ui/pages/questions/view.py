"""Questions to the operator and between agents."""

from __future__ import annotations

from api.operations.base import Nothing
from api.ui.moment import Moment
from api.ui.page import Page, Region, Room, Shown


async def view(_moment: Moment, _asked: Nothing) -> Shown:
    """Return what the page shows."""
    return Shown({})


PAGE = Page(
    "questions",
    "/questions",
    "Questions",
    "questions",
    Nothing,
    view,
    "questions/page.html",
    (Region("nav", "parts/navigation.html"),),
)
QUESTIONS = Room(pages=(PAGE,))
