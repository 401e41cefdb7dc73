"""Do one step of the plan: one `match`, the only caller of builders and backends.

Every step is idempotent: after a kill it is simply done again. Each effect is wrapped in its two failpoints.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from typing import assert_never

from meta.errors import HiveError, NotFound, Refused
from meta.model import ContainerSettings, Deploy, DeployKind, Pin, Role, TagState
from meta.names import MANAGER, AgentName, GenerationId, ProposalId, Sha
from meta.proposed import push_repo, work_tree
from meta.text import scrub
from reconciler.apply.builds import Building
from reconciler.apply.effects import effect
from reconciler.apply.last_lines import told_last
from reconciler.apply.memos import Remembering
from reconciler.backends.base import Backend
from reconciler.builders.base import Builder, BuildRequest
from reconciler.common.trees import remove_tree
from reconciler.events.transitions import stopped_key
from reconciler.plan import steps
from reconciler.plan.observed import Launch, Transient
from reconciler.telemetry import activity
from reconciler.world import World

log = logging.getLogger(__name__)
LOG_TAIL = 20
"""Lines of a container's log that an event or a failed tag carries."""
LOG_LOOK = 200
"""Lines that they are looked for in."""
LOG_LIMIT = 4000
"""Bytes of it."""


class Apply:
    """Carries out steps. One per daemon."""

    def __init__(self, world: World, backend: Backend, builder: Builder) -> None:
        self._w = world
        self._backend = backend
        self._builder = builder
        self._building = Building(world, builder)
        self._remembering = Remembering(world, self._last_lines)

    async def __call__(self, agent: AgentName, step: steps.Step, deploys: tuple[Deploy, ...]) -> None:
        """Do `step` for `agent`. Raises HiveError; the loop decides what that means for a deploy."""
        with self._w.metrics.step(agent, step), activity.stepping(step.name):
            await self._do(agent, step, deploys)

    async def _do(self, agent: AgentName, step: steps.Step, deploys: tuple[Deploy, ...]) -> None:
        match step:
            case steps.Nothing() | steps.Wait():
                return
            case steps.Project():
                await self.project(agent)
            case steps.Begin() | steps.MakeCandidate() | steps.Finish() | steps.Fail() | steps.Drop():
                await self._deploy_step(agent, step, _find(deploys, step.id))
            case steps.Commit():
                await self._commit(agent, step, _find(deploys, step.id))
            case steps.Preview() | steps.Build():
                await self._ask_builder(agent, step, _find(deploys, step.id))
            case steps.Reapply():
                await self._rebuild(agent, step)
            case steps.Create() | steps.Furnish() | steps.OpenSockets():
                await self._furnish(agent, step)
            case steps.Drain() | steps.Stop() | steps.Switch() | steps.Start():
                await self._container(agent, step)
            case steps.CountCrash() | steps.MarkHealthy() | steps.ForgetCrashes() | steps.GiveUpRollback():
                await self._remembering(agent, step)
            case steps.Destroy():
                await self._destroy(agent)
            case steps.Purge():
                await self._purge(agent)
            case _:
                raise TypeError(f"apply does not know the step {step.name}")

    async def project(self, agent: AgentName) -> None:
        """Make the cards of `agent` say what its tags say; the events go out with them."""
        deploys = await self._w.observer.refresh(agent)
        stamp, proven = self._w.observer.stamp(agent), self._w.memory.get(agent).proven
        shown = tuple(replace(deploy, unproven=deploy.unproven and deploy.id not in proven) for deploy in deploys)
        with effect("project"):
            await self._w.cards.project(agent, shown, stamp or "")
            self._w.memory.note_projected(agent, stamp)

    async def complaint(self, agent: AgentName, sha: Sha) -> str | None:
        """Why a commit's own files cannot be built, in words; None when nothing is wrong with them."""
        return await self._building.complaint(agent, sha)

    async def _ask_builder(self, agent: AgentName, step: steps.Preview | steps.Build, deploy: Deploy) -> None:
        match step:
            case steps.Preview():
                await self._building.preview(agent, deploy, self._candidate)
            case steps.Build(id=id, sha=sha, settings=settings, candidate=candidate):
                await self._building.build(BuildRequest(agent, id, sha, settings, candidate), deploy.shown)
            case _:
                assert_never(step)

    # the deploy's own records
    async def _deploy_step(
        self,
        agent: AgentName,
        step: steps.Begin | steps.MakeCandidate | steps.Finish | steps.Fail | steps.Drop,
        deploy: Deploy,
    ) -> None:
        applied, now = self._w.applied(agent), self._w.now()
        match step:
            case steps.Begin(id=id):
                await self._check_ancestor(agent, deploy)
                with effect("tag-building"):
                    await applied.transition(id, TagState.BUILDING, by="hive", at=now)
            case steps.MakeCandidate(id=id):
                with effect("candidate"):
                    await self._candidate(agent, deploy)
            case steps.Finish(id=id, meta_commit=commit, unproven=unproven):
                seed = deploy.kind is DeployKind.SPAWN
                await self._catch_up(deploy, now)
                with effect("tag-deployed"):
                    await applied.deployed(id, by="hive", at=now, meta_commit=commit, unproven=unproven, seed=seed)
            case steps.Fail(id=id, reason=reason, touched=touched):
                back = touched and agent in (await self._w.meta.read()).desired.agents
                with effect("remember-rollback"):
                    if back:
                        await self._w.memory.change(agent, rollback_from=id, rollback_failed=False)
                told = await self._with_log(agent, reason) if touched else reason
                with effect("tag-failed"):
                    await applied.transition(id, TagState.FAILED, by="hive", at=now, reason=told)
                if back:
                    await self._w.events.append("rollback_started", agent, {"id": id, "reason": reason})
            case steps.Drop(id=id):
                with effect("drop-candidate"):
                    await self._w.meta.drop_candidate(agent, id)
                with effect("prune"):
                    await self._prune(agent)
            case _:
                assert_never(step)

    async def _catch_up(self, deploy: Deploy, now: int) -> None:
        """Tags that an older applied repo lacks although meta has the commit: meta has the say, so they follow."""
        missing = {
            TagState.PROPOSAL: (TagState.APPROVED, TagState.BUILDING),
            TagState.APPROVED: (TagState.BUILDING,),
        }
        for state in missing.get(deploy.state, ()):
            reason = "meta has its commit; the tag was lost"
            await self._w.applied(deploy.agent).transition(deploy.id, state, by="hive", at=now, reason=reason)

    async def _with_log(self, agent: AgentName, reason: str) -> str:
        """The reason, with what the container wrote last."""
        tail = (await self._last_lines(agent)).strip()
        return f"{reason}\n\nits last lines:\n{tail}" if tail else reason

    async def _last_lines(self, agent: AgentName) -> str:
        return scrub(told_last(await self._backend.logs(agent, LOG_LOOK), LOG_TAIL), limit=LOG_LIMIT)

    async def _check_ancestor(self, agent: AgentName, deploy: Deploy) -> None:
        if deploy.kind is not DeployKind.APPLY_COMMIT:
            return
        applied = self._w.applied(agent)
        main = await applied.main()
        if main is not None and not await applied.is_ancestor(main, deploy.sha):
            raise Refused(
                f"{deploy.sha[:12]} does not descend from applied/main ({main[:12]})",
                "rebase onto applied/main and propose again",
            )

    async def _candidate(self, agent: AgentName, deploy: Deploy) -> None:
        desired = (await self._w.meta.read()).desired
        pin = Pin(deploy.id, deploy.sha)
        entry = desired.agents.get(agent)
        role = Role.MANAGER if agent == MANAGER else Role.AGENT
        changed = replace(entry, pin=pin) if entry is not None else None
        await self._w.meta.candidate(agent, deploy.id, changed, pin=pin, role=role, by="hive", at=self._w.now())

    async def _commit(self, agent: AgentName, step: steps.Commit, deploy: Deploy) -> None:
        launch = self._backend.observe(agent).launch
        async with self._w.decision(agent):
            now = _find(await self._w.observer.refresh(agent), step.id)
            current = (await self._w.meta.read()).desired.agents.get(agent)
            if now.state is not TagState.BUILDING:
                return  # cancelled, or the agent is destroyed: the next look says what follows
            if current is not None and current.settings != step.entry.settings:
                await self._w.meta.drop_candidate(agent, step.id)  # what was built is not what would be committed
                return
            with effect("commit-meta"):
                await self._w.meta.commit_agent(
                    agent,
                    step.id,
                    step.entry,
                    kind=deploy.kind,
                    generation=step.generation.id,
                    by=deploy.approved_by or "hive",
                    at=self._w.now(),
                    sha=deploy.sha,
                )
        await self._w.memory.change(
            agent,
            crashes=0,
            start_after=0.0,
            rollback_from=None,
            rollback_failed=False,
            transient=None,
            healthy_nonce=launch.nonce if step.proven and launch and launch.generation == step.generation.id else None,
        )

    async def _prune(self, agent: AgentName) -> None:
        desired = (await self._w.meta.read()).desired
        seen = self._w.observer.observe(agent)
        entry = desired.agents.get(agent)
        deploys = await self._w.observer.refresh(agent)
        done = [deploy.id for deploy in deploys if deploy.state is TagState.DEPLOYED]
        open_ids = [deploy.id for deploy in deploys if not deploy.state.terminal]
        roots = {*done[-2:], *open_ids, *([entry.pin.id] if entry else [])}
        keep: set[GenerationId] = {seen.built[id].id for id in roots if id in seen.built}
        keep |= {id for id in (seen.container.system, seen.container.launch and seen.container.launch.generation) if id}
        ended = frozenset(each.id for each in deploys if each.state in (TagState.DENIED, TagState.FAILED))
        await self._builder.prune(agent, frozenset(keep), frozenset(roots), ended)

    # the container and what surrounds it
    async def _furnish(self, agent: AgentName, step: steps.Create | steps.Furnish | steps.OpenSockets) -> None:
        settings = step.settings
        match step:
            case steps.Create():
                with effect("create"):
                    await self._backend.create(agent, settings)
            case steps.Furnish():
                with effect("own-directories"):
                    await self._backend.own_directories(agent, settings)
                with effect("proposed"):
                    uid = await self._manager_uid(agent, step)
                    repo = self._w.layout.applied_git(agent)
                    await work_tree.create(self._w.layout, agent, repo, uid, self._w.recorder)
                    push_repo.create(self._w.layout, agent, self._w.config)
                    if self._w.gives_through_helper:
                        await self._backend.own_proposed(agent, await self._manager(agent, step))
            case steps.OpenSockets():
                with effect("open-sockets"):
                    await self._w.sockets.open(agent, self._w.uid(settings), self._w.peers(settings))
            case _:
                assert_never(step)

    async def _manager(self, agent: AgentName, step: steps.Furnish | steps.Reapply) -> ContainerSettings:
        """The manager's settings (its own are still a candidate's at its first spawn)."""
        manager = (await self._w.meta.read()).desired.agents.get(MANAGER)
        return step.settings if manager is None or agent == MANAGER else manager.settings

    async def _manager_uid(self, agent: AgentName, step: steps.Furnish | steps.Reapply) -> int | None:
        """The uid that owns proposed work trees: the manager's harness."""
        first = self._w.uid(await self._manager(agent, step))
        return first + self._backend.harness_uid if first is not None else None

    async def _container(self, agent: AgentName, step: steps.Drain | steps.Stop | steps.Switch | steps.Start) -> None:
        match step:
            case steps.Drain(deadline=deadline):
                with effect("drain"):
                    if not await self._w.links.drain(agent, deadline):
                        log.warning("%s did not end its turn within %g s", agent, deadline)
            case steps.Stop(transient=transient, nonce=nonce):
                turn = self._w.links.view(agent).turn
                if turn is not None and turn.in_turn:
                    self._w.metrics.turn_killed(agent)
                    await self._w.events.append("turn_killed", agent, {"turn": str(turn), "transient": transient})
                with effect("remember-stop"):
                    await self._w.memory.change(agent, transient=transient, expected_exit=nonce)
                with effect("stop"):
                    await self._backend.stop(agent, self._w.config.stop_grace)
                await self._w.events.append(
                    "agent_stopped", agent, {"transient": transient}, key=stopped_key(agent, nonce, transient)
                )
            case steps.Switch(generation=generation, settings=settings):
                with effect("set-system"):
                    await self._backend.set_system(agent, generation)
                with effect("write-settings"):
                    await self._backend.write_settings(agent, settings)
            case steps.Start(generation=generation):
                launch = Launch(
                    generation=generation.id,
                    fingerprint=generation.fingerprint,
                    nonce=secrets.token_hex(8),
                    at=self._w.clock(),
                    deploy=step.deploy,
                    restarts=step.restarts,
                    rebuilds=step.rebuilds,
                )
                self._w.links.reset(agent)
                with effect("start"):
                    await self._backend.start(agent, launch)
                await self._w.events.append(
                    "agent_started", agent, {"generation": generation.id, "sha": generation.sha, "deploy": step.deploy}
                )
            case _:
                assert_never(step)

    async def _rebuild(self, agent: AgentName, step: steps.Reapply) -> None:
        key = f"rebuilt:{agent}:{step.rebuilds}"
        try:
            await self._reapply(agent, step)
        except HiveError as error:
            await self._w.events.append("agent_rebuild_failed", agent, {"error": error.summary}, key=f"{key}:failed")
            raise
        await self._w.events.append("agent_rebuilt", agent, {"id": step.id}, key=key)
        with effect("remember-rebuild"):
            await self._w.memory.change(agent, rebuilt=step.rebuilds)

    async def _reapply(self, agent: AgentName, step: steps.Reapply) -> None:
        settings, uid = step.settings, self._w.uid(step.settings)
        with effect("reapply"):
            await self._backend.create(agent, settings)
            await self._backend.own_directories(agent, settings)
            await self._backend.write_settings(agent, settings)
            await self._w.sockets.open(agent, uid, self._w.peers(settings))
            manager = await self._manager_uid(agent, step)
            await work_tree.wire_remote(self._w.layout, agent, manager, recorder=self._w.recorder)
        with effect("rebuild"):
            async with self._w.builds:
                await self._builder.build(BuildRequest(agent, step.id, step.sha, settings, step.candidate))

    # the end
    async def _destroy(self, agent: AgentName) -> None:
        await self._w.forget(agent)
        with effect("destroy"):
            if self._backend.observe(agent).exists:  # from here on it is told, whenever this ends
                await self._w.memory.change(agent, transient=Transient.DESTROYING)
            await self._backend.destroy(agent)
        with effect("close-sockets"):
            await self._w.sockets.close(agent)
        with effect("forget-memo"):
            gone = self._w.memory.get(agent).transient == Transient.DESTROYING
            await self._w.memory.forget(agent, ("agent_destroyed", self._w.clock()) if gone else None)
            self._w.events.told()
            self._w.links.forget(agent)

    async def _purge(self, agent: AgentName) -> None:
        layout = self._w.layout
        with effect("purge-directories"):
            if self._w.gives_through_helper:
                await self._backend.remove_directories(agent)
            for directory in (layout.agent(agent), layout.applied(agent), layout.proposed(agent)):
                await remove_tree(directory, inside=layout.state)
            await self._builder.forget(agent)
            if self._w.observer.previews is not None:
                self._w.observer.previews.forget(agent)
        await self._w.cards.forget(agent)
        await self._w.forget(agent)
        await self._w.broker.forget(agent)
        self._w.memory.note_projected(agent, None)
        self._w.observer.forget(agent)
        with effect("forget-tombstone"):
            await self._w.meta.forget_tombstone(agent, by="hive", at=self._w.now())
        await self._w.events.append("agent_purged", agent, {})


def _find(deploys: tuple[Deploy, ...], id: ProposalId) -> Deploy:
    for deploy in deploys:
        if deploy.id == id:
            return deploy
    raise NotFound(f"no proposal {id}")
