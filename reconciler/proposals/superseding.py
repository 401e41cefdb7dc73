"""A newer pending proposal from the same branch takes the place of an older one."""

from __future__ import annotations

from collections.abc import Iterable

from meta.applied.repo import Applied
from meta.errors import Conflict
from meta.model import Deploy, TagState
from meta.names import ProposalId
from reconciler.apply.effects import effect

SUPERSEDED = "superseded by "
MARK = "#"
"""What separates repo and branch in the source of a tag; a source without it has no branch, and replaces nothing."""


def superseded(deploys: Iterable[Deploy]) -> dict[ProposalId, ProposalId]:
    """Pending ids that a newer pending one of the same source and branch replaces: old to newest."""
    newest: dict[str, ProposalId] = {}
    over: dict[ProposalId, ProposalId] = {}
    pending = [deploy for deploy in deploys if deploy.state is TagState.PROPOSAL and MARK in deploy.source]
    for deploy in sorted(pending, key=lambda deploy: -deploy.id):
        first = newest.setdefault(deploy.source, deploy.id)
        if first != deploy.id:
            over[deploy.id] = first
    return over


async def supersede(applied: Applied, deploys: Iterable[Deploy], *, by: str, at: int) -> tuple[ProposalId, ...]:
    """Write `denied/<old>` for each of them; returns those. One that was approved in the same moment stays approved."""
    done = []
    for old, new in superseded(deploys).items():
        try:
            with effect("tag-superseded"):
                await applied.transition(old, TagState.DENIED, by=by, reason=f"{SUPERSEDED}{new}", at=at)
        except Conflict:
            continue
        done.append(old)
    return tuple(done)
