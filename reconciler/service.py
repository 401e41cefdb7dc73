"""What people and agents can ask of hive: commands that write a tag or a ref and enqueue, and views.

A command returns once what it promises is durable. Nothing here starts, stops or builds: the loop does. So crash
recovery is the normal path, not a second program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from meta import quarantine, seed
from meta.errors import BadInput, Conflict, NotFound, Refused
from meta.model import Deploy, DeployKind, Desired, Role, RunEntry, RunState, TagState
from meta.names import MANAGER, AgentName, ProposalId, Sha, commit_id
from meta.shown import Shown
from reconciler.apply import Apply
from reconciler.effects import effect
from reconciler.events import Events
from reconciler.links import Links
from reconciler.loop import Reconciler
from reconciler.plan import open_ids
from reconciler.previews import Previewed
from reconciler.reports import Reports
from reconciler.store.messages import Broker
from reconciler.views import Card
from reconciler.world import World

FETCHES = 2
"""Fetches at the same time: each runs two git processes that may take 2 GiB of memory."""
PENDING_MOST = 20
"""Proposals of one agent that may wait for the operator: nobody reads more, and each keeps its objects for ever."""
_BROKEN = ("git fsck", "git status")
"""What the hints of a fetch say of a repo that is damaged."""


class Service(Reports):
    """The commands; the views come with Reports."""

    def __init__(self, world: World, reconciler: Reconciler, apply: Apply, broker: Broker) -> None:
        super().__init__(world, reconciler, broker)
        self._apply = apply
        self.broker = broker
        self.events: Events = world.events
        self.links: Links = world.links
        self._fetching = asyncio.Semaphore(FETCHES)
        self._pinning = asyncio.Lock()

    # proposals
    async def propose(
        self,
        agent: AgentName,
        by: str,
        commit: str | None = None,
        description: str = "",
        source: Path | None = None,
    ) -> Card:
        """Fetch a commit from the agent's proposed work tree (or from `source`), pin it, show a card.

        An open proposal with the same commit is returned instead of a second one. Conflict when too many wait already.
        """
        await self._entry(agent)
        _check_room(agent, await self._deploys(agent))
        applied, main = self._w.applied(agent), await self._w.applied(agent).main()
        request = quarantine.FetchRequest(
            source=source or self._w.layout.proposed_config(agent),
            commit=commit_id(commit) if commit is not None else None,
            applied_git=self._w.layout.applied_git(agent),
            base=main,
        )
        async with self._fetching:
            with effect("fetch"):
                fetched = await self._fetch(agent, request)
        if fetched.sha == main:
            raise BadInput(
                f"{fetched.sha[:12]} is what {agent} has already", "commit a change in the proposed work tree first"
            )
        async with self._pinning:  # of several that fetched the same commit one pins it, and the last free place
            deploys = await self._deploys(agent)
            for deploy in deploys:
                if deploy.sha == fetched.sha and deploy.state is TagState.PROPOSAL:
                    return await self.card(deploy.id, agent)
            _check_room(agent, deploys)
            with effect("take-id"):
                id = await self._take_id()
            with effect("tag-proposal"):
                await applied.propose(
                    id,
                    DeployKind.APPLY_COMMIT,
                    fetched.sha,
                    base=main,
                    commit_ref=commit or fetched.sha,
                    source=str(source) if source else "proposed/config",
                    description=description or fetched.message,
                    by=by,
                    at=self._w.now(),
                )
        with effect("project-proposal"):
            await self._apply.project(agent)
        return await self.card(id)

    async def _fetch(self, agent: AgentName, request: quarantine.FetchRequest) -> quarantine.Fetched:
        try:
            return await quarantine.fetch(request, self._w.layout, self._w.config, self._w.recorder)
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

    # agents
    async def spawn(self, name: AgentName, by: str) -> ProposalId:
        """Make an agent without asking anybody: a deploy of its seed, approved at once. The first one has id 0."""
        desired = await self._desired()
        if name in desired.agents:
            raise Conflict(f"an agent named {name} already exists", "choose another name, or `hive rebuild` it")
        _check_not_owed(desired, name)
        deploys = {deploy.id: deploy for deploy in await self._deploys(name)}
        if any(deploy.state in (TagState.APPROVED, TagState.BUILDING) for deploy in deploys.values()):
            raise Conflict(f"{name} is being spawned already", f"see `hive plan {name}`")
        sha = await self._seed(name, desired)
        zero = deploys.get(ProposalId(0))
        if zero is None or zero.state is TagState.PROPOSAL:
            id = ProposalId(0)
        else:
            with effect("take-id"):
                id = await self._take_id()
        if id not in deploys:
            await self._propose_spawn(name, id, sha, by, "")
        with effect("approve-spawn"):
            await self._w.applied(name).transition(id, TagState.APPROVED, by=by, at=self._w.now())
        await self._apply.project(name)
        self._reconciler.look_now(name)
        return id

    async def request_spawn(self, name: AgentName, by: str, description: str = "") -> Card:
        """Ask the operator for a new agent. A name that exists makes the approval fail; a tombstone is allowed."""
        desired = await self._desired()
        _check_not_owed(desired, name)
        for deploy in await self._deploys(name):
            if deploy.kind is DeployKind.SPAWN and deploy.state is TagState.PROPOSAL and deploy.id > 0:
                return await self.card(deploy.id)
        sha = await self._seed(name, desired)
        if name in desired.tombstones:
            kept = f"goes on with the kept repos and state of the destroyed agent {name}"
            description = f"{description}\n({kept})" if description else kept
        with effect("take-id"):
            id = await self._take_id()
        await self._propose_spawn(name, id, sha, by, description)
        await self._apply.project(name)
        return await self.card(id)

    async def start(self, agent: AgentName, by: str) -> None:
        """Desired: running. Forgets crashes, so that a given-up agent is tried again."""
        await self._run(agent, "start", lambda run: replace(run, state=RunState.RUNNING), by, fresh=True)

    async def stop(self, agent: AgentName, by: str, now: bool = False) -> None:
        """Desired: stopped. `now` skips the drain."""
        if now:
            self._w.links.skip_drain(agent)
        await self._run(agent, "stop", lambda run: replace(run, state=RunState.STOPPED), by)

    async def restart(self, agent: AgentName, by: str, now: bool = False) -> None:
        """One more restart; also starts what is stopped or was given up."""
        if now:
            self._w.links.skip_drain(agent)

        def again(run: RunEntry) -> RunEntry:
            return replace(run, state=RunState.RUNNING, restarts=run.restarts + 1)

        await self._run(agent, "restart", again, by, fresh=True)

    async def rebuild(self, agent: AgentName, by: str, now: bool = False) -> None:
        """Write every host artefact again, build the pin again, restart."""
        if now:
            self._w.links.skip_drain(agent)
        await self._run(agent, "rebuild", lambda run: replace(run, rebuilds=run.rebuilds + 1), by, fresh=True)

    async def rollback(self, agent: AgentName, by: str, to: ProposalId | None = None) -> Card:
        """A new id whose commit is an older deployed one (the one before, unless `to` is given), approved at once."""
        entry = (await self._entry(agent)).agents[agent]
        target = _rollback_target(await self._deploys(agent), entry.pin.sha, agent, to)
        applied, now = self._w.applied(agent), self._w.now()
        id = await self._take_id()
        with effect("tag-rollback"):
            await applied.propose(
                id,
                DeployKind.ROLLBACK,
                target.sha,
                base=entry.pin.sha,
                commit_ref=target.sha,
                source=f"deployed/{target.id}",
                description=f"rollback to deployed/{target.id}",
                by=by,
                at=now,
            )
        with effect("approve-rollback"):
            await applied.transition(id, TagState.APPROVED, by=by, at=now)
        return await self._after(await self._find(id, agent))

    async def destroy(self, agent: AgentName, by: str, purge: bool = False) -> None:
        """Remove the agent; repos, tags and /state stay unless `purge`. Its open ids end as denied or failed."""
        if agent == MANAGER:
            raise Refused("the manager cannot be destroyed", "stop it, or destroy other agents")
        desired = await self._desired()
        deploys = await self._deploys(agent)
        known = agent in desired.agents or agent in desired.tombstones
        if not known and not deploys:
            raise NotFound(f"there is no agent {agent}", "see `hive list`")
        async with self._w.decision(agent):
            with effect("end-open-ids"):
                for deploy in await self._deploys(agent):
                    if not deploy.state.terminal and deploy.id not in self._w.observer.observe(agent).committed:
                        over = TagState.DENIED if deploy.state is TagState.PROPOSAL else TagState.FAILED
                        await self._move(deploy, over, by, "agent destroyed")
            with effect("remove-entry"):
                foreign = self._w.observer.observe(agent).foreign
                await self._w.meta.remove_agent(agent, purge=purge, by=by, at=self._w.now(), disown=foreign)
                # Nothing of the restarts and rebuilds that were asked for concerns a later agent of this name.
                if (await self._desired()).run_of(agent) != RunEntry():
                    await self._w.meta.set_run(agent, lambda _: RunEntry(), by=by, at=self._w.now())
        self._reconciler.interrupt(agent)
        await self._apply.project(agent)
        self._reconciler.look_now(agent)

    async def adopt(self, agent: AgentName, by: str, running: bool) -> None:
        """End a disagreement: meta takes over what runs, or the agent goes back to what meta says."""
        await self._w.observer.desired()
        deploys = await self._deploys(agent)
        foreign = self._w.observer.observe(agent).foreign
        if not foreign:
            raise Conflict(f"{agent} does not disagree with meta", "see `hive plan`")
        newest = max((deploy for deploy in deploys if deploy.id in foreign), key=lambda deploy: deploy.id)
        with effect("adopt"):
            await self._w.meta.adopt(agent, newest if running else None, disown=foreign, by=by, at=self._w.now())
        await self._w.events.append("agent_adopted", agent, {"running": running, "ids": sorted(foreign), "by": by})
        self._reconciler.look_now(agent)

    async def reconcile(self, agent: AgentName | None) -> None:
        """Look now, at one agent or at all."""
        if agent is None:
            await self._reconciler.sweep()
            return
        self._reconciler.look_now(agent)

    async def settled(self, agent: AgentName | None, seconds: float) -> bool:
        """Wait until nothing is left to do; False after `seconds`."""
        return await self._reconciler.settled(agent, seconds)

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

    async def _seed(self, name: AgentName, desired: Desired) -> Sha:
        """The commit that a spawn deploys: what is left of an earlier life, else the seed."""
        applied = self._w.applied(name)
        main = await applied.main() if applied.stamp() is not None else None
        if main is not None:
            return main
        role = Role.MANAGER if name == MANAGER else Role.AGENT
        with effect("seed"):
            return await applied.create(seed.files(name, role), self._w.now())

    async def _propose_spawn(self, name: AgentName, id: ProposalId, sha: Sha, by: str, description: str) -> None:
        with effect("tag-spawn"):
            await self._w.applied(name).propose(
                id,
                DeployKind.SPAWN,
                sha,
                base=None,
                commit_ref="",
                source="seed",
                description=description,
                by=by,
                at=self._w.now(),
            )

    async def _run(
        self, agent: AgentName, verb: str, change: Callable[[RunEntry], RunEntry], by: str, *, fresh: bool = False
    ) -> None:
        await self._entry(agent)
        with effect("commit-run"):
            await self._w.meta.set_run(agent, change, by=by, at=self._w.now())
        if fresh:
            await self._w.memory.change(
                agent, crashes=0, start_after=0.0, rollback_failed=False, rollback_from=None, transient=None
            )
        await self._w.events.append("run_changed", agent, {"asked": verb, "by": by})
        self._reconciler.interrupt(agent)
        self._reconciler.look_now(agent)


def _check_room(agent: AgentName, deploys: Sequence[Deploy]) -> None:
    waiting = open_ids(deploys)
    if len(waiting) >= PENDING_MOST:
        oldest = waiting[0]
        raise Conflict(
            f"{agent} has {len(waiting)} proposals that wait for a decision, the limit is {PENDING_MOST}",
            f"deny what is not wanted (`hive deny {oldest}`); `hive pending` shows them",
        )


def _check_not_owed(desired: Desired, name: AgentName) -> None:
    """What was promised to be gone is not handed to a new agent of the same name."""
    grave = desired.tombstones.get(name)
    if grave is not None and grave.purge:
        raise Conflict(f"{name} is being purged", f"wait until `hive plan {name}` is empty, then try again")


def _rollback_target(deploys: Sequence[Deploy], current: Sha, agent: AgentName, to: ProposalId | None) -> Deploy:
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
    return older[-1]
