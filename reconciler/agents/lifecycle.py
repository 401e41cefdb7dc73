"""Commands about agents: start, stop, restart, rebuild, destroy, adopt.

A command returns once its request is durable. Only the loop starts, stops and builds. So crash recovery is the normal
path, not a second program.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from meta.desired import trailers
from meta.desired.changes import RunNote
from meta.errors import Conflict, DiskFull, NotFound, Refused
from meta.model import Deploy, Desired, RunEntry, RunState, TagState
from meta.names import MANAGER, AgentName, ProposalId
from reconciler.apply.apply import Apply
from reconciler.apply.effects import effect
from reconciler.loop.loop import Reconciler
from reconciler.plan.counters import next_rebuild, next_restart
from reconciler.proposals.deploys import Deploys
from reconciler.world import World

log = logging.getLogger(__name__)
STOP_FIRST_SECONDS = 5.0
"""Seconds, beside the grace, that a stop on a full disk waits for the agent's end before it answers."""


class Lifecycle:
    """The commands about agents that exist."""

    def __init__(
        self,
        world: World,
        apply: Apply,
        loop: Reconciler,
        deploys: Deploys,
        is_declared: Callable[[AgentName], bool] = lambda _: False,
    ) -> None:
        self._world = world
        self._apply = apply
        self._loop = loop
        self._deploys = deploys
        self._is_declared = is_declared

    async def start(self, agent: AgentName, by: str) -> None:
        """Set the desired state to running. Forget crashes, so that an agent that hive gave up is tried again."""
        await self._check(agent)
        await self._run(agent, "start", _to_running, by, fresh=True)

    async def stop(self, agent: AgentName, by: str, now: bool = False, with_all: bool = False) -> None:
        """Set the desired state to stopped. `now` skips the drain. `with_all`: all agents are stopped, not this one.

        If the disk is too full to record that, stop the agent first: it may be the one that fills the disk.
        """
        await self._check(agent)
        if now:
            self._world.drains.skip(agent)
        try:
            await self.record_stop(agent, by, with_all)
        except DiskFull as error:
            log.warning("%s is stopped before that is recorded: %s", agent, error.summary)
            await self._stop_first(agent, by)

    async def record_stop(self, agent: AgentName, by: str, with_all: bool = False) -> None:
        """Set the desired state to stopped, durably. Raise DiskFull."""
        await self._run(agent, "stop", lambda run: replace(run, state=RunState.STOPPED, with_all=with_all), by)

    async def _stop_first(self, agent: AgentName, by: str) -> None:
        """Stop the agent, then record it on what the reserve gives back. What has no room is recorded later."""
        disk = self._world.disk
        disk.memory.ask_stop(agent, by)
        self._loop.interrupt(agent)
        await self._loop.settled(agent, STOP_FIRST_SECONDS + self._world.config.stop_grace)
        if self._world.observer.observe(agent).container.running:
            return  # it drains: the guard of the disk records it afterwards
        await asyncio.to_thread(partial(disk.reserve.give_back, all=True))
        try:
            await self.record_stop(agent, by)
        except DiskFull as error:
            log.warning("the stop of %s is not recorded yet: %s", agent, error.summary)
            return
        disk.memory.withdraw_stop(agent)

    async def restart(self, agent: AgentName, by: str, now: bool = False) -> None:
        """Request one more restart. It also starts an agent that is stopped or that hive gave up."""
        await self._check(agent)
        if now:
            self._world.drains.skip(agent)

        def again(run: RunEntry) -> RunEntry:
            return replace(_to_running(run), restarts=next_restart(run, self._world.observer.observe(agent)))

        await self._run(agent, "restart", again, by, fresh=True)

    async def rebuild(self, agent: AgentName, by: str, now: bool = False) -> None:
        """Write every host artefact again, build the pin again, restart."""
        await self._check(agent)
        if now:
            self._world.drains.skip(agent)

        def again(run: RunEntry) -> RunEntry:
            return replace(run, rebuilds=next_rebuild(run, self._world.observer.observe(agent)))

        await self._run(agent, "rebuild", again, by, fresh=True)

    async def destroy(self, agent: AgentName, by: str, purge: bool = False) -> None:
        """Remove the agent. Repos, tags and /state stay unless `purge`.

        Its open ids end as denied or failed.
        """
        if agent == MANAGER:
            raise Refused("the manager cannot be destroyed", "stop it, or destroy other agents")
        if self._is_declared(agent):
            raise Refused(
                f"the host's configuration declares {agent} and would bring it back",
                f"remove services.hive.agents.{agent} and run `nixos-rebuild switch`, then destroy it",
            )
        desired = await self._deploys.desired()
        deploys = await self._world.observer.refresh(agent) if purge else await self._deploys.of(agent)
        known = agent in desired.agents or agent in desired.tombstones
        if not known and not deploys:
            raise NotFound(f"there is no agent {agent}", "see `hive list`")
        foreign = self._world.observer.observe(agent).foreign
        if not purge and _is_gone(desired, agent, deploys, foreign):
            raise Conflict(
                f"{agent} is destroyed already", f"`hive destroy {agent} --purge` also removes its repos and state"
            )
        async with self._world.decision(agent):
            with effect("end-open-ids"):
                if not self._world.observer.observe(agent).damage:  # what is purged need not be readable
                    await self._end_open_ids(agent, by)
            if desired.run_of(agent).grants:  # first: a later agent of this name must not have them
                words = RunNote(trailers.NETWORK_REVOKE)
                await self._world.meta.set_run(
                    agent, lambda run: replace(run, grants=()), by=by, at=self._world.now(), words=words
                )
            with effect("remove-entry"):
                foreign = self._world.observer.observe(agent).foreign
                await self._world.meta.remove_agent(agent, purge=purge, by=by, at=self._world.now(), disown=foreign)
                # Restarts and rebuilds that were asked for do not concern a later agent of this name.
                if (await self._deploys.desired()).run_of(agent) != RunEntry():
                    await self._world.meta.set_run(agent, lambda _: RunEntry(), by=by, at=self._world.now())
        self._loop.interrupt(agent)
        if not self._world.observer.observe(agent).damage:
            await self._apply.project(agent)
        self._loop.look_now(agent)

    async def adopt(self, agent: AgentName, by: str, running: bool) -> None:
        """End a disagreement: meta takes over what runs, or the agent goes back to what meta has."""
        desired, deploys = await self._deploys.desired(), await self._deploys.of(agent)
        foreign = _unsettled(desired, agent, self._world.observer.observe(agent).foreign)
        if not foreign:
            raise Conflict(f"{agent} does not disagree with meta", "see `hive plan`")
        newest = max((deploy for deploy in deploys if deploy.id in foreign), key=lambda deploy: deploy.id)
        with effect("adopt"):
            await self._world.meta.adopt(
                agent, newest if running else None, disown=foreign, by=by, at=self._world.now()
            )
        await self._world.events.append("agent_adopted", agent, {"running": running, "ids": sorted(foreign), "by": by})
        self._loop.look_now(agent)

    # helpers
    async def _check(self, agent: AgentName) -> None:
        """Raise NotFound, or Damaged for an agent that is held as it is."""
        await self._deploys.entry(agent)
        await self._deploys.of(agent)

    async def _end_open_ids(self, agent: AgentName, by: str) -> None:
        for deploy in await self._deploys.of(agent):
            if not deploy.state.terminal and deploy.id not in self._world.observer.observe(agent).committed:
                over = TagState.DENIED if deploy.state is TagState.PROPOSAL else TagState.FAILED
                await self._deploys.move(deploy, over, by, "agent destroyed")

    async def _run(
        self, agent: AgentName, verb: str, change: Callable[[RunEntry], RunEntry], by: str, *, fresh: bool = False
    ) -> None:
        await self._deploys.entry(agent)
        if verb != "stop":
            self._world.disk.memory.withdraw_stop(agent)
        with effect("commit-run"):
            await self._world.meta.set_run(agent, change, by=by, at=self._world.now())
        if fresh:
            await self._world.memory.change(
                agent, crashes=0, excused=0, start_after=0.0, rollback_failed=False, rollback_from=None, transient=None
            )
        await self._world.events.append("run_changed", agent, {"asked": verb, "by": by})
        self._loop.interrupt(agent)
        self._loop.look_now(agent)


def _to_running(run: RunEntry) -> RunEntry:
    return replace(run, state=RunState.RUNNING, with_all=False)


def _unsettled(desired: Desired, agent: AgentName, foreign: frozenset[ProposalId]) -> frozenset[ProposalId]:
    """Return the ids that disagree with meta and that no adopt has given up yet."""
    known = desired.agents.get(agent) or desired.tombstones.get(agent)
    return foreign - known.disowned if known is not None else foreign


def _is_gone(desired: Desired, agent: AgentName, deploys: Iterable[Deploy], foreign: frozenset[ProposalId]) -> bool:
    """Return True if a destroy has nothing to change: an earlier one did it, and nothing appeared since."""
    still = any(not deploy.state.terminal for deploy in deploys) or _unsettled(desired, agent, foreign)
    return agent not in desired.agents and agent in desired.tombstones and not still
