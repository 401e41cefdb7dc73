"""What the loop does next, and why."""

from __future__ import annotations

from api.operations.base import Call, Nothing
from api.operations.lifecycle import ReconcileInput, reconcile
from api.operations.views import MaybeAgent, overview, plan
from api.ui.acting import do
from api.ui.moment import Moment
from api.ui.page import Action, Done, Page, Region, Room, Shown
from api.ui.pages.plan.rows import plan_view


async def view(moment: Moment, _asked: Nothing) -> Shown:
    """Return the next step of every agent."""
    rows = await moment.ask(plan, MaybeAgent())
    status = await moment.ask(overview, Nothing())
    return Shown({"plan": plan_view(rows, status.agents)})


async def reconcile_now(call: Call, asked: ReconcileInput) -> Done:
    """Let the loop look at one agent or at all of them now."""
    await do(call, reconcile, asked)
    return Done(f"hive looks at {asked.agent or 'every agent'} now.")


PAGE = Page(
    "plan",
    "/plan",
    "Plan",
    "plan",
    Nothing,
    view,
    "plan/page.html",
    (
        Region("nav", "parts/navigation.html"),
        Region("plan-sum", "plan/sum.html"),
        Region("plan", "plan/list.html"),
    ),
)
PLAN = Room(pages=(PAGE,), actions=(Action("/plan/reconcile", ReconcileInput, reconcile_now),))
