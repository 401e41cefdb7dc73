"""A newer pending proposal from the same branch supersedes an older one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meta.applied.repo import Applied
from meta.applied.source import Source
from meta.errors import Conflict
from meta.model import Deploy, TagState
from meta.names import ProposalId, Sha
from reconciler.apply.effects import effect

SUPERSEDED = "superseded by "
"""The beginning of the reason of a superseded proposal. The id of the newer one follows."""


def superseded(deploys: Iterable[Deploy], tips: Mapping[Source, Sha]) -> dict[ProposalId, ProposalId]:
    """Map each pending id that a newer pending one replaces to the newest from the same source.

    An id whose commit is the tip of another branch stays: that branch still proposes it.
    """
    places: dict[Sha, set[Source]] = {}
    for source, sha in tips.items():
        places.setdefault(sha, set()).add(source)
    newest: dict[Source, ProposalId] = {}
    replacements: dict[ProposalId, ProposalId] = {}
    pending = [deploy for deploy in deploys if deploy.state is TagState.PROPOSAL]
    for deploy in sorted(pending, key=lambda deploy: -deploy.id):
        source = Source.parse(deploy.source)
        newer = newest.setdefault(source, deploy.id)
        if newer != deploy.id and source.exclusive and not places.get(deploy.sha, set()) - {source}:
            replacements[deploy.id] = newer
    return replacements


async def supersede(
    applied: Applied, deploys: Iterable[Deploy], tips: Mapping[Source, Sha], *, by: str, at: int
) -> tuple[ProposalId, ...]:
    """Write `denied/<old>` for each superseded id and return these ids. Skip an id that was approved meanwhile."""
    denied = []
    for old, new in superseded(deploys, tips).items():
        try:
            with effect("tag-superseded"):
                await applied.transition(old, TagState.DENIED, by=by, reason=f"{SUPERSEDED}{new}", at=at)
        except Conflict:
            continue
        denied.append(old)
    return tuple(denied)
