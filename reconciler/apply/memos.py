"""The steps that change nothing but what is remembered of an agent: crashes, and how its health gates ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from meta.names import AgentName
from reconciler.apply.effects import effect
from reconciler.plan import steps
from reconciler.store.events import keys
from reconciler.world import World

Remembered = steps.CountCrash | steps.MarkHealthy | steps.ForgetCrashes | steps.GiveUpRollback


class Remembering:
    """Carries them out. `last_lines` gives what an agent's container wrote last, scrubbed."""

    def __init__(self, world: World, last_lines: Callable[[AgentName], Awaitable[str]]) -> None:
        self._w = world
        self._last_lines = last_lines

    async def __call__(self, agent: AgentName, step: Remembered) -> None:
        """Do `step` and tell it."""
        memory, events = self._w.memory, self._w.events
        match step:
            case steps.CountCrash():
                await self._count(agent, step)
            case steps.MarkHealthy():
                await self._healthy(agent, step)
            case steps.ForgetCrashes():
                with effect("forget-crashes"):
                    await memory.change(agent, crashes=0, start_after=0.0)
            case steps.GiveUpRollback(reason=reason):
                with effect("give-up-rollback"):
                    await memory.change(agent, rollback_failed=True)
                facts = {"from": memory.get(agent).rollback_from, "reason": reason}
                await events.append("rollback_failed", agent, facts)
            case _:
                assert_never(step)

    async def _count(self, agent: AgentName, step: steps.CountCrash) -> None:
        config, now, ended = self._w.config, self._w.clock(), step.exit
        crashes = self._w.memory.get(agent).crashes + 1
        wait = min(config.crash_backoff_max, config.crash_backoff * 2 ** min(crashes - 1, 30))
        tail = await self._last_lines(agent)
        with effect("count-crash"):
            await self._w.memory.change(
                agent, crashes=crashes, last_crash=now, start_after=now + wait, counted_exit=ended.nonce
            )
        self._w.metrics.crashed(agent)
        facts = {"why": step.why, "crashes": crashes, "restart_in": None if step.last else wait, "log": tail}
        facts |= {"code": ended.code, "signal": ended.signal}
        await self._w.events.append("container_crash", agent, facts, key=keys.crashed(agent, ended.nonce))

    async def _healthy(self, agent: AgentName, step: steps.MarkHealthy) -> None:
        before = self._w.memory.get(agent)
        proven = before.proven if step.proves is None else (*before.proven, step.proves)
        with effect("mark-healthy"):
            await self._w.memory.change(
                agent,
                healthy_nonce=step.nonce,
                rollback_from=None,
                rollback_failed=False,
                transient=None,
                proven=proven,
            )
        if before.rollback_from is not None:
            await self._w.events.append("rollback_succeeded", agent, {"from": before.rollback_from})
        await self._w.events.append("agent_healthy", agent, {"crashes": before.crashes})
