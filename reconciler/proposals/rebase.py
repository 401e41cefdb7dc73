"""`hive rebase`: hive replays a stale proposal onto what the agent runs now, and proposes the result."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from meta.applied.pinning import Pinning
from meta.applied.source import Source
from meta.errors import Conflict, Refused
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId
from meta.proposed.quarantine.replay import Replay, replay
from meta.proposed.quarantine.repo import Fetched
from reconciler.apply.effects import effect
from reconciler.network.check import check_reach_of_text
from reconciler.plan.deploy import find_deploy
from reconciler.proposals.branches import Branches
from reconciler.proposals.commands import Proposals
from reconciler.proposals.deploys import Deploys
from reconciler.proposals.staleness import REPLAYED, Stale
from reconciler.proposals.superseding import SUPERSEDED
from reconciler.world import World


@dataclass(frozen=True, slots=True)
class Rebased:
    """The new deploy as its tags have it afterwards. It lacks `merges` merge commits of the old one."""

    deploy: Deploy
    merges: int


class Rebase:
    """The command `rebase`."""

    def __init__(self, world: World, deploys: Deploys, stale: Stale, proposals: Proposals, branches: Branches) -> None:
        self._world = world
        self._deploys = deploys
        self._stale = stale
        self._proposals = proposals
        self._branches = branches

    async def __call__(self, id: ProposalId, by: str, agent: AgentName | None = None) -> Rebased:
        """Replay the commits of a stale id onto `applied/main`, propose the last one, and supersede the id.

        The new proposal takes the place of a pending one, with its source: a newer commit from there supersedes it. It
        takes no place of a failed one, whose branch may propose newer work by now. Raise Conflict if the id is not
        stale, is decided, or has a newer one beside it, and if files were changed on both sides: nothing was changed
        then. All but the files is looked at again after the replay, which takes a while.
        """
        deploy, deploys = await self._deploys.find_with_others(id, agent)
        if deploy.kind is not DeployKind.APPLY_COMMIT:
            raise Refused(f"{id} is a {deploy.kind}, not a proposal of a commit", "only a commit can be replayed")
        if deploy.state not in REPLAYED:
            raise Conflict(f"{id} is {deploy.state}, only a pending or failed id is replayed", "see `hive pending`")
        check_current(deploy, deploys)
        owner, main = deploy.agent, await self._deploys.main(deploy.agent)
        await self._deploys.entry(owner)
        if await self._stale.descends(owner, main, deploy.sha):
            remedy = f"`hive approve {id}`" if deploy.state is TagState.PROPOSAL else f"`hive retry {id}`"
            raise Conflict(f"{id} is not stale: it descends from what {owner} runs ({main[:12]})", remedy)
        request = Replay(
            deploy.sha, main, self._world.layout.applied_git(owner), self._world.now(), self._stale.by_hand(deploy)
        )
        replayed = await replay(request, self._world.layout, self._world.config, self._world.recorder)
        try:
            await check_reach_of_text(replayed.settings, self._world.network)
            new = await self._pin(deploy, replayed, request, by)
        finally:
            if replayed.staged is not None:
                replayed.staged.discard()
        await self._supersede(deploy, new, by)
        return Rebased(new, replayed.merges)

    async def _pin(self, old: Deploy, replayed: Fetched, request: Replay, by: str) -> Deploy:
        pinning = Pinning(
            DeployKind.APPLY_COMMIT,
            replayed.sha,
            request.onto,
            commit_ref=replayed.sha,
            source=Source(f"failed/{old.id}") if old.state is TagState.FAILED else Source.parse(old.source),
            by=by,
            description=old.description,
            rebased=old.id,
        )
        return await self._proposals.pin(
            old.agent, pinning, replayed.message, replayed.staged, lambda deploys: check_current(old, deploys)
        )

    async def _supersede(self, old: Deploy, new: Deploy, by: str) -> None:
        """End the old id, unless it failed before, is ended already, or another branch still proposes its commit."""
        tips = self._branches.of(old.agent)
        elsewhere = [source for source, sha in tips.items() if sha == old.sha and str(source) != old.source]
        if old.state is not TagState.PROPOSAL or elsewhere:
            return
        with contextlib.suppress(Conflict), effect("tag-superseded"):
            await self._deploys.move(old, TagState.DENIED, by, f"{SUPERSEDED}{new.id}")
        await self._deploys.publish(old.agent, new.id)


def check_current(old: Deploy, deploys: Sequence[Deploy]) -> None:
    """Raise Conflict if a replay of `old` would bring back what is decided, or hide newer work. Pure.

    `old` is as it was when its commits were read.
    """
    now = find_deploy(deploys, old.agent, old.id)
    if now.state is not old.state:
        why = f" ({now.reason})" if now.reason else ""
        raise Conflict(f"{old.id} is {now.state} by now{why}; nothing was changed", "see `hive pending`")
    pending = [deploy for deploy in deploys if deploy.state is TagState.PROPOSAL and deploy.id > old.id]
    for deploy in pending:
        if deploy.rebased_from == old.id:
            raise Conflict(f"{old.id} is replayed already, as {deploy.id}", f"`hive diff {deploy.id}` shows it")
        if now.state is TagState.PROPOSAL and Source.parse(deploy.source).replaces(Source.parse(old.source)):
            raise Conflict(
                f"{deploy.id} is newer than {old.id} and from the same branch",
                f"`hive diff {deploy.id}` shows it; deny it first if {old.id} is to take its place",
            )
