"""What people and agents can ask of hive: commands that write a tag or a ref and enqueue, and views.

A command returns once what it promises is durable. Nothing here starts, stops or builds: the loop does. So crash
recovery is the normal path, not a second program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from typing_extensions import override

from meta.agent_toml import seed
from meta.errors import Conflict, NotFound, Refused
from meta.model import Deploy, DeployKind, Desired, Role, RunEntry, RunState, TagState
from meta.names import MANAGER, OPERATOR, AgentName, ProposalId, Sha
from meta.wire.common import CancelLooseEndKind, LooseEnd
from reconciler.agents.updates import Updates
from reconciler.apply.effects import effect
from reconciler.messaging.loose_ends import LooseEnds
from reconciler.messaging.questions import Questions
from reconciler.messaging.reminders import Reminders
from reconciler.plan.counters import next_rebuild, next_restart
from reconciler.plan.rollout import Rollout
from reconciler.proposals.settings_edit import Editing
from reconciler.store.events.helper_events import UNASKED
from reconciler.telemetry.metrics import Snapshot
from reconciler.upkeep.backups.write import Origin, Wanted, write
from reconciler.views import Card, PlanRow, Status


class Service(Editing):
    """Every command: here those about agents, in Proposals and Editing those about commits."""

    updates: Updates | None = None
    questions: Questions
    reminders: Reminders
    ends: LooseEnds

    @override
    async def status(self) -> Status:
        """With how far the rebuild of all agents is, and what is asked of the operator."""
        status, rollout = await super().status(), self.updates.current if self.updates is not None else None
        status = replace(status, questions=await self.questions.count(OPERATOR))
        if rollout is None or (rollout.over and rollout.failed is None):
            return status
        return replace(status, rollout=rollout, notes=(*status.notes, f"rebuild --all: {rollout.describe()}"))

    @override
    async def snapshot(self) -> Snapshot:
        """With what discovery has to say."""
        snapshot, discovery = await super().snapshot(), self.discovery
        if discovery is None:
            return snapshot
        found = {name: len(discovery.refused(name)) for name in self.agents()}
        return replace(snapshot, refused=found, watching=not discovery.notes())

    @override
    async def plan(self, agent: AgentName | None = None) -> list[PlanRow]:
        """With whose turn to be rebuilt is still to come."""
        rows, rollout = await super().plan(agent), self.updates.current if self.updates is not None else None
        if rollout is None or rollout.over:
            return rows
        told = "waits for its turn in `hive rebuild --all`"
        return [
            replace(row, conditions=(*row.conditions, told)) if row.agent in rollout.waiting else row for row in rows
        ]

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
            await self._propose_spawn(name, id, sha, by, "", source=UNASKED)
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
            return replace(run, state=RunState.RUNNING, restarts=next_restart(run, self._w.observer.observe(agent)))

        await self._run(agent, "restart", again, by, fresh=True)

    async def rebuild(self, agent: AgentName, by: str, now: bool = False) -> None:
        """Write every host artefact again, build the pin again, restart."""
        if now:
            self._w.links.skip_drain(agent)

        def again(run: RunEntry) -> RunEntry:
            return replace(run, rebuilds=next_rebuild(run, self._w.observer.observe(agent)))

        await self._run(agent, "rebuild", again, by, fresh=True)

    async def rebuild_all(self, by: str, now: bool = False, only_stale: bool = False) -> Rollout:
        """Rebuild every agent (or what another hive built), wave by wave; the first that fails ends it."""
        if self.updates is None:
            raise Conflict("this daemon rebuilds nobody by waves", "`hive rebuild AGENT` rebuilds one")
        return await self.updates.begin(by, now=now, only_outdated=only_stale)

    async def destroy(self, agent: AgentName, by: str, purge: bool = False) -> None:
        """Remove the agent; repos, tags and /state stay unless `purge`. Its open ids end as denied or failed."""
        if agent == MANAGER:
            raise Refused("the manager cannot be destroyed", "stop it, or destroy other agents")
        desired = await self._desired()
        deploys = await self._deploys(agent)
        known = agent in desired.agents or agent in desired.tombstones
        if not known and not deploys:
            raise NotFound(f"there is no agent {agent}", "see `hive list`")
        foreign = self._w.observer.observe(agent).foreign
        if not purge and _is_gone(desired, agent, deploys, foreign):
            raise Conflict(
                f"{agent} is destroyed already", f"`hive destroy {agent} --purge` also removes its repos and state"
            )
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
        desired, deploys = await self._desired(), await self._deploys(agent)
        foreign = _unsettled(desired, agent, self._w.observer.observe(agent).foreign)
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

    async def backup(self, name: str, wanted: Wanted) -> Path:
        """A consistent backup as the file `name` in hive's scratch, for the caller to take away."""
        target = self._w.layout.scratch / name
        origin = Origin(self._w.config, "daemon", self._w.revision)
        await write(self._w.layout, target, wanted, origin, self._w.meta.lock)
        return target

    async def loose_ends(self, name: str) -> tuple[LooseEnd, ...]:
        """What is open for `name` (an agent, `manager` or `operator`): see LooseEnds."""
        return await self.ends.of(name)

    async def cancel_loose_end(self, kind: CancelLooseEndKind, id: int, by: str) -> None:
        """Cancel a question or a reminder."""
        await self.ends.cancel(kind, id, by)

    # helpers
    async def _seed(self, name: AgentName, desired: Desired) -> Sha:
        """The commit that a spawn deploys: what is left of an earlier life, else the seed."""
        applied = self._w.applied(name)
        main = await applied.main() if applied.stamp() is not None else None
        if main is not None:
            return main
        role = Role.MANAGER if name == MANAGER else Role.AGENT
        with effect("seed"):
            return await applied.create(seed.files(name, role), self._w.now())

    async def _propose_spawn(
        self, name: AgentName, id: ProposalId, sha: Sha, by: str, description: str, source: str = "seed"
    ) -> None:
        with effect("tag-spawn"):
            await self._w.applied(name).propose(
                id,
                DeployKind.SPAWN,
                sha,
                base=None,
                commit_ref="",
                source=source,
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


def _unsettled(desired: Desired, agent: AgentName, foreign: frozenset[ProposalId]) -> frozenset[ProposalId]:
    """Those of the ids that disagree with meta which nobody gave up yet."""
    known = desired.agents.get(agent) or desired.tombstones.get(agent)
    return foreign - known.disowned if known is not None else foreign


def _is_gone(desired: Desired, agent: AgentName, deploys: Iterable[Deploy], foreign: frozenset[ProposalId]) -> bool:
    """Whether a destroy has nothing to change: it was done before, and nothing came up since."""
    still = any(not deploy.state.terminal for deploy in deploys) or _unsettled(desired, agent, foreign)
    return agent not in desired.agents and agent in desired.tombstones and not still


def _check_not_owed(desired: Desired, name: AgentName) -> None:
    """What was promised to be gone is not handed to a new agent of the same name."""
    grave = desired.tombstones.get(name)
    if grave is not None and grave.purge:
        raise Conflict(f"{name} is being purged", f"wait until `hive plan {name}` is empty, then try again")
