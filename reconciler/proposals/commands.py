"""Commands about proposals: propose, retry, approve, deny, cancel. Each writes a tag and enqueues the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from meta.agent_toml.settings import SETTINGS_FILE
from meta.applied.describe import describe
from meta.applied.pinning import Pinning
from meta.applied.source import Source, SourceKind
from meta.consent import Consent, How
from meta.errors import BadInput, Conflict, NotFound, Refused, Unseen
from meta.git.packs import StagedPack
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, commit_id
from meta.proposed.quarantine import fetch
from reconciler.apply.effects import effect
from reconciler.loop.loop import Reconciler
from reconciler.network.check import check_reach_of_text
from reconciler.observe.previews import Previewed, is_outdated
from reconciler.plan.plan import open_ids
from reconciler.proposals import limits
from reconciler.proposals.branches import Branches
from reconciler.proposals.deploys import Deploys
from reconciler.proposals.fetches import Fetches
from reconciler.proposals.kept import first_source, not_kept, place_of
from reconciler.proposals.staleness import Stale, rebase_hint
from reconciler.proposals.superseding import supersede
from reconciler.world import World

_BROKEN = ("git fsck", "git status")
"""The words in the hint of a fetch that mark a damaged repo."""


class Proposals:
    """The commands about proposals. Each returns the deploy as its tags have it afterwards."""

    def __init__(self, world: World, loop: Reconciler, deploys: Deploys, stale: Stale, branches: Branches) -> None:
        self._world = world
        self._loop = loop
        self._deploys = deploys
        self._stale = stale
        self._branches = branches
        self._fetches = Fetches()
        self._pinning = asyncio.Lock()

    async def propose(
        self,
        agent: AgentName,
        by: str,
        commit: str | None = None,
        description: str = "",
        source: Path | None = None,
        origin: Source | None = None,
    ) -> Deploy:
        """Fetch a commit from the agent's proposed work tree (or from `source`) and pin it.

        If an open proposal has the same commit, return that one, with the new description if there is one. Raise
        Conflict if too many wait already, Refused if its agent.toml wants to reach what the operator's ceiling forbids.
        `origin` is recorded as the source. If it names a branch, the proposal supersedes pending ones from that branch.
        """
        await self._deploys.entry(agent)
        await self._check_limits(agent, await self._deploys.of(agent), origin)
        main = await self._world.applied(agent).main()
        known_as = origin or (Source.parse(str(source)) if source else Source.of(SourceKind.WORK_TREE))
        request = fetch.FetchRequest(
            source=source or self._world.layout.proposed_config(agent),
            commit=commit_id(commit) if commit is not None else None,
            applied_git=self._world.layout.applied_git(agent),
            base=main,
            rebase=rebase_hint(agent, known_as, self._world.layout.applied_git(agent)),
        )
        async with self._fetches.slot(by, agent):
            with effect("fetch"):
                fetched = await self._fetch(agent, request)
        try:
            if fetched.sha == main:
                raise BadInput(
                    f"{fetched.sha[:12]} is what {agent} has already", "commit a change in the proposed work tree first"
                )
            await check_reach_of_text(fetched.settings, self._world.network)
            commit_ref = commit or fetched.sha
            pinning = Pinning(DeployKind.APPLY_COMMIT, fetched.sha, main, commit_ref, known_as, by, description)
            return await self.pin(agent, pinning, fetched.message, fetched.staged)
        finally:
            if fetched.staged is not None:
                fetched.staged.discard()
            await self._world.applied(agent).remove_ended()  # what the fetch held back

    async def pin(
        self,
        agent: AgentName,
        pinning: Pinning,
        message: str = "",
        staged: StagedPack | None = None,
        check: Callable[[Sequence[Deploy]], None] | None = None,
    ) -> Deploy:
        """P1 and P3: pin a commit of the applied repo. If an open proposal has the commit already, return that.

        `message` is the commit's own. It is used if there is no description. `staged` has the commit's objects, unless
        the applied repo has them. `check` gets the deploys as they are now, and raises if nothing is to be pinned.
        """
        async with self._pinning:  # of several that fetched the same commit one pins it, and the last free place
            deploys = await self._deploys.of(agent)
            if check is not None:
                check(deploys)
            for deploy in deploys:
                if deploy.sha == pinning.sha and deploy.state is TagState.PROPOSAL:
                    return await self._describe(deploy, pinning.description)
            await self._check_limits(agent, deploys, pinning.source)
            return await self._pin_anew(agent, replace(pinning, description=pinning.description or message), staged)

    async def retry(self, id: ProposalId, by: str, agent: AgentName | None = None) -> Deploy:
        """Propose the commit of a failed or denied id again. If an open proposal has the commit already, return that.

        If the preview of a pending id failed, the id stays, and the preview is made again.
        """
        deploy = await self._deploys.find(id, agent)
        owner, previews = deploy.agent, self._world.previews
        preview = previews.of(owner).get(id) if previews is not None else None
        if previews is not None and preview is not None and preview.complaint and deploy.state is TagState.PROPOSAL:
            previews.drop(owner, id)
            return await self._deploys.publish(owner, id)
        if deploy.state not in (TagState.FAILED, TagState.DENIED):
            state = "pending" if deploy.state is TagState.PROPOSAL else deploy.state
            raise Conflict(f"{id} is {state}, only a failed or denied id is tried again", "see `hive pending`")
        if deploy.kind is not DeployKind.APPLY_COMMIT:
            remedy = f"hive {'spawn' if deploy.kind is DeployKind.SPAWN else 'rollback'} {owner}"
            raise Refused(f"{id} is a {deploy.kind}, not a proposal of a commit", f"use `{remedy}`")
        await self._deploys.entry(owner)
        applied = self._world.applied(owner)
        if not deploy.kept:  # also if another proposal brought the commit: its objects may go before this id ends
            return await self._fetch_again(deploy, by)
        main = await applied.main()
        if main is not None and not await self._stale.descends(owner, main, deploy.sha):
            raise Refused(
                f"{deploy.sha[:12]} does not descend from applied/main ({main[:12]})", self._stale.hint(deploy)
            )
        await check_reach_of_text(await applied.read(deploy.sha, SETTINGS_FILE), self._world.network)
        source = Source(f"{deploy.state}/{id}")
        pinning = Pinning(DeployKind.APPLY_COMMIT, deploy.sha, main, deploy.sha, source, by)
        return await self.pin(owner, pinning, deploy.description)

    async def approve(
        self,
        id: ProposalId,
        by: str,
        seen: str | None = None,
        agent: AgentName | None = None,
        shown: str | None = None,
        *,
        unseen: bool = False,
        consent: Consent | None = None,
    ) -> Deploy:
        """A1: write `approved/<id>`. `seen` is the commit that the operator saw; any other commit is refused.

        Raise Conflict if the id is stale: an approval could only fail. The id stays pending. Raise Unseen if the diff
        does not show all of it, unless `unseen`.

        `shown` is the fingerprint of the preview that the operator saw. If the builder previews, the approval waits for
        the preview and is bound to it. Raise TransientError if the preview takes too long.

        `consent` is kept in the tag. A touch of a passkey has to be for a preview too, if there is one.
        """
        owner = await self._deploys.owner(id, agent)
        with self._world.applied(owner).reading():  # a denial meanwhile keeps its objects until then
            deploy, deploys = await self._deploys.find_with_others(id, owner)
            if seen is not None and (len(seen) < 7 or not deploy.sha.startswith(seen)):
                raise Refused(
                    f"proposal {id} is {deploy.sha[:12]}, not {seen[:40]}",
                    f"look again with `hive diff {id}`, then approve",
                )
            await self._stale.check(deploy, deploys)
            if not unseen:
                await self._check_shown(deploy)
        preview = await self._preview(deploy)
        if shown is not None and preview is not None and preview.shown.fingerprint() != shown:
            raise Refused(
                f"proposal {id} changed since it was shown", f"look again with `hive diff {id}`, then approve"
            )
        if preview is not None and shown is None and consent is not None and consent.how is How.PASSKEY:
            raise Refused(f"{id} was touched for without its preview", "look again once the preview is there")
        bound_to = preview.shown if preview is not None else None
        with effect("tag-approved"):
            await self._deploys.move(deploy, TagState.APPROVED, by, shown=bound_to, consent=consent)
        return await self._deploys.publish(deploy.agent, id)

    async def find(self, id: ProposalId, agent: AgentName | None = None) -> Deploy:
        """Return one id as its tags have it. Raise NotFound, BadInput."""
        return await self._deploys.find(id, agent)

    async def deny(self, id: ProposalId, by: str, reason: str = "", agent: AgentName | None = None) -> Deploy:
        """Write `denied/<id>` with the reason. Legal until the id is approved; afterwards use `cancel`."""
        deploy = await self._deploys.find(id, agent)
        with effect("tag-denied"):
            await self._deploys.move(deploy, TagState.DENIED, by, reason or "denied")
        return await self._deploys.publish(deploy.agent, id)

    async def cancel(self, id: ProposalId, by: str, reason: str = "", agent: AgentName | None = None) -> Deploy:
        """End an approved id before its commit to meta: write `failed/<id>`. The agent goes back to what meta pins."""
        deploy = await self._deploys.find(id, agent)
        if deploy.state is TagState.PROPOSAL:
            raise Conflict(f"{id} is still pending", f"use `hive deny {id}`")
        owner = deploy.agent
        async with self._world.decision(owner):
            view = await self._world.meta.read()
            if id in view.committed.get(owner, {}):
                raise Conflict(f"{id} is already committed", f"use `hive rollback {owner}`")
            launch = self._world.observer.observe(owner).container.launch
            if launch is not None and launch.deploy == id and owner in view.desired.agents:
                await self._world.memory.change(owner, rollback_from=id, rollback_failed=False)
            with effect("tag-cancelled"):
                await self._deploys.move(deploy, TagState.FAILED, by, reason or "cancelled")
        self._loop.interrupt(owner)
        return await self._deploys.publish(owner, id)

    # helpers
    async def _check_shown(self, deploy: Deploy) -> None:
        """Raise Unseen if `hive diff` does not show every changed file of a pending proposal as a whole."""
        if deploy.state is not TagState.PROPOSAL:
            return  # the transition refuses it
        applied = self._world.applied(deploy.agent)
        try:
            cut = await applied.cut(await applied.main() or deploy.base, deploy.sha)
        except Refused as error:  # too many files for a list
            cut = error.summary
        if cut is not None:
            raise Unseen(
                f"`hive diff {deploy.id}` does not show all that {deploy.id} changes: {cut}",
                f"`hive diff {deploy.id} -- FILE` shows one file, `hive approve {deploy.id} --unseen` approves all",
            )

    async def _fetch_again(self, deploy: Deploy, by: str) -> Deploy:
        """Propose the commit of a denied id, whose objects were removed, from where it came from."""
        agent, id = deploy.agent, deploy.id
        origin = first_source(deploy, await self._deploys.of(agent))
        place = place_of(origin, agent, self._world.layout)
        if place is None:
            raise not_kept(deploy)
        try:
            return await self.propose(agent, by, deploy.sha, deploy.description, place, Source(f"{deploy.state}/{id}"))
        except (NotFound, BadInput) as error:
            raise NotFound(f"{not_kept(deploy).summary}; {error.summary}", f"bring it to {place} again") from error

    async def _describe(self, deploy: Deploy, description: str) -> Deploy:
        """Give an open proposal another description, if one is given."""
        if description and await describe(self._world.applied(deploy.agent), deploy.id, description):
            return await self._deploys.project(deploy.agent, deploy.id)
        return deploy

    async def _pin_anew(self, agent: AgentName, pinning: Pinning, staged: StagedPack | None) -> Deploy:
        applied = self._world.applied(agent)
        with effect("take-id"):
            id = await self._deploys.take_id()
        with effect("tag-proposal"):
            await applied.propose(id, pinning, self._world.now(), staged)
        deploys, tips = await self._deploys.of(agent), self._branches.of(agent)
        await supersede(applied, deploys, tips, by=pinning.by, at=self._world.now())
        with effect("project-proposal"):
            deploy = await self._deploys.project(agent, id)
        self._loop.look_now(agent)  # its preview
        return deploy

    async def _fetch(self, agent: AgentName, request: fetch.FetchRequest) -> fetch.Fetched:
        try:
            return await fetch.fetch(request, self._world.layout, self._world.config, self._world.recorder)
        except BadInput as error:
            own = request.source == self._world.layout.proposed_config(agent)
            if own and any(words in error.hint for words in _BROKEN):
                remedy = f"move {request.source} away, then `hive rebuild {agent}` makes a new one"
                raise BadInput(error.summary, remedy) from error
            raise

    async def _check_limits(self, agent: AgentName, deploys: Sequence[Deploy], source: Source | None) -> None:
        """Raise Conflict if too many wait.

        Stale proposals do not count. Each check for staleness starts a process, so check only if it matters.
        """
        if len(open_ids(deploys)) >= limits.PENDING_MOST:
            stale = await self._stale.of(agent, deploys)
            deploys = [deploy for deploy in deploys if deploy.id not in stale]
        limits.check(agent, deploys, self._world.now(), source)

    async def _preview(self, deploy: Deploy) -> Previewed | None:
        """Wait for the preview of a pending proposal. Return None if the builder makes none."""
        previews = self._world.previews
        if previews is None or deploy.state is not TagState.PROPOSAL:
            return None
        known = previews.of(deploy.agent).get(deploy.id)
        if known is not None and is_outdated(known, self._world.observer.revision):
            previews.drop(deploy.agent, deploy.id)
        self._loop.look_now(deploy.agent)
        return await previews.wait(deploy.agent, deploy.id, self._world.config.preview_wait)
