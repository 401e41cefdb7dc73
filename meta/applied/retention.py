"""How long branches of a push repo stay after hive dealt with them: their objects take room, and git lists them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meta.applied.source import Source, SourceKind
from meta.model import Deploy, TagState
from meta.names import Sha
from meta.proposed.push_refs import MAIN
from meta.proposed.tips import Tip

BRANCH_DAYS = 30
"""Days after which hive removes a branch whose commit was decided and which did not move since. `main` stays."""
_DAY = 86_400


def dealt_with(
    tips: Mapping[str, Tip], deploys: Iterable[Deploy], before: float, *, main: Sha | None
) -> tuple[Tip, ...]:
    """Return the branches that were written before `before` and whose commit was decided before it, each time that it
    was proposed. Pure.

    A branch whose commit was proposed only from elsewhere still waits to be found, or is refused: it stays. So does one
    at `main`, the commit that runs.
    """
    ends: dict[Sha, float] = {}
    handled: set[tuple[str, Sha]] = set()
    deployed: set[Sha] = set()
    for deploy in deploys:
        end = deploy.resolved_at if deploy.state.terminal and deploy.resolved_at is not None else float("inf")
        ends[deploy.sha] = max(end, ends.get(deploy.sha, 0.0))
        handled.add((deploy.source, deploy.sha))
        if deploy.state is TagState.DEPLOYED:
            deployed.add(deploy.sha)

    def is_old(tip: Tip) -> bool:
        source = str(Source.of(SourceKind.PUSH, tip.branch))
        was_found = tip.sha in deployed or (source, tip.sha) in handled
        return was_found and max(ends[tip.sha], tip.at) < before

    return tuple(tip for branch, tip in sorted(tips.items()) if branch != MAIN and tip.sha != main and is_old(tip))


def expiry(now: float) -> float:
    """Return the time before which a branch must have been written and decided to be removed."""
    return now - BRANCH_DAYS * _DAY
