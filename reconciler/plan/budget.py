"""The budget of an agent for one day (UTC), and whether it is used up. Pure: the same facts give the same verdict."""

from __future__ import annotations

from dataclasses import dataclass

from meta.agent_toml.settings import Budget

DAY = 86_400
"""Seconds of a day. Unix time has no leap seconds."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What the turns of one day took. `turns` leaves out those that ended because of an outage, a limit or a login.

    `tokens` are those that the model read and wrote, without what its provider's cache had, as the agent claims;
    `metered` the same as hive-egress counted them, 0 if the key of the model's API is not outside.
    """

    turns: int = 0
    tokens: int = 0
    dollars: float = 0.0
    metered: int = 0

    @property
    def spent(self) -> int:
        """The tokens that count: what was metered, if the agent claims less."""
        return max(self.tokens, self.metered)


@dataclass(frozen=True, slots=True)
class Over:
    """A budget that is used up: why, in one line, and until when in Unix seconds."""

    reason: str
    until: float


def day_of(at: float) -> int:
    """Return the number of the day (UTC) in which the Unix time `at` lies, counted from 1970-01-01."""
    return int(at // DAY)


def midnight_after(at: float) -> float:
    """Return the Unix time at which the next day (UTC) begins."""
    return float((day_of(at) + 1) * DAY)


def judge(budget: Budget, sums: Sums, now: float) -> Over | None:
    """Return why the agent may take no more turns on the day of `now`, whose sums are `sums`; None if it may."""
    reasons = []
    if budget.turns is not None and sums.turns >= budget.turns:
        reasons.append(f"{sums.turns} of {budget.turns} turns")
    if budget.tokens is not None and sums.spent >= budget.tokens:
        reasons.append(f"{sums.spent} of {budget.tokens} tokens")
    if budget.dollars is not None and sums.dollars >= budget.dollars:
        reasons.append(f"${sums.dollars:.2f} of ${budget.dollars:.2f}")
    return Over(f"today's budget is used up: {', '.join(reasons)}", midnight_after(now)) if reasons else None
