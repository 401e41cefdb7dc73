"""The head of all pages of one agent: its state, what one does about it, a few facts, and the tabs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.operations.base import Nothing
from api.operations.loose_ends import loose_ends
from api.operations.usage import UsageInput, usage
from api.operations.views import destroyed, overview
from api.ui.moment import Moment
from api.ui.numbers import count, dollars, percent
from api.ui.page import Region
from api.ui.pages.agent.state import Badge, badge_of, doing, is_up
from api.ui.times import span
from meta.errors import NotFound
from meta.names import AgentName
from meta.wire.agent import GetLooseEnds
from meta.wire.common import LooseEnd, QuestionEnd
from reconciler.views import AgentStatus, AgentUsage, BudgetUse, Status

HEAD = Region("head", "agent/head.html")
TABS = (
    ("live", "", "Live"),
    ("inbox", "/inbox", "Inbox"),
    ("questions", "/questions", "Questions"),
    ("network", "/network", "Network"),
    ("logs", "/logs", "Logs"),
    ("generations", "/generations", "Generations"),
    ("settings", "/settings", "Settings"),
    ("usage", "/usage", "Usage"),
)
"""Each tab: its key, the end of its path, and its words."""
NEAR = 0.85
"""From this part of a budget on its bar is amber."""


@dataclass(frozen=True, slots=True)
class Tab:
    """A link to one page of the agent. `count` is what waits there."""

    href: str
    words: str
    here: bool
    count: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What the turns of today took, beside the budget: `words`, and `part` of `whole` for the bar (0: no limit)."""

    words: str
    part: float
    whole: float
    kind: str


@dataclass(frozen=True, slots=True)
class Context:
    """How full the conversation's context is: `words`, and `part` of `whole` for the bar (0: it is not known)."""

    words: str
    part: int
    whole: int


@dataclass(frozen=True, slots=True)
class Head:
    """The head. `doing` since `doing_since`; `up_since` is None unless the agent runs.

    `context` is None until the harness reports it.
    """

    agent: AgentName
    badge: Badge
    doing: str
    doing_since: float | None
    row: AgentStatus
    up_since: float | None
    in_turn: bool
    spent: Spent
    context: Context | None
    tabs: tuple[Tab, ...]


async def read_head(moment: Moment, agent: AgentName, tab: str) -> Head:
    """Return the head of an agent's page with the key `tab`. Raise NotFound if there is no such agent."""
    try:
        row = agent_row(await moment.ask(overview, Nothing()), agent)
    except NotFound as error:
        raise await _gone(moment, agent, error) from error
    report = await moment.ask(usage, UsageInput(agent=agent))
    ends = await moment.ask(loose_ends, GetLooseEnds())
    return head_of(row, report.agents[0] if report.agents else None, ends, tab)


async def _gone(moment: Moment, agent: AgentName, error: NotFound) -> NotFound:
    """Return the error about an agent that is not there, with the time of its end if it was destroyed."""
    for tomb in await moment.ask(destroyed, Nothing()):
        if tomb.agent == agent:
            when = f" {span(moment.at - tomb.at)} ago" if tomb.at else ""
            hint = "it is purged now" if tomb.purging else "the page Agents has its tombstone, which brings it back"
            return NotFound(f"{agent} was destroyed{when}", hint)
    return error


def agent_row(status: Status, agent: AgentName) -> AgentStatus:
    """Return the agent's row of a status. Raise NotFound."""
    for row in status.agents:
        if row.agent == agent:
            return row
    raise NotFound(f"there is no agent {agent}", "the page Agents has all of them")


def head_of(row: AgentStatus, used: AgentUsage | None, ends: Sequence[LooseEnd], tab: str) -> Head:
    """Return the head of a row of the status."""
    what, since = doing(row)
    asked = sum(isinstance(end, QuestionEnd) and end.asker == row.agent for end in ends)
    counts = {"inbox": row.unread, "questions": asked}
    return Head(
        agent=row.agent,
        badge=badge_of(row),
        doing=what,
        doing_since=since,
        row=row,
        up_since=row.since if is_up(row) else None,
        in_turn=row.turn_since is not None,
        spent=spent_of(used.today if used else BudgetUse(), used.budget if used else BudgetUse()),
        context=context_of(row),
        tabs=tuple(Tab(f"/agents/{row.agent}{end}", words, key == tab, counts.get(key, 0)) for key, end, words in TABS),
    )


def context_of(row: AgentStatus) -> Context | None:
    """Return how full the context is: in percent, or in tokens if it is not known how many it may have."""
    used, whole = row.context_tokens, row.context_window
    if used is None:
        return None
    if not whole:
        return Context(f"{count(used)} tokens", 0, 0)
    return Context(f"{percent(used, whole)} %", used, whole)


def spent_of(today: BudgetUse, budget: BudgetUse) -> Spent:
    """Return today's cost beside the limit that is nearest: dollars, tokens or turns."""
    pairs = (
        ("dollars", today.dollars, budget.dollars),
        ("tokens", today.tokens, budget.tokens),
        ("turns", today.turns, budget.turns),
    )
    limited = [((used or 0) / whole, unit, used or 0, whole) for unit, used, whole in pairs if whole]
    spent = dollars(today.dollars or 0.0)
    if not limited:
        return Spent(spent, 0, 0, "")
    share, unit, used, whole = max(limited)
    words = f"{spent} of {dollars(whole).removesuffix('.00')}"
    if unit != "dollars":
        words = f"{used:,} of {whole:,} {unit}"
    return Spent(words, used, whole, "warn" if share >= NEAR else "")
