"""An agent's state in a word and a colour. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.plan.phases import GIVEN_UP, UP
from reconciler.views import AgentStatus

UNDER_WAY = frozenset({"starting", "draining", "switching", "destroying", "unknown"})
WAITING = frozenset({"needs-login", "parked", "over-budget", "backing-off", "crashed"})
IN_TURN = {"thinking": "in a turn", "compacting": "compacting"}
"""Words for the turn states in which a stop would lose work."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A word with the class of its colour: ok, run, off, warn or bad."""

    word: str
    kind: str


def badge_of(row: AgentStatus) -> Badge:
    """Return the badge of an agent: its phase, and blue while something is under way."""
    if row.phase in GIVEN_UP:
        return Badge(row.phase, "bad")
    if row.phase in WAITING:
        return Badge(row.phase, "warn")
    if row.phase in UNDER_WAY or (row.phase == "running" and row.turn in IN_TURN):
        return Badge(row.phase, "run")
    return Badge(row.phase, "ok" if row.phase == "running" else "off")


def doing(row: AgentStatus) -> tuple[str, float | None]:
    """Return what the agent does in a word or two, and since when (Unix seconds, None: not known)."""
    if row.turn in IN_TURN:
        if row.turn != "thinking":
            return IN_TURN[row.turn], row.state_since
        return f"turn {row.turn_number}" if row.turn_number else IN_TURN[row.turn], row.turn_since
    if row.phase == "running" and row.turn:
        return row.turn, row.state_since
    return "", row.since


def is_up(row: AgentStatus) -> bool:
    """Return True if the agent runs and is healthy."""
    return row.phase in UP
