"""Deploys as the pages show them: one with its steps, and the lines of the log of all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from api.ui.progress.facts import Facts
from api.ui.progress.steps import (
    BACK,
    BAD,
    DONE,
    DRAIN,
    GATE,
    SWITCH,
    Step,
    capital,
    current,
    first_words,
    how_far,
    steps_of,
)
from api.words.texts import first_line
from api.words.users import with_names
from meta.model import DeployKind
from meta.names import MANAGER, AgentName
from reconciler.views import Card, LogRow

TITLE = 120
"""Characters of a title."""
RECENT = 7 * 86_400.0
"""Seconds for which a failure stands above the log, unless the agent was deployed since."""
FAILED_MOST = 5
"""Failures above the log, the newest ones."""

_KINDS = {DeployKind.SPAWN: "its first files", DeployKind.ROLLBACK: "a rollback"}
_ACTIONS = {
    "deploy": "deployed",
    "spawn": "spawned",
    "rollback": "rolled back",
    "rebuild": "rebuilt",
    "destroy": "destroyed",
    "forget": "forgotten",
    "adopt": "adopted",
    "migrate": "migrated",
    "create": "made meta",
    "edit": "edited by hand",
}


@dataclass(frozen=True, slots=True)
class DeployView:
    """One deploy. `key` begins its ids on the page. `badge` is the class of `word`, which is so since `at`.

    `lost` says what a failure means. `turn`: a turn is waited for, which can be cancelled. `tell` is the agent that can
    be told of a failure, "" if there is none. `back`: the agent can roll back, because more than its first files was
    deployed. `unread`: why its steps cannot be read.
    """

    key: str
    href: str
    agent: AgentName
    id: int
    title: str
    word: str
    badge: str
    at: float | None
    steps: tuple[Step, ...]
    facts: tuple[tuple[str, str, bool], ...]
    since: float
    reason: str
    lost: str
    under_way: bool
    failed: bool
    turn: bool
    tell: str
    back: bool
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log of all deploys. `badge` is the class of its dot, `href` the page of the deploy."""

    key: str
    at: float
    word: str
    agent: str
    id: int | None
    title: str
    by: str
    commit: str
    generation: str
    meta: str
    href: str


def deploy_of(facts: Facts, agents: Iterable[AgentName]) -> DeployView:
    """Return one deploy. `agents` are those that exist."""
    card, steps = facts.card, steps_of(facts)
    failed = card.state == "failed"
    step = current(steps)
    word = how_far(steps) if steps else {"proposal": "waits for a decision"}.get(card.state, card.state)
    return DeployView(
        key=f"{card.agent}-{card.id}",
        href=f"/deploys/{card.agent}/{card.id}",
        agent=card.agent,
        id=card.id,
        title=title_of(card),
        word="failed" if failed else word,
        badge=_badge(card.state, facts),
        at=_since(facts, step),
        steps=steps,
        facts=_facts(facts),
        since=float(card.requested_at),
        reason=capital(first_words(card.note or "no reason was recorded")) if failed else "",
        lost=_lost(card, steps) if failed else "",
        under_way=facts.under_way,
        failed=failed,
        turn=step is not None and step.key == DRAIN and step.turn_since is not None,
        tell=_tell(card, agents) if failed else "",
        back=failed and card.kind is not DeployKind.SPAWN and facts.agent is not None and bool(facts.agent.deployed),
    )


def title_of(card: Card) -> str:
    """Return what a deploy is in one line: the first line of its description."""
    return first_line(card.description)[:TITLE] or _KINDS.get(card.kind, f"commit {(card.sha or card.commit_ref)[:7]}")


def tag_of(card: Card) -> str:
    """Return the tag of a deploy's state. A build has none of its own."""
    return f"{'approved' if card.state == 'building' else card.state}/{card.id}"


def open_failures(cards: Sequence[Card], now: float) -> list[Card]:
    """Return the failures that nothing followed: the newest of each agent, if its agent was not deployed since.

    `cards` are the newest first.
    """
    seen: set[AgentName] = set()
    found: list[Card] = []
    for card in cards:
        if card.agent in seen or card.state in ("proposal", "denied"):
            continue
        seen.add(card.agent)
        if card.state == "failed" and now - (card.resolved_at or card.requested_at) < RECENT:
            found.append(card)
    return found[:FAILED_MOST]


def entries(rows: Iterable[LogRow], titles: Iterable[Card]) -> tuple[Entry, ...]:
    """Return the lines of the log. `titles` are cards, whose descriptions say more than the log does."""
    words: dict[tuple[str, int], str] = {(card.agent, card.id): title_of(card) for card in titles}
    return tuple(_entry(row, words) for row in rows)


def _entry(row: LogRow, words: Mapping[tuple[str, int], str]) -> Entry:
    named = row.agent is not None and row.id is not None
    title = words.get((row.agent or "", row.id or 0), "") if named else ""
    return Entry(
        key=row.commit[:12],
        at=float(row.at),
        word=_ACTIONS.get(row.action, row.action)[:TITLE],
        agent=row.agent or "",
        id=row.id,
        title=title or ("" if row.agent else row.subject[:TITLE]),
        by=with_names(row.by),
        commit=(row.sha or "")[:12],
        generation=(row.generation or "")[:12],
        meta=row.commit[:12],
        href=f"/deploys/{row.agent}/{row.id}" if named else "",
    )


def _badge(state: str, facts: Facts) -> str:
    if facts.under_way:
        return "run"
    return {"failed": "bad", "deployed": "ok", "proposal": "warn"}.get(state, "off")


def _since(facts: Facts, step: Step | None) -> float | None:
    """Return since when a deploy is where it is."""
    if facts.under_way:
        return step.at if step is not None else None
    return float(facts.card.resolved_at) if facts.card.resolved_at is not None else float(facts.card.requested_at)


def _facts(facts: Facts) -> tuple[tuple[str, str, bool], ...]:
    """Return what stands beside the steps: word, value, and True if a machine reads the value."""
    card, agent = facts.card, facts.agent
    rows = [
        ("Asked by", with_names(card.proposed_by), False),
        ("Approved by", with_names(card.approved_by), False),
        ("Commit", (card.sha or card.fetched_sha or "")[:12], True),
        ("Branch", card.branch or "", True),
        ("Tag", tag_of(card), True),
        ("Runs now", f"deployed/{agent.deployed}" if agent is not None and agent.deployed is not None else "", True),
    ]
    return tuple(row for row in rows if row[1])


def _lost(card: Card, steps: Sequence[Step]) -> str:
    """Return what a failure means for the agent, in words."""
    kept = f"Its commit is kept as failed/{card.id}, and its messages wait."
    back = next((step for step in steps if step.key == BACK), None)
    if card.kind is DeployKind.SPAWN:
        return f"Nothing was lost. {card.agent} was not made; {kept[:1].lower()}{kept[1:]}"
    if back is not None and back.state == DONE:
        return f"Nothing was lost. What ran before runs again. {kept}"
    if back is not None and back.state == BAD:
        return f"{card.agent} does not run: what ran before did not come back either. {kept}"
    touched = any(step.key in (SWITCH, GATE) for step in steps)
    return (
        f"Nothing was lost. {'hive brings back what ran before' if touched else 'What ran before still runs'}. {kept}"
    )


def _tell(card: Card, agents: Iterable[AgentName]) -> str:
    """Return who can be told of a failure: the agent that asked for it, else the manager."""
    names = set(agents)
    asked = AgentName(card.proposed_by or "")
    return asked if asked in names else MANAGER if MANAGER in names else ""
