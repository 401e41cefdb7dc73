"""The limits on one agent's proposals: how many may wait, and how many may be superseded. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from meta.applied.source import Source, SourceKind
from meta.errors import Conflict
from meta.model import Deploy
from meta.names import AgentName
from reconciler.plan.plan import open_ids
from reconciler.proposals.superseding import SUPERSEDED

REPLACED_MOST = 100
"""Proposals of one agent that newer ones may supersede in 24 hours. Each leaves two small tag objects."""
PENDING_MOST = 20
"""Proposals of one agent that may wait for the operator. An operator reads no more, and each keeps its objects."""


def check(agent: AgentName, deploys: Sequence[Deploy], now: int, source: Source | None = None) -> None:
    """Raise Conflict if the agent has no room for another proposal from `source`.

    Proposals that the new one supersedes do not count as waiting. For what the host's configuration declares only its
    own count: pushes must not hold it back.
    """
    if source is not None and source.kind is SourceKind.DECLARED:
        deploys = [deploy for deploy in deploys if Source.parse(deploy.source).kind is SourceKind.DECLARED]
    superseded = [deploy for deploy in deploys if (deploy.reason or "").startswith(SUPERSEDED)]
    today = [deploy for deploy in superseded if (deploy.resolved_at or 0) > now - 86_400]
    if source is not None and source.exclusive and len(today) >= REPLACED_MOST:
        raise Conflict(
            f"{agent} had {len(today)} proposals replaced by newer ones within a day, the limit is {REPLACED_MOST}",
            f"`hive propose {agent}` still proposes the newest commit",
        )
    waiting = open_ids(
        deploy for deploy in deploys if source is None or not source.replaces(Source.parse(deploy.source))
    )
    if len(waiting) >= PENDING_MOST:
        oldest = waiting[0]
        raise Conflict(
            f"{agent} has {len(waiting)} proposals that wait for a decision, the limit is {PENDING_MOST}",
            f"deny what is not wanted (`hive deny {oldest}`); `hive pending` shows them",
        )
