"""What needs a person."""

from __future__ import annotations

from api.operations.attention import attention
from api.operations.base import Nothing
from api.ui.moment import Moment
from api.ui.page import Page, Region, Room, Shown


async def view(moment: Moment, _asked: Nothing) -> Shown:
    """Return the attention list."""
    return Shown({"rows": (await moment.ask(attention, Nothing())).rows})


PAGE = Page(
    "needs-you",
    "/",
    "Needs you",
    "needs-you",
    Nothing,
    view,
    "needs_you/page.html",
    (Region("nav", "parts/navigation.html"), Region("rows", "needs_you/list.html")),
)
NEEDS_YOU = Room(pages=(PAGE,))
