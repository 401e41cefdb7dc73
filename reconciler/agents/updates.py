"""Rebuilds of all agents, wave by wave. Each look requests the rebuilds of the next wave.

If a daemon dies, the next one continues its rollout. It requests each rebuild that was recorded and not yet requested.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable

from meta.errors import Conflict, HiveError, NotFound
from meta.names import HIVE, AgentName
from reconciler.agents.rollout_file import RolloutFile
from reconciler.apply.effects import effect
from reconciler.loop.loop import Reconciler
from reconciler.plan import rollout, steps
from reconciler.plan.observed import AgentObserved, LinkView
from reconciler.plan.rollout import PATIENCE, Rollout, Seen
from reconciler.store.events import keys
from reconciler.world import World

log = logging.getLogger(__name__)

Rebuild = Callable[[AgentName, str, bool], Awaitable[None]]
"""Requests one agent's rebuild. Arguments: agent, by, now."""


class Updates:
    """The rollouts of one daemon."""

    def __init__(self, world: World, loop: Reconciler, rebuild: Rebuild, file: RolloutFile) -> None:
        self._world = world
        self._loop = loop
        self._rebuild = rebuild
        self._file = file
        self._lock = asyncio.Lock()
        self._turned = asyncio.Event()
        loop.on_turn(self._turned.set)

    async def begin(self, by: str, *, now: bool, only_outdated: bool) -> Rollout:
        """Begin a rollout for the operator.

        Raise Conflict while another operator's rollout is under way. An automatic one is replaced.
        """
        async with self._lock:
            under_way = self._file.current
            if under_way is not None and not under_way.over and under_way.by != HIVE:
                raise Conflict(f"agents are being rebuilt already: {under_way.describe()}", "see `hive status`")
            seen = await self._see(None)
            rollout = self._begin(seen, by, now=now, idle=False, only_outdated=only_outdated)
            if not rollout.waiting and only_outdated:
                raise NotFound(
                    f"no agent is outdated: all were built with hive {rollout.revision}",
                    "without --stale all are rebuilt",
                )
            await self._announce(rollout)
        self._turned.set()
        return rollout

    async def run(self) -> None:
        """Continue the rollout whenever an agent has nothing to do. Look for outdated agents every `resync` seconds."""
        due = True
        while True:
            self._turned.clear()
            try:
                await self.look(automatic=due)
            except HiveError as error:
                log.warning("the rollout waits: %s", error.summary)
            try:
                async with asyncio.timeout(self._world.config.resync):
                    await self._turned.wait()
                due = False
            except TimeoutError:
                due = True

    async def look(self, *, automatic: bool) -> None:
        """Continue the rollout that is under way.

        With `automatic` also begin the one that HIVE_AUTO_UPDATE asks for.
        """
        async with self._lock:
            mode = self._world.config.auto_update
            if automatic and mode != "off" and not rollout.under_way(self._file.current, self._revision):
                seen = await self._see(None)
                if rollout.wanted(self._file.current, seen, self._revision, mode):
                    idle = mode == "idle"
                    await self._announce(self._begin(seen, HIVE, now=False, idle=idle, only_outdated=True))
            if self._file.current is not None and not self._file.current.over:
                await self._go_on(self._file.current)

    async def _go_on(self, before: Rollout) -> None:
        seen = await self._see(before.begun)
        after = rollout.judge(before, seen)
        if not after.begun and not after.over:
            seen = await self._see(after.waiting)
            after = rollout.next_wave(after, seen, self._world.config.rebuild_wave, self._world.now())
        if after != before:
            with effect("begin-wave"):
                await self._file.keep(after)
        if after.over:
            await self._end(after)
            return
        for name, target in after.begun.items():
            if name in seen and seen[name].rebuilds < target:
                await self._rebuild(name, after.by, after.now)

    def _begin(self, seen: dict[AgentName, Seen], by: str, *, now: bool, idle: bool, only_outdated: bool) -> Rollout:
        return rollout.begin(
            seen,
            id=secrets.token_hex(8),
            by=by,
            at=self._world.now(),
            revision=self._revision,
            now=now,
            idle=idle,
            only_outdated=only_outdated,
        )

    async def _announce(self, rollout: Rollout) -> None:
        with effect("write-rollout"):
            await self._file.keep(rollout)
        facts = {
            "by": rollout.by,
            "agents": list(rollout.waiting),
            "left_out": list(rollout.left_out),
            "now": rollout.now,
        }
        await self._world.events.append("rebuild_all_started", None, facts, key=keys.rollout_started(rollout.id))

    async def _end(self, over: Rollout) -> None:
        log.info("the rollout is over: %s", over.describe())
        facts = {"by": over.by, "done": list(over.done), "left": list(over.waiting), "failed": over.failed}
        await self._world.events.append(
            "rebuild_all_ended", None, {**facts, "reason": over.reason}, key=keys.rollout_ended(over.id)
        )

    @property
    def _revision(self) -> str:
        return self._world.observer.revision

    async def _see(self, only: Iterable[AgentName] | None) -> dict[AgentName, Seen]:
        agents = (await self._world.observer.desired()).agents
        return {name: await self._one(name) for name in (agents if only is None else only) if name in agents}

    async def _one(self, agent: AgentName) -> Seen:
        decision, observed = await self._loop.decide(agent)
        seen = observed.agents.get(agent) or AgentObserved()
        often = self._loop.queue.failures(agent) >= PATIENCE
        return Seen(
            phase=decision.phase,
            rests=isinstance(decision.step, steps.Nothing | steps.Preview),
            rebuilds=self._world.observer.known().run_of(agent).rebuilds,
            rebuilt=seen.memo.rebuilt,
            crashes=seen.memo.crashes,
            between_turns=not seen.container.running or _between_turns(seen.link),
            outdated=decision.outdated is not None,
            built_with=decision.outdated.built if decision.outdated is not None else "",
            launched=seen.container.launch.rebuilds if seen.container.launch is not None else 0,
            trouble=self._loop.trouble.get(agent) if often else None,
        )


def _between_turns(link: LinkView) -> bool:
    """Return True if a stop would interrupt no turn.

    A harness that is not connected may be in a turn. A harness that never reports its turns may be stopped at any time.
    """
    return not link.turn.in_turn if link.turn is not None else link.legacy_at is not None
