"""The list of agents."""

from __future__ import annotations

from api.operations.base import Call, Nothing
from api.operations.lifecycle import StopInput, kill
from api.operations.views import overview
from api.ui.acting import do
from api.ui.moment import Moment
from api.ui.page import Action, Done, Page, Region, Room, Shown


async def view(moment: Moment, _asked: Nothing) -> Shown:
    """Return the agents with their state."""
    status = await moment.ask(overview, Nothing())
    return Shown({"agents": status.agents})


async def stop(call: Call, asked: StopInput) -> Done:
    """Stop an agent."""
    await do(call, kill, asked)
    return Done(f"{asked.agent} stops when its turn has ended.")


PAGE = Page(
    "agents",
    "/agents",
    "Agents",
    "agents",
    Nothing,
    view,
    "agents/page.html",
    (Region("nav", "parts/navigation.html"), Region("agents", "agents/list.html")),
)
AGENTS = Room(pages=(PAGE,), actions=(Action("/agents/{agent}/stop", StopInput, stop),))
