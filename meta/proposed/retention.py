"""How long branches of a push repo stay after hive dealt with them: their objects take room, and git lists them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meta.model import Deploy
from meta.names import Sha
from meta.proposed.push_refs import MAIN
from meta.proposed.tips import Tip

BRANCH_DAYS = 30
"""Days after which hive removes a branch whose commit was decided and which did not move since. `main` stays."""
_DAY = 86_400


def dealt_with(tips: Mapping[str, Tip], deploys: Iterable[Deploy], before: float) -> tuple[Tip, ...]:
    """Return the branches whose commit was decided before `before`, each time that it was proposed. Pure."""
    ends: dict[Sha, float] = {}
    for deploy in deploys:
        end = deploy.resolved_at if deploy.state.terminal and deploy.resolved_at is not None else float("inf")
        ends[deploy.sha] = max(end, ends.get(deploy.sha, 0.0))
    return tuple(
        tip for branch, tip in sorted(tips.items()) if branch != MAIN and ends.get(tip.sha, float("inf")) < before
    )


def expiry(now: float) -> float:
    """Return the time before which a branch must have been decided to be removed."""
    return now - BRANCH_DAYS * _DAY
