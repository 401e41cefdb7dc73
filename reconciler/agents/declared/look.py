"""Look at one agent: what is declared, what git has of it, and at which files both last agreed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from meta.applied.source import DECLARED, SourceKind
from meta.desired.declaration import is_host
from meta.desired.declared_files import DeclaredFiles
from meta.model import Deploy, DeployKind, RunState, TagState
from meta.names import MANAGER, AgentName, ProposalId, Sha
from reconciler.observe.declared import DeclaredRecord
from reconciler.plan.declared import IN_FLIGHT, Facts, Git, Offer, base_of, is_left, tried_for
from reconciler.proposals.deploys import Deploys
from reconciler.proposals.kept import first_source
from reconciler.world import World


@dataclass(frozen=True, slots=True)
class Look:
    """One agent at one moment. `git` are the files that meta pins, `base` those at which both last agreed.

    `tried` is the id that was made for what is declared now, `newest` the newest that was made for any declaration.
    """

    facts: Facts
    pin: tuple[ProposalId, Sha] | None = None
    git: Mapping[str, bytes] | None = None
    base: Mapping[str, bytes] | None = None
    tried: ProposalId | None = None
    newest: ProposalId | None = None


class Looks:
    """What looks at agents. It changes nothing."""

    def __init__(self, world: World, deploys: Deploys) -> None:
        self._world = world
        self._deploys = deploys

    async def at(self, agent: AgentName, files: DeclaredFiles | None, record: DeclaredRecord | None) -> Look:
        """Return what decides about the agent now. `files` are those that are declared, None if it is not."""
        desired = await self._deploys.desired()
        older = self._world.applied(agent).older_ids()  # another user may have written their tags
        deploys = [deploy for deploy in await self._deploys.of(agent) if deploy.id not in older]
        entry, grave = desired.agents.get(agent), desired.tombstones.get(agent)
        known = base_of(_declared(deploys), record.agreement if record is not None else None)
        git = await self._files(agent, entry.pin.sha) if entry is not None else None
        base = await self._base(agent, known[1]) if entry is not None and known is not None else None
        tried = _tried(files, record, deploys)
        facts = Facts(
            declared=files is not None,
            git=None,
            known=record is not None,
            kept=agent == MANAGER or not _spawned_by_host(deploys),
            dropped=record is not None and record.dropped,
            busy=any(deploy.state in IN_FLIGHT for deploy in deploys),
            purging=grave is not None and grave.purge,
            tried=next((deploy.state for deploy in deploys if deploy.id == tried), None),
            offers=tuple([await self._offer(agent, deploy, files) for deploy in deploys if _is_offer(deploy)]),
        )
        newest = max((deploy.id for deploy in deploys if deploy.declared), default=None)
        if entry is None or git is None:
            return Look(facts, tried=tried, newest=newest)
        running = desired.run_of(agent).state is RunState.RUNNING
        seen = _compare(agent, files, git, base, Git(entry.pin.sha, running))
        if known is not None and is_left(known[0], deploys, is_host):
            seen = replace(seen, moved=True)
        return Look(replace(facts, git=seen), (entry.pin.id, entry.pin.sha), git, base, tried, newest)

    async def _offer(self, agent: AgentName, deploy: Deploy, files: DeclaredFiles | None) -> Offer:
        content = await self._files(agent, deploy.sha)
        same = files is not None and files.wanted(agent, content) == content
        return Offer(deploy.id, deploy.state, deploy.base, same)

    async def _base(self, agent: AgentName, sha: Sha) -> Mapping[str, bytes] | None:
        """Return the files of the base; None if it went with an earlier agent of that name."""
        return await self._files(agent, sha) if await self._world.applied(agent).has(sha) else None

    async def _files(self, agent: AgentName, sha: Sha) -> Mapping[str, bytes]:
        return {path: file.data for path, file in (await self._world.applied(agent).files(sha)).items()}


def _compare(
    agent: AgentName,
    files: DeclaredFiles | None,
    git: Mapping[str, bytes],
    base: Mapping[str, bytes] | None,
    seen: Git,
) -> Git:
    if files is None:
        return seen
    return replace(
        seen,
        agrees=files.wanted(agent, git) == git,
        unchanged=base is not None and files.wanted(agent, base) == base,
        moved=base is None or files.managed(git) != files.managed(base),
    )


def _tried(files: DeclaredFiles | None, record: DeclaredRecord | None, deploys: Iterable[Deploy]) -> ProposalId | None:
    """Return the id that was made for what is declared now. If the record does not have it, the tags may."""
    if files is None:
        return None
    if record is not None and record.digest == files.digest and record.tried is not None:
        return ProposalId(record.tried)
    return tried_for(files.digest, deploys, record.last if record is not None else None)


def _declared(deploys: Iterable[Deploy]) -> list[Deploy]:
    """Return the deploys whose files a declaration brought. A rollback to one of them is a decision of its own."""
    deploys = list(deploys)
    return [
        deploy
        for deploy in deploys
        if deploy.kind is not DeployKind.ROLLBACK and first_source(deploy, deploys).kind is SourceKind.DECLARED
    ]


def _spawned_by_host(deploys: Iterable[Deploy]) -> bool:
    """Return True if a declaration brought the agent: the newest spawn that was deployed is the host's."""
    spawns = [each for each in deploys if each.kind is DeployKind.SPAWN and each.state is TagState.DEPLOYED]
    newest = max(spawns, key=lambda deploy: deploy.id, default=None)
    return newest is not None and is_host(newest.proposed_by)


def _is_offer(deploy: Deploy) -> bool:
    pending = deploy.state is TagState.PROPOSAL and deploy.kind is DeployKind.APPLY_COMMIT
    return pending and deploy.source == str(DECLARED)
