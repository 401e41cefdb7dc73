"""Commands about proposals: propose, retry, approve, deny, cancel, rollback. Each writes a tag, enqueues the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from typing_extensions import override

from meta.applied.describe import describe
from meta.applied.source import Source, SourceKind
from meta.approval import Shown
from meta.errors import BadInput, Conflict, NotFound, Refused
from meta.model import Deploy, DeployKind, Desired, TagState
from meta.names import AgentName, ProposalId, Sha, commit_id
from meta.proposed.quarantine import fetch
from reconciler.apply.apply import Apply
from reconciler.apply.effects import effect
from reconciler.common.tasks import Background
from reconciler.events.feed import Events
from reconciler.loop.loop import Reconciler
from reconciler.messaging.broker import Broker
from reconciler.observe.links import Links
from reconciler.observe.previews import Previewed
from reconciler.plan.plan import open_ids
from reconciler.proposals import limits
from reconciler.proposals.discovery import Discovery
from reconciler.proposals.fetches import Fetches
from reconciler.proposals.staleness import rebase_hint
from reconciler.proposals.superseding import supersede
from reconciler.queries.cardviews import CardViews
from reconciler.views import Card, Diff, RefusedTip, Status
from reconciler.world import World

FEW_COMMITS, MOST_COMMITS = 100, 10_000
"""Subjects of commits that a view names, and that the diff of one proposal does, so that they can be counted."""
_BROKEN = ("git fsck", "git status")
"""What the hints of a fetch say of a repo that is damaged."""


class Proposals(CardViews):
    """What is asked about commits. The views come with Reports."""

    def __init__(self, world: World, reconciler: Reconciler, apply: Apply, broker: Broker) -> None:
        super().__init__(world, reconciler, broker)
        self._apply = apply
        self.broker = broker
        self.events: Events = world.events
        self.links: Links = world.links
        self.background: Background = world.background
        self._fetches = Fetches()
        self._pinning = asyncio.Lock()
        self.discovery: Discovery | None = None

    @override
    async def status(self) -> Status:
        """With what discovery has to say, and which proposals are stale."""
        status, discovery = await super().status(), self.discovery
        agents = []
        for row in status.agents:
            agent = AgentName(row.agent)
            found = discovery.conditions(agent) if discovery is not None else ()
            stale = await self.stale_of(agent, row.pending) if row.pending else ()
            agents.append(replace(row, conditions=(*row.conditions, *found, *stale)))
        notes = discovery.notes() if discovery is not None else ()
        return replace(status, notes=(*status.notes, *notes), agents=tuple(agents))

    async def refused(self, agent: AgentName | None = None) -> list[RefusedTip]:
        """Branches whose commit is no proposal, by agent."""
        if self.discovery is None:
            return []
        names = sorted(self._w.observer.known().agents) if agent is None else [agent]
        return [tip for name in names for tip in self.discovery.refused(name)]

    @override
    async def diff(self, id: ProposalId, agent: AgentName | None = None) -> Diff:
        """With what is wrong with the files of a pending commit, whatever the builder."""
        found = await super().diff(id, agent)
        pending = await self._find(id, found.agent)
        if len(found.commits) >= FEW_COMMITS:
            applied = self._w.applied(found.agent)
            found = replace(found, commits=await applied.log(pending.base, found.sha, MOST_COMMITS))
        if found.complaint is not None or pending.state is not TagState.PROPOSAL:
            return found
        return replace(found, complaint=await self._apply.complaint(found.agent, found.sha))

    async def propose(
        self,
        agent: AgentName,
        by: str,
        commit: str | None = None,
        description: str = "",
        source: Path | None = None,
        origin: Source | None = None,
    ) -> Card:
        """Fetch a commit from the agent's proposed work tree (or from `source`), pin it, show a card.

        An open proposal with the same commit is returned instead of a second one; it gets the description, if there is
        one. Conflict when too many wait already. `origin` is recorded as the source; where it names a branch, the
        proposal takes the place of pending ones from there.
        """
        await self._entry(agent)
        await self._check_room(agent, await self._deploys(agent), origin)
        main = await self._w.applied(agent).main()
        known_as = origin or (Source.parse(str(source)) if source else Source.of(SourceKind.WORK_TREE))
        request = fetch.FetchRequest(
            source=source or self._w.layout.proposed_config(agent),
            commit=commit_id(commit) if commit is not None else None,
            applied_git=self._w.layout.applied_git(agent),
            base=main,
            rebase=rebase_hint(agent, known_as, self._w.layout.applied_git(agent)),
        )
        async with self._fetches.slot(by, agent):
            with effect("fetch"):
                fetched = await self._fetch(agent, request)
        if fetched.sha == main:
            raise BadInput(
                f"{fetched.sha[:12]} is what {agent} has already", "commit a change in the proposed work tree first"
            )
        async with self._pinning:  # of several that fetched the same commit one pins it, and the last free place
            return await self._pin(
                agent,
                fetched.sha,
                by=by,
                base=main,
                commit_ref=commit or fetched.sha,
                source=known_as,
                description=description,
                message=fetched.message,
            )

    async def retry(self, id: ProposalId, by: str, agent: AgentName | None = None) -> Card:
        """A new id with the commit of a failed or denied one; the open id, where that commit waits already.

        A pending id whose preview went wrong keeps its id, and the preview is made again.
        """
        deploy = await self._find(id, agent)
        previews = self._w.observer.previews
        preview = previews.of(deploy.agent).get(id) if previews is not None else None
        if previews is not None and preview is not None and preview.complaint and deploy.state is TagState.PROPOSAL:
            previews.drop(deploy.agent, id)
            return await self._after(deploy)
        if deploy.state not in (TagState.FAILED, TagState.DENIED):
            state = "pending" if deploy.state is TagState.PROPOSAL else deploy.state
            raise Conflict(f"{id} is {state}, only a failed or denied id is tried again", "see `hive pending`")
        if deploy.kind is not DeployKind.APPLY_COMMIT:
            remedy = f"hive {'spawn' if deploy.kind is DeployKind.SPAWN else 'rollback'} {deploy.agent}"
            raise Refused(f"{id} is no proposal of a commit but a {deploy.kind}", f"use `{remedy}`")
        await self._entry(deploy.agent)
        applied = self._w.applied(deploy.agent)
        main = await applied.main()
        if main is not None and not await applied.is_ancestor(main, deploy.sha):
            raise Refused(
                f"{deploy.sha[:12]} does not descend from applied/main ({main[:12]})", self.stale.hint(deploy)
            )
        async with self._pinning:
            return await self._pin(
                deploy.agent,
                deploy.sha,
                by=by,
                base=main,
                commit_ref=deploy.sha,
                source=Source(f"{deploy.state}/{id}"),
                message=deploy.description,
            )

    async def _pin(
        self,
        agent: AgentName,
        sha: Sha,
        *,
        by: str,
        base: Sha | None,
        commit_ref: str,
        source: Source,
        description: str = "",
        message: str = "",
    ) -> Card:
        """P1 and P3, or the open id with that commit. `message` is the commit's own, for want of a description."""
        applied = self._w.applied(agent)
        deploys = await self._deploys(agent)
        for deploy in deploys:
            if deploy.sha == sha and deploy.state is TagState.PROPOSAL:
                if description and await describe(applied, deploy.id, description):
                    await self._apply.project(agent)
                return await self.card(deploy.id, agent)
        await self._check_room(agent, deploys, source)
        with effect("take-id"):
            id = await self._take_id()
        with effect("tag-proposal"):
            await applied.propose(
                id,
                DeployKind.APPLY_COMMIT,
                sha,
                base=base,
                commit_ref=commit_ref,
                source=str(source),
                description=description or message,
                by=by,
                at=self._w.now(),
            )
        await supersede(applied, await self._deploys(agent), by=by, at=self._w.now())
        with effect("project-proposal"):
            await self._apply.project(agent)
        self._reconciler.look_now(agent)  # its preview
        return await self.card(id)

    async def _fetch(self, agent: AgentName, request: fetch.FetchRequest) -> fetch.Fetched:
        try:
            return await fetch.fetch(request, self._w.layout, self._w.config, self._w.recorder)
        except BadInput as error:
            own = request.source == self._w.layout.proposed_config(agent)
            if own and any(words in error.hint for words in _BROKEN):
                remedy = f"move {request.source} away, then `hive rebuild {agent}` makes a new one"
                raise BadInput(error.summary, remedy) from error
            raise

    async def approve(
        self,
        id: ProposalId,
        by: str,
        seen: str | None = None,
        agent: AgentName | None = None,
        shown: str | None = None,
    ) -> Card:
        """A1: `approved/<id>`; `seen` is the commit that the operator was shown, another one is refused.

        Conflict, and the id stays pending, when it is stale: approved it could only fail.

        `shown` is the fingerprint of the preview that they saw. Where the builder previews, the approval waits for
        the preview and is bound to it; TransientError when it takes too long.

        Here and below `agent` is needed for the id 0 only, which each agent's first spawn has.
        """
        deploy = await self._find(id, agent)
        if seen is not None and (len(seen) < 7 or not deploy.sha.startswith(seen)):
            raise Refused(
                f"proposal {id} is {deploy.sha[:12]}, not {seen[:40]}",
                f"look again with `hive diff {id}`, then approve",
            )
        await self.stale.check(deploy, await self._deploys(deploy.agent))
        preview = await self._preview(deploy)
        if shown is not None and preview is not None and preview.shown.fingerprint() != shown:
            raise Refused(
                f"proposal {id} changed since it was shown", f"look again with `hive diff {id}`, then approve"
            )
        with effect("tag-approved"):
            await self._move(deploy, TagState.APPROVED, by, "", preview.shown if preview is not None else None)
        return await self._after(deploy)

    async def deny(self, id: ProposalId, by: str, reason: str = "", agent: AgentName | None = None) -> Card:
        """`denied/<id>` with the reason. Legal until approved; afterwards there is `cancel`."""
        deploy = await self._find(id, agent)
        with effect("tag-denied"):
            await self._move(deploy, TagState.DENIED, by, reason or "denied")
        return await self._after(deploy)

    async def cancel(self, id: ProposalId, by: str, reason: str = "", agent: AgentName | None = None) -> Card:
        """End an approved id before it is committed: `failed/<id>`; the agent goes back to what meta says."""
        deploy = await self._find(id, agent)
        if deploy.state is TagState.PROPOSAL:
            raise Conflict(f"{id} is still pending", f"use `hive deny {id}`")
        owner = deploy.agent
        async with self._w.decision(owner):
            view = await self._w.meta.read()
            if id in view.committed.get(owner, {}):
                raise Conflict(f"{id} is already committed", f"use `hive rollback {owner}`")
            launch = self._w.observer.observe(owner).container.launch
            if launch is not None and launch.deploy == id and owner in view.desired.agents:
                await self._w.memory.change(owner, rollback_from=id, rollback_failed=False)
            with effect("tag-cancelled"):
                await self._move(deploy, TagState.FAILED, by, reason or "cancelled")
        self._reconciler.interrupt(owner)
        return await self._after(deploy)

    async def rollback(self, agent: AgentName, by: str, to: ProposalId | None = None) -> Card:
        """A new id whose commit is an older deployed one (the one before, unless `to` is given), approved at once."""
        entry = (await self._entry(agent)).agents[agent]
        proven = frozenset(self._w.memory.get(agent).proven)
        target = _rollback_target(await self._deploys(agent), entry.pin.sha, agent, to, proven)
        applied, now = self._w.applied(agent), self._w.now()
        id = await self._take_id()
        with effect("tag-rollback"):
            await applied.propose(
                id,
                DeployKind.ROLLBACK,
                target.sha,
                base=entry.pin.sha,
                commit_ref=target.sha,
                source=str(Source(f"deployed/{target.id}")),
                description=f"rollback to deployed/{target.id}",
                by=by,
                at=now,
            )
        with effect("approve-rollback"):
            await applied.transition(id, TagState.APPROVED, by=by, at=now)
        return await self._after(await self._find(id, agent))

    # helpers
    async def _desired(self) -> Desired:
        return await self._w.observer.desired()

    async def _entry(self, agent: AgentName) -> Desired:
        desired = await self._desired()
        if agent not in desired.agents:
            raise NotFound(f"there is no agent {agent}", "see `hive list`; `hive spawn` makes one")
        return desired

    async def _deploys(self, agent: AgentName) -> tuple[Deploy, ...]:
        await self._w.observer.desired()
        return await self._w.observer.refresh(agent)

    async def _check_room(self, agent: AgentName, deploys: Sequence[Deploy], source: Source | None) -> None:
        """Stale ones do not count: whether one is takes a process, so that is asked only where it would matter."""
        if len(open_ids(deploys)) >= limits.PENDING_MOST:
            stale = await self.stale.of(agent, deploys)
            deploys = [deploy for deploy in deploys if deploy.id not in stale]
        limits.check(agent, deploys, self._w.now(), source)

    async def _find(self, id: ProposalId, agent: AgentName | None = None) -> Deploy:
        owner = agent or (await self.card(id)).agent
        if owner not in self._w.observer.names():
            raise NotFound(f"there is no agent {owner}", "see `hive list`")
        for deploy in await self._deploys(owner):
            if deploy.id == id:
                return deploy
        raise NotFound(f"{owner} has no proposal {id}", "see `hive pending`")

    async def _preview(self, deploy: Deploy) -> Previewed | None:
        """The preview of a pending proposal, waited for; None where the builder has none."""
        previews = self._w.observer.previews
        if previews is None or deploy.state is not TagState.PROPOSAL:
            return None
        self._reconciler.look_now(deploy.agent)
        return await previews.wait(deploy.agent, deploy.id, self._w.config.preview_wait)

    async def _move(self, deploy: Deploy, to: TagState, by: str, reason: str, shown: Shown | None = None) -> None:
        applied, now = self._w.applied(deploy.agent), self._w.now()
        await applied.transition(deploy.id, to, by=by, reason=reason, at=now, shown=shown)

    async def _after(self, deploy: Deploy) -> Card:
        await self._apply.project(deploy.agent)
        self._reconciler.look_now(deploy.agent)
        return await self.card(deploy.id, deploy.agent)

    async def _take_id(self) -> ProposalId:
        return await self._w.meta.take_id(at_least=await self._w.cards.highest_id() + 1)


def _rollback_target(
    deploys: Sequence[Deploy], current: Sha, agent: AgentName, to: ProposalId | None, proven: frozenset[ProposalId]
) -> Deploy:
    """`to`, else the newest older one that was seen to be healthy (with none of those, the newest older one)."""
    done = [deploy for deploy in deploys if deploy.state is TagState.DEPLOYED]
    if to is not None:
        for deploy in done:
            if deploy.id == to:
                if deploy.sha == current:
                    raise Conflict(f"{agent} runs the commit of deployed/{to} already", "see `hive log`")
                return deploy
        raise NotFound(f"{agent} has no deployed/{to}", "see `hive log`")
    older = [deploy for deploy in done if deploy.sha != current]
    if not older:
        raise NotFound(f"{agent} has nothing older to go back to", "see `hive log`")
    return next((deploy for deploy in reversed(older) if not deploy.unproven or deploy.id in proven), older[-1])
