"""Proposals whose objects hive removed when they were denied: is the commit still there, and where did it come from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from meta.applied.repo import Applied
from meta.applied.source import Source, SourceKind
from meta.errors import NotFound
from meta.layout import Layout
from meta.model import Deploy
from meta.names import AgentName


async def is_kept(applied: Applied, deploy: Deploy) -> bool:
    """Return True if the applied repo has the commit of `deploy`. Another id may have brought it as well."""
    return deploy.kept or await applied.has(deploy.sha)


def not_kept(deploy: Deploy) -> NotFound:
    """Return the error for a commit that was removed with its proposal."""
    return NotFound(
        f"commit {deploy.sha} of {deploy.id} is no longer kept: {deploy.id} was denied",
        f"propose it again: `hive retry {deploy.id}` fetches it, if it was pushed or committed and is still there",
    )


def first_source(deploy: Deploy, deploys: Iterable[Deploy]) -> Source:
    """Return where the commit of `deploy` came from, before it was tried again."""
    by_id = {each.id: each for each in deploys if each.id < deploy.id}
    source = Source.parse(deploy.source)
    while source.earlier is not None and (earlier := by_id.pop(source.earlier, None)):
        source = Source.parse(earlier.source)
    return source


def place_of(source: Source, agent: AgentName, layout: Layout) -> Path | None:
    """Return the repo that `source` names; None if hive made the commit itself."""
    match source.kind:
        case SourceKind.PUSH:
            return layout.push_repo(agent)
        case SourceKind.WORK_TREE:
            return layout.proposed_config(agent)
        case SourceKind.PATH:
            return Path(source.place)
        case _:
            return None
