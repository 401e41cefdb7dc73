"""The machine: space, memory, isolation, findings of the doctor."""

from __future__ import annotations

from api.operations.base import Nothing
from api.ui.moment import Moment
from api.ui.page import Page, Region, Room, Shown


async def view(_moment: Moment, _asked: Nothing) -> Shown:
    """Return what the page shows."""
    return Shown({})


PAGE = Page(
    "host",
    "/host",
    "Host",
    "host",
    Nothing,
    view,
    "host/page.html",
    (Region("nav", "parts/navigation.html"),),
)
HOST = Room(pages=(PAGE,))
