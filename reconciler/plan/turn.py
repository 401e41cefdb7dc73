"""The turn of an agent: its age, and what hive does if it takes too long. Pure.

    limit    `limits.turn_seconds` of agent.toml: the harness ends the turn by itself
    + grace  it did not, so hive asks it over the link (HIVE_TURN_GRACE)
    + grace  it did not do that either, so hive stops the container, and starts it again

The harness may be unable to end a turn: it is stopped, or it runs code that never returns. So the limit is enforced
from outside.
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.plan import steps
from reconciler.plan.context import Context, Decision
from reconciler.plan.observed import AgentObserved, Transient


def turn_began(observed: AgentObserved) -> float | None:
    """Return when the turn that runs began, in Unix seconds; None between turns."""
    link = observed.link
    in_turn = observed.container.running and link.connected and link.turn is not None and link.turn.in_turn
    return link.turn_since if in_turn else None


def end_stuck_turn(c: Context) -> Decision | None:
    """Return the step that ends a turn over its limit, once the harness had time to end it by itself."""
    ends, launch = _ends(c), c.observed.container.launch
    if ends is None or launch is None or c.now < ends + c.config.turn_grace:
        return None
    return c.do(
        steps.Stop(Transient.STUCK, launch.nonce, c.observed.link.turn_number),
        f"its turn takes longer than {_limit(c)}",
        conditions=_conditions(c),
    )


def with_turn(c: Context, decision: Decision) -> Decision:
    """Add the condition of a turn over its limit, and the time at which hive has to look again."""
    ends = _ends(c)
    if ends is None or not isinstance(decision.step, steps.Nothing):
        return decision
    if c.now < ends:
        return replace(decision, look_at=ends)
    conditions = (*decision.conditions, *_conditions(c))
    return replace(decision, conditions=conditions, look_at=ends + c.config.turn_grace)


def _ends(c: Context) -> float | None:
    """Return when the turn that runs reaches its limit; None between turns, or if the limit is unknown."""
    began, limit = turn_began(c.observed), c.observed.turn_limit
    return None if began is None or limit is None else began + limit


def _limit(c: Context) -> str:
    return f"limits.turn_seconds = {c.observed.turn_limit:g}"


def _conditions(c: Context) -> tuple[str, ...]:
    age = c.now - (turn_began(c.observed) or c.now)
    how = f"`hive restart {c.name} --now` ends it at once"
    return (f"stuck: its turn has taken {age:.0f} s, more than {_limit(c)}; hive ends it soon, {how}",)
