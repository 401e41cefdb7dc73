"""The steps on a deploy's own records: its tags, its candidate, its commit on meta's `main`, its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from meta.errors import Refused
from meta.model import Deploy, DeployKind, Generation, TagState
from meta.names import HIVE, MANAGER, AgentName, GenerationId, ProposalId
from reconciler.apply import work_trees
from reconciler.apply.candidates import make_candidate
from reconciler.apply.effects import effect
from reconciler.apply.last_lines import LastLines
from reconciler.apply.push_mains import PushMains
from reconciler.backends.base import Backend
from reconciler.builders.base import Builder
from reconciler.plan import steps
from reconciler.plan.deploy import find_deploy
from reconciler.world import World

DeployStep = steps.Begin | steps.MakeCandidate | steps.Commit | steps.Finish | steps.Fail | steps.Drop

_MISSING_TAGS: dict[TagState, tuple[TagState, ...]] = {
    TagState.PROPOSAL: (TagState.APPROVED, TagState.BUILDING),
    TagState.APPROVED: (TagState.BUILDING,),
}
"""The states between that of the tags and `deployed`."""


class DeploySteps:
    """The steps that move a deploy from approved to deployed or failed."""

    def __init__(self, world: World, backend: Backend, builder: Builder, last_lines: LastLines) -> None:
        self._world = world
        self._backend = backend
        self._builder = builder
        self._last_lines = last_lines
        self._push_mains = PushMains(world)

    async def __call__(self, agent: AgentName, step: DeployStep, deploy: Deploy) -> None:
        """Do `step` for `deploy`."""
        match step:
            case steps.Begin():
                await self._begin(deploy)
            case steps.MakeCandidate():
                with effect("candidate"):
                    await make_candidate(self._world, deploy)
            case steps.Commit():
                await self._commit(agent, step, deploy)
            case steps.Finish():
                await self._finish(agent, step, deploy)
            case steps.Fail():
                await self._fail(agent, step)
            case steps.Drop(id=id):
                with effect("drop-candidate"):
                    await self._world.meta.drop_candidate(agent, id)
                with effect("prune"):
                    await self._prune(agent)
            case _:
                assert_never(step)

    async def project(self, agent: AgentName) -> tuple[Deploy, ...]:
        """Make the cards of `agent` agree with its tags. Return all deploys of the agent.

        The cards' events are stored with them.
        """
        deploys = await self._world.observer.refresh(agent)
        stamp, proven = self._world.observer.stamp(agent), self._world.memory.get(agent).proven
        shown = tuple(replace(deploy, unproven=deploy.unproven and deploy.id not in proven) for deploy in deploys)
        await self._abandon_failed_spawn(agent, deploys)
        with effect("project"):
            await self._world.cards.project(agent, shown, stamp or "")
            self._world.memory.note_projected(agent, stamp)
        return deploys

    async def _abandon_failed_spawn(self, agent: AgentName, deploys: Sequence[Deploy]) -> None:
        """Report what was sent to an agent from the answer to its spawn on, if that failed.

        This comes before the card shows the failure: after a kill in between it is done again.
        """
        spawns = [deploy for deploy in deploys if deploy.kind is DeployKind.SPAWN]
        if not spawns or spawns[-1].state is not TagState.FAILED:
            return
        if agent == MANAGER or agent in self._world.observer.known().agents:
            return
        card = await self._world.cards.get(agent, spawns[-1].id)
        if card is None or card.state != TagState.FAILED.value:
            await self._world.abandon(agent)

    async def _begin(self, deploy: Deploy) -> None:
        await self._check_ancestor(deploy)
        with effect("tag-building"):
            applied = self._world.applied(deploy.agent)
            await applied.transition(deploy.id, TagState.BUILDING, by=HIVE, at=self._world.now())

    async def _check_ancestor(self, deploy: Deploy) -> None:
        if deploy.kind is DeployKind.SPAWN:
            return
        applied = self._world.applied(deploy.agent)
        main = await applied.main()
        if main is not None and not await applied.is_ancestor(main, deploy.sha):
            remedy = "rebase onto applied/main and propose again"
            if deploy.kind is DeployKind.ROLLBACK:
                remedy = f"run `hive rollback {deploy.agent}` again"
            raise Refused(f"{deploy.sha[:12]} does not descend from applied/main ({main[:12]})", remedy)

    async def _commit(self, agent: AgentName, step: steps.Commit, deploy: Deploy) -> None:
        launch = self._backend.observe(agent).launch
        async with self._world.decision(agent):
            now = find_deploy(await self._world.observer.refresh(agent), agent, step.id)
            current = (await self._world.meta.read()).desired.agents.get(agent)
            if now.state is not TagState.BUILDING:
                return  # cancelled, or the agent was destroyed: the next look decides what follows
            if current is not None and current.settings != step.entry.settings:
                await self._world.meta.drop_candidate(agent, step.id)  # it was built with settings that changed since
                return
            with effect("commit-meta"):
                await self._world.meta.commit_agent(
                    agent,
                    step.id,
                    step.entry,
                    kind=deploy.kind,
                    generation=step.generation.id,
                    by=deploy.approved_by or HIVE,
                    at=self._world.now(),
                    sha=deploy.sha,
                )
        await self._world.memory.change(
            agent,
            crashes=0,
            excused=0,
            start_after=0.0,
            rollback_from=None,
            rollback_failed=False,
            transient=None,
            healthy_nonce=launch.nonce if step.proven and launch and launch.generation == step.generation.id else None,
        )

    async def _finish(self, agent: AgentName, step: steps.Finish, deploy: Deploy) -> None:
        applied, now = self._world.applied(agent), self._world.now()
        await self._restore_tags(deploy, now)
        with effect("tag-deployed"):
            await applied.deployed(
                step.id,
                by=HIVE,
                at=now,
                meta_commit=step.meta_commit,
                unproven=step.unproven,
                seed=deploy.kind is DeployKind.SPAWN,
            )
        await work_trees.follow(self._world, deploy)
        await self._push_mains.bring(agent)  # now: who waits for the deploy may pull it next

    async def _restore_tags(self, deploy: Deploy, now: int) -> None:
        """Write the tags that an older applied repo lacks although meta has the commit. Meta is the authority."""
        for state in _MISSING_TAGS.get(deploy.state, ()):
            reason = "meta has its commit; the tag was lost"
            await self._world.applied(deploy.agent).transition(deploy.id, state, by=HIVE, at=now, reason=reason)

    async def _fail(self, agent: AgentName, step: steps.Fail) -> None:
        rolls_back = step.touched and agent in (await self._world.meta.read()).desired.agents
        with effect("remember-rollback"):
            if rolls_back:
                await self._world.memory.change(agent, rollback_from=step.id, rollback_failed=False)
        reason = await self._with_log(agent, step.reason) if step.touched else step.reason
        with effect("tag-failed"):
            applied = self._world.applied(agent)
            await applied.transition(step.id, TagState.FAILED, by=HIVE, at=self._world.now(), reason=reason)
        if rolls_back:
            await self._world.events.append("rollback_started", agent, {"id": step.id, "reason": step.reason})

    async def _with_log(self, agent: AgentName, reason: str) -> str:
        lines = (await self._last_lines(agent)).strip()
        return f"{reason}\n\nits last lines:\n{lines}" if lines else reason

    async def _prune(self, agent: AgentName) -> None:
        """Drop old generations.

        Keep those that were deployed last, the open ones, the pinned one, and those that run or start next.
        """
        entry = (await self._world.meta.read()).desired.agents.get(agent)
        observed = self._world.observer.observe(agent)
        deploys = await self._world.observer.refresh(agent)
        deployed = [deploy.id for deploy in deploys if deploy.state is TagState.DEPLOYED]
        open_ids = [deploy.id for deploy in deploys if not deploy.state.terminal]
        last = ids_of_last(deployed, observed.built, self._world.config.keep_generations)
        roots = {*last, *open_ids, *([entry.pin.id] if entry else [])}
        container = observed.container
        keep: set[GenerationId] = {observed.built[id].id for id in roots if id in observed.built}
        keep |= {id for id in (container.system, container.launch and container.launch.generation) if id}
        ended = frozenset(deploy.id for deploy in deploys if deploy.state in (TagState.DENIED, TagState.FAILED))
        await self._builder.prune(agent, frozenset(keep), frozenset(roots), ended)


def ids_of_last(
    deployed: Sequence[ProposalId], built: Mapping[ProposalId, Generation], count: int
) -> frozenset[ProposalId]:
    """Return the deployed ids that run one of the last `count` generations.

    Several ids can have one generation: a rollback has that of its target.
    """
    last: set[GenerationId] = set()
    for id in reversed(deployed):
        if id in built and len(last) < count:
            last.add(built[id].id)
    return frozenset(id for id in deployed if id in built and built[id].id in last)
