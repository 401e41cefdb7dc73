"""Which id first brought the files of another id: rollbacks and spawns deploy what was there before. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from meta.applied.source import Source
from meta.model import Deploy, DeployKind, TagState
from meta.names import ProposalId, Sha


def origins(deploys: Iterable[Deploy], current: ProposalId | None) -> dict[ProposalId, ProposalId]:
    """Return for each deployed id and for `current` the oldest id that it deploys again; itself if it was new.

    A rollback names what it goes back to. Another id of the same commit is a spawn on kept repos, or a rollback by a
    hive whose rollbacks made no commit.
    """
    ran = [deploy for deploy in deploys if deploy.state is TagState.DEPLOYED or deploy.id == current]
    first: dict[Sha, ProposalId] = {}
    found: dict[ProposalId, ProposalId] = {}
    for deploy in sorted(ran, key=lambda deploy: deploy.id):
        source = source_id(deploy)
        same = found.get(source, source) if source is not None and source < deploy.id else deploy.id
        found[deploy.id] = first.setdefault(deploy.sha, same)
    return found


def source_id(deploy: Deploy) -> ProposalId | None:
    """Return the id that a rollback goes back to; None for another deploy, or if its tag names no id."""
    return Source.parse(deploy.source).earlier if deploy.kind is DeployKind.ROLLBACK else None
