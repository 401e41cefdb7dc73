"""The page that makes an agent."""

from __future__ import annotations

from api.operations.base import Nothing
from api.ui.moment import Moment
from api.ui.page import Page, Region, Shown
from meta.agent_toml.runtimes import SEEDED, WITHOUT_CLI


async def view(_moment: Moment, _asked: Nothing) -> Shown:
    """Return the runtimes with which an agent can begin."""
    return Shown({"runtimes": [name for name in SEEDED if name not in WITHOUT_CLI]})


NEW = Page(
    "new-agent",
    "/new-agent",
    "New agent",
    "agents",
    Nothing,
    view,
    "agents/new.html",
    (Region("nav", "parts/navigation.html"),),
)
