"""The rule for a hive that goes down: everything is stopped, and nothing else begins. Pure.

What meta desires stays as it is. So the next daemon starts what ran, and goes on with a deploy that was under way.
"""

from __future__ import annotations

from reconciler.plan.context import Context, Decision
from reconciler.plan.observed import Transient

REASON = "the whole hive goes down"


def stop_to_go_down(c: Context) -> Decision | None:
    """Return the step that stops the agent, or the decision to begin nothing, if the hive goes down."""
    if not c.goes_down:
        return None
    if c.observed.container.running and c.observed.container.ours:
        return c.drain_and_stop(Transient.STOPPING, REASON, None)
    return c.nothing(REASON, phase=None if c.entry is None else "stopped")
