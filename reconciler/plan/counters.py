"""The counters of run.json: a higher one asks for a restart or a rebuild. Pure.

A restore of an older meta lowers them, although hive remembers higher ones. A lowered counter asks for nothing. The
next value must be higher than every earlier one; otherwise hive would count it as done.
"""

from __future__ import annotations

from meta.model import RunEntry
from reconciler.plan.observed import AgentObserved


def next_restart(run: RunEntry, observed: AgentObserved) -> int:
    """Return the value of run.json's `restarts` that asks for one more restart."""
    launch = observed.container.launch
    return max(run.restarts, launch.restarts if launch is not None else 0) + 1


def next_rebuild(run: RunEntry, observed: AgentObserved) -> int:
    """Return the value of run.json's `rebuilds` that asks for one more rebuild."""
    launch = observed.container.launch
    return max(run.rebuilds, observed.memo.rebuilt, launch.rebuilds if launch is not None else 0) + 1
