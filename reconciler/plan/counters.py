"""The counters of run.json, each of which asks for one more restart or rebuild. Pure.

A restore of an older meta takes them back, while what was done is remembered elsewhere. So a counter that went back
asks for nothing, and the next one is higher than any that was ever seen: else it would count as done already.
"""

from __future__ import annotations

from meta.model import RunEntry
from reconciler.plan.observed import AgentObserved


def next_restart(run: RunEntry, seen: AgentObserved) -> int:
    """What run.json's `restarts` has to become for one more restart."""
    launch = seen.container.launch
    return max(run.restarts, launch.restarts if launch is not None else 0) + 1


def next_rebuild(run: RunEntry, seen: AgentObserved) -> int:
    """What run.json's `rebuilds` has to become for one more rebuild."""
    launch = seen.container.launch
    return max(run.rebuilds, seen.memo.rebuilt, launch.rebuilds if launch is not None else 0) + 1
