"""What all tabs of an agent's page share: the regions that each has, and the frame of a page."""

from __future__ import annotations

from typing import TypeVar

from api.operations.base import Input
from api.ui.page import Page, Region, View
from api.ui.pages.agent.head import HEAD

In = TypeVar("In", bound=Input)
NAVIGATION = Region("nav", "parts/navigation.html")


def tab(key: str, title: str, input: type[In], view: View[In], *regions: Region) -> Page[In]:
    """Return the page of the tab `key`, which has these regions below the head."""
    return Page(
        f"agent-{key}",
        f"/agents/{{agent}}/{key}",
        title,
        "agents",
        input,
        view,
        f"agent_tabs/{key}.html",
        (NAVIGATION, HEAD, *regions),
    )
