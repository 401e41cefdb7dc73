"""How many proposals of one agent may wait, and how many may be replaced. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from meta.errors import Conflict
from meta.model import Deploy
from meta.names import AgentName
from reconciler.plan.plan import open_ids
from reconciler.proposals.superseding import MARK, SUPERSEDED

REPLACED_MOST = 100
"""Proposals of one agent in 24 hours that newer ones may replace: each keeps its objects for ever."""
PENDING_MOST = 20
"""Proposals of one agent that may wait for the operator: nobody reads more, and each keeps its objects for ever."""


def check(agent: AgentName, deploys: Sequence[Deploy], now: int, source: str | None = None) -> None:
    """`source` is where another one comes from: those whose place it takes do not count as waiting."""
    own = source if source is not None and MARK in source else None
    replaced = [deploy for deploy in deploys if (deploy.reason or "").startswith(SUPERSEDED)]
    today = [deploy for deploy in replaced if (deploy.resolved_at or 0) > now - 86_400]
    if own is not None and len(today) >= REPLACED_MOST:
        raise Conflict(
            f"{agent} had {len(today)} proposals replaced by newer ones within a day, the limit is {REPLACED_MOST}",
            f"`hive propose {agent}` proposes the newest commit all the same",
        )
    waiting = open_ids(deploy for deploy in deploys if deploy.source != own)
    if len(waiting) >= PENDING_MOST:
        oldest = waiting[0]
        raise Conflict(
            f"{agent} has {len(waiting)} proposals that wait for a decision, the limit is {PENDING_MOST}",
            f"deny what is not wanted (`hive deny {oldest}`); `hive pending` shows them",
        )
