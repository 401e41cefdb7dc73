"""The rows of the page Agents, from the status and what turns took today. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from api.ui.numbers import count
from api.ui.pages.agent.head import Spent, spent_of
from api.ui.pages.agent.state import badge_of
from api.ui.pages.agent.ways import why
from api.ui.progress.steps import steady
from reconciler.plan.phases import GIVEN_UP, UP
from reconciler.views import AgentStatus, AgentUsage, BudgetUse

PAGE_ROWS = 50
"""Agents on one page."""
SHOWN = 200
"""Characters of what an agent does that are shown."""

ALL, WORKING, IDLE, STOPPED, CARE = "", "working", "idle", "stopped", "care"
FILTERS = ((ALL, "All"), (WORKING, "Working"), (IDLE, "Idle"), (STOPPED, "Stopped"), (CARE, "Needs care"))
"""The filters by phase, each with its words."""

_IN_TURN = {"thinking": "In a turn", "compacting": "Compacts its conversation"}
_RESTS = frozenset({"stopped", "paused", "absent"})


@dataclass(frozen=True, slots=True)
class Row:
    """One agent. `badge` is the class of its phase. `now` says what it does, `small` and `small_at` its turn.

    `spent` is what today took beside the budget, `dollars` its cost, `limit` the budget behind that.
    `generation` is the id that runs, `built` the hash of what was built of it, `back`: an older one can be rolled back
    to. `verb` is the action beside the menu.
    """

    name: str
    about: str
    phase: str
    badge: str
    since: float
    group: str
    now: str
    until: float | None
    small: str
    small_at: float | None
    model: str
    generation: str
    built: str
    back: bool
    old: str
    unread: int
    spent: Spent
    dollars: float
    limit: str
    tokens: int
    restarts: int
    verb: str
    disagrees: bool


@dataclass(frozen=True, slots=True)
class Fleet:
    """The rows of one page, with the counts of all agents. `pages` is at least 1."""

    rows: tuple[Row, ...]
    counts: Mapping[str, int]
    found: int
    page: int
    pages: int
    dollars: float


def fleet(agents: Iterable[AgentStatus], usage: Iterable[AgentUsage], find: str, group: str, page: int) -> Fleet:
    """Return one page of the agents whose name has `find` in it and that are in `group`, and how many there are."""
    used = {each.agent: each for each in usage}
    rows = [row_of(agent, used.get(agent.agent)) for agent in agents]
    counts = {name: sum(name in (ALL, row.group) for row in rows) for name, _ in FILTERS}
    found = [row for row in rows if find.casefold() in row.name.casefold() and group in (ALL, row.group)]
    pages = max(1, -(-len(found) // PAGE_ROWS))
    page = min(max(page, 1), pages)
    shown = tuple(found[(page - 1) * PAGE_ROWS : page * PAGE_ROWS])
    return Fleet(shown, counts, len(found), page, pages, sum(each.today.dollars or 0.0 for each in used.values()))


def row_of(agent: AgentStatus, usage: AgentUsage | None) -> Row:
    """Return the row of one agent. `usage` is that of today, None if it took no turn."""
    badge, today = badge_of(agent).kind, usage.today if usage is not None else BudgetUse()
    spent = spent_of(today, usage.budget if usage is not None else BudgetUse())
    small, small_at = _turn(agent)
    return Row(
        name=agent.agent,
        about="manager" if agent.role == "manager" else agent.runtime,
        phase=agent.phase,
        badge=badge,
        since=agent.since,
        group=group_of(agent, badge),
        now=doing(agent)[:SHOWN],
        until=agent.turn_until if agent.phase in ("parked", "over-budget") else None,
        small=small,
        small_at=small_at,
        model=agent.model,
        generation="" if agent.deployed is None else str(agent.deployed),
        built=agent.generation or "",
        back=bool(agent.deployed),
        old=agent.built_with or "",
        unread=agent.unread,
        spent=spent,
        dollars=today.dollars or 0.0,
        limit=_limit(spent),
        tokens=_claimed(usage),
        restarts=agent.crashes,
        verb=_verb(agent),
        disagrees=agent.phase == "disagrees",
    )


def _claimed(usage: AgentUsage | None) -> int:
    """Return today's tokens as the agent claims them: its own page has the same. A budget counts metered ones too."""
    models = usage.models if usage is not None else []
    return sum((model.input_tokens or 0) + (model.output_tokens or 0) for model in models)


def _limit(spent: Spent) -> str:
    """Return the limit that is nearest as it stands behind the dollars of today."""
    used, of, whole = spent.words.partition(" of ")
    if not of:
        return ""
    return f"of {whole}" if used.startswith("$") else f"{count(spent.part)} of {count(spent.whole)} {whole.split()[-1]}"


def group_of(agent: AgentStatus, badge: str) -> str:
    """Return the filter that an agent belongs to."""
    if badge in ("warn", "bad"):
        return CARE
    if badge == "off":
        return STOPPED
    return WORKING if badge == "run" else IDLE


def doing(agent: AgentStatus) -> str:
    """Return in words what an agent does now, or why it does nothing. No word changes with the clock."""
    if agent.in_flight is not None:
        if agent.phase == "draining":
            turn = f"turn {agent.turn_number}" if agent.turn_number else "its turn"
            return f"Finishes {turn}, then deploy {agent.in_flight}"
        return f"Deploy {agent.in_flight}: {steady(agent.reason)}"
    if agent.phase in ("parked", "over-budget", "needs-login"):
        said = "" if agent.phase == "over-budget" else agent.turn_reason or ""
        return steady(said) if said else why(agent.phase, agent.reason)
    if agent.phase in GIVEN_UP or agent.phase not in UP | _RESTS:
        return steady(agent.reason.partition("; `")[0])  # the button is the command
    if agent.phase == "stopped":
        return "Stopped as asked"
    if agent.phase == "paused":
        return "Takes no turn until it is resumed"
    waits = f"; proposal {agent.pending[0]} waits for you" if agent.pending else ""
    return f"{_IN_TURN.get(agent.turn or '', 'Idle' if agent.turn else 'No harness connected')}{waits}"


def _turn(agent: AgentStatus) -> tuple[str, float | None]:
    if agent.turn_since is not None:
        return f"turn {agent.turn_number}, for " if agent.turn_number else "for ", agent.turn_since
    return ("for ", agent.state_since) if agent.state_since is not None else ("", None)


def _verb(agent: AgentStatus) -> str:
    if agent.phase == "stopped":
        return "start"
    if agent.phase == "paused":
        return "resume"
    if agent.phase == "needs-login":
        return "login"
    return "restart" if agent.phase in GIVEN_UP or agent.phase == "crashed" else "stop"
