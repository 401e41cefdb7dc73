"""The plan as rows: what the loop does next for each agent, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from api.ui.pages.agent.state import badge_of
from api.ui.pages.agent.ways import Way, others, ways, why
from api.ui.pieces import Piece, prose
from api.ui.progress.steps import REASON
from reconciler.views import AgentStatus, PlanRow

ROWS_MOST = 60
"""Rows that the page shows at once of each group."""

STEPS: Mapping[str, str] = {
    "none": "Nothing",
    "wait": "Wait",
    "project": "Bring its cards up to date",
    "begin": "Begin the deploy",
    "candidate": "Make the candidate",
    "preview": "Evaluate a proposal",
    "build": "Build",
    "create": "Make the container",
    "furnish": "Make its directories",
    "open-sockets": "Open its sockets",
    "drain": "Wait for its turn",
    "stop": "Stop",
    "switch": "Switch",
    "start": "Start",
    "commit": "Commit to meta",
    "finish": "Tag as deployed",
    "drop": "Drop what is left over",
    "fail": "End the deploy as failed",
    "count-crash": "Count a crash",
    "mark-healthy": "Note that it is healthy",
    "forget-crashes": "Forget its crashes",
    "give-up-rollback": "Give up the way back",
    "reapply": "Rebuild",
    "destroy": "Remove its container",
    "purge": "Purge",
}
"""Each step in words for people. A test compares it with the steps of the plan."""


_IN_STEP = ("deploying ", "waits for its turn to end")
"""Beginnings of conditions that the step and its time say already."""


@dataclass(frozen=True, slots=True)
class Next:
    """One agent. `more` are its conditions, and what a person can do if none of `ways`, the buttons, does it.

    `deploy` is the id that is deployed.
    """

    agent: str
    phase: str
    badge: str
    step: str
    why: tuple[Piece, ...]
    ways: tuple[Way, ...]
    more: tuple[tuple[Piece, ...], ...]
    until: float | None
    deploy: int | None


@dataclass(frozen=True, slots=True)
class PlanView:
    """The agents that hive works on, those that it leaves to a person, and those that are as they should be.

    `counts` are of all of them, `hidden` is how many have no row.
    """

    works: tuple[Next, ...]
    waits: tuple[Next, ...]
    rest: tuple[Next, ...]
    counts: tuple[int, int, int]
    hidden: int


def plan_view(rows: Iterable[PlanRow], agents: Iterable[AgentStatus]) -> PlanView:
    """Return the plan in three groups."""
    known: dict[str, AgentStatus] = {agent.agent: agent for agent in agents}
    groups: tuple[list[Next], list[Next], list[Next]] = ([], [], [])
    for row in rows:
        if row.phase == "absent":
            continue  # a destroyed agent
        groups[0 if not row.idle else 1 if row.remedy or row.conditions else 2].append(_next(row, known.get(row.agent)))
    hidden = sum(max(0, len(group) - ROWS_MOST) for group in groups)
    works, waits, rest = (tuple(group[:ROWS_MOST]) for group in groups)
    counts = (len(groups[0]), len(groups[1]), len(groups[2]))
    return PlanView(works, waits, rest, counts, hidden)


def _next(row: PlanRow, agent: AgentStatus | None) -> Next:
    rests = agent.turn_until if agent is not None and row.phase in ("parked", "over-budget") else None
    return Next(
        agent=row.agent,
        phase=row.phase,
        badge="off" if agent is None else badge_of(agent).kind,
        step=STEPS.get(row.step, row.step),
        why=prose(why(row.phase, row.reason)),
        ways=ways(row.agent, row.phase),
        more=tuple(prose(text[:REASON]) for text in _more(row)),
        until=row.until or rests,
        deploy=row.deploy,
    )


def _more(row: PlanRow) -> list[str]:
    """Return what stands below the reason: conditions that say more, and the remedy if no button is for it."""
    said = others(row.phase, row.conditions, row.reason)
    texts = [text for text in said if not text.endswith(row.reason) and not text.startswith(_IN_STEP)]
    is_said = not row.remedy or ways(row.agent, row.phase) or any(row.remedy in text for text in texts)
    return texts if is_said else [*texts, row.remedy]
