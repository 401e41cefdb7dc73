"""The steps that only change what hive remembers of an agent: its crashes, and how its health gates ended."""

from __future__ import annotations

from typing import assert_never

from meta.names import AgentName
from reconciler.apply.effects import effect
from reconciler.apply.last_lines import LastLines
from reconciler.plan import steps
from reconciler.store.events import keys
from reconciler.world import World

MemoStep = steps.CountCrash | steps.MarkHealthy | steps.ForgetCrashes | steps.GiveUpRollback


class MemoSteps:
    """The steps that change an agent's memo and publish the event for that."""

    def __init__(self, world: World, last_lines: LastLines) -> None:
        self._world = world
        self._last_lines = last_lines

    async def __call__(self, agent: AgentName, step: MemoStep) -> None:
        """Do `step` for `agent`."""
        match step:
            case steps.CountCrash():
                await self._count_crash(agent, step)
            case steps.MarkHealthy():
                await self._mark_healthy(agent, step)
            case steps.ForgetCrashes():
                with effect("forget-crashes"):
                    await self._world.memory.change(agent, crashes=0, excused=0, start_after=0.0)
            case steps.GiveUpRollback(reason=reason):
                with effect("give-up-rollback"):
                    await self._world.memory.change(agent, rollback_failed=True)
                facts = {"from": self._world.memory.get(agent).rollback_from, "reason": reason}
                await self._world.events.append("rollback_failed", agent, facts)
            case _:
                assert_never(step)

    async def _count_crash(self, agent: AgentName, step: steps.CountCrash) -> None:
        config, now, ended = self._world.config, self._world.clock(), step.exit
        before = self._world.memory.get(agent)
        crashes = before.crashes + 1
        wait = min(config.crash_backoff_max, config.crash_backoff * 2 ** min(crashes - 1, 30))
        last_lines = await self._last_lines(agent)
        with effect("count-crash"):
            dead = await self._world.broker.fail_turn(agent, ended.nonce)
            # A message is put aside, so the agent is not given up. A second one without a good turn in between does not
            # excuse it again: then it is the agent, and its other messages have to wait.
            excused = crashes if dead and not before.excused else before.excused
            await self._world.memory.change(
                agent,
                crashes=crashes,
                excused=excused,
                last_crash=now,
                start_after=now + wait,
                counted_exit=ended.nonce,
            )
        self._world.metrics.crashed(agent)
        given_up = step.last and excused == before.excused
        facts = {"why": step.why, "crashes": crashes, "restart_in": None if given_up else wait, "log": last_lines}
        facts |= {"code": ended.code, "signal": ended.signal}
        await self._world.events.append("container_crash", agent, facts, key=keys.crashed(agent, ended.nonce))

    async def _mark_healthy(self, agent: AgentName, step: steps.MarkHealthy) -> None:
        before = self._world.memory.get(agent)
        proven = before.proven if step.proves is None else (*before.proven, step.proves)
        with effect("mark-healthy"):
            await self._world.memory.change(
                agent,
                healthy_nonce=step.nonce,
                rollback_from=None,
                rollback_failed=False,
                transient=None,
                proven=proven,
            )
        if before.rollback_from is not None:
            await self._world.events.append("rollback_succeeded", agent, {"from": before.rollback_from})
        await self._world.events.append("agent_healthy", agent, {"crashes": before.crashes})
