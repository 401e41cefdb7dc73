"""The steps on a container that exists: drain, stop, switch, start."""

from __future__ import annotations

import logging
import secrets
from typing import assert_never

from meta.errors import DiskFull, TransientError
from meta.names import AgentName
from reconciler.apply.effects import effect
from reconciler.backends.base import Backend
from reconciler.builders.base import Builder
from reconciler.plan import steps
from reconciler.plan.observed import Launch, Transient
from reconciler.store.events import keys
from reconciler.world import World

log = logging.getLogger(__name__)

ContainerStep = steps.Drain | steps.Stop | steps.Switch | steps.Start


class ContainerSteps:
    """The steps on a container that exists: stop it, set what it starts next, start it."""

    def __init__(self, world: World, backend: Backend, builder: Builder) -> None:
        self._world = world
        self._backend = backend
        self._builder = builder

    async def __call__(self, agent: AgentName, step: ContainerStep) -> None:
        """Do `step` for `agent`."""
        match step:
            case steps.Drain(deadline=deadline):
                with effect("drain"):
                    if not await self._world.drains.drain(agent, deadline):
                        log.warning("%s did not end its turn within %g s", agent, deadline)
            case steps.Stop():
                await self._stop(agent, step)
            case steps.Switch(generation=generation, settings=settings):
                with effect("set-system"):
                    await self._backend.set_system(agent, generation)
                with effect("write-settings"):
                    await self._backend.write_settings(agent, settings)
            case steps.Start():
                await self._start(agent, step)
            case _:
                assert_never(step)

    async def _stop(self, agent: AgentName, step: steps.Stop) -> None:
        transient, nonce = step.transient, step.nonce
        if transient == Transient.STUCK and await self._turn_cancelled(agent, step.turn):
            return
        turn = self._world.links.view(agent).turn
        if turn is not None and turn.in_turn:
            self._world.metrics.turn_killed(agent)
            await self._append_if_room("turn_killed", agent, {"turn": str(turn), "transient": transient})
        with effect("remember-stop"):
            await self._world.memory.change_at_once(agent, transient=transient, expected_exit=nonce)
        with effect("stop"):
            await self._backend.stop(agent, self._world.config.stop_grace)
        key = keys.stopped(agent, nonce, transient)
        await self._append_if_room("agent_stopped", agent, {"transient": transient}, key)
        if transient == Transient.STUCK:
            await self._world.broker.fail_turn(agent, nonce)

    async def _turn_cancelled(self, agent: AgentName, number: int | None) -> bool:
        """Ask the harness to end a turn over its limit. Return False if the agent has to be stopped for that."""
        world, view = self._world, self._world.links.view(agent)
        if view.turn is not None and view.turn_number != number:
            return True  # it ended since the plan was made: another one runs
        began = view.turn_since
        cancelled = await world.drains.cancel_turn(agent, world.config.turn_grace, number)
        world.metrics.turn_stuck(agent)
        seconds = round(world.clock() - began) if began is not None else None
        await self._append_if_room("turn_stuck", agent, {"seconds": seconds, "stops": not cancelled})
        return cancelled

    async def _append_if_room(
        self, kind: str, agent: AgentName, facts: dict[str, object], key: keys.Key | None = None
    ) -> None:
        """Append an event. On a full disk only log it: a stop must not wait for room."""
        try:
            await self._world.events.append(kind, agent, facts, key=key)
        except DiskFull as error:
            log.warning("%s: the event %s has no room: %s", agent, kind, error.summary)

    async def _start(self, agent: AgentName, step: steps.Start) -> None:
        generation = step.generation
        if not await self._builder.intact(generation):
            raise TransientError(
                f"the files of generation {generation.id} are damaged", "the next pass builds it again"
            )
        launch = Launch(
            generation=generation.id,
            fingerprint=generation.fingerprint,
            nonce=secrets.token_hex(8),
            at=self._world.clock(),
            deploy=step.deploy,
            restarts=step.restarts,
            rebuilds=step.rebuilds,
        )
        await self._settle_messages(agent)
        for on_start in self._world.on_start:
            await on_start(agent)
        for on_launch in self._world.on_launch:
            await on_launch(agent, launch)
        self._world.links.reset(agent)
        with effect("start"):
            await self._backend.start(agent, launch)
        facts = {"generation": generation.id, "sha": generation.sha, "deploy": step.deploy}
        await self._world.events.append("agent_started", agent, facts)

    async def _settle_messages(self, agent: AgentName) -> None:
        """Count a failed turn for what was in flight to a former launch that ended by itself or in a stuck turn.

        A crash that is counted does so at once, and so does the stop of a stuck agent. Here it is done for a crash in a
        health gate, which fails a deploy instead, and for a stop after which the daemon died.
        """
        ended, memo = self._backend.observe(agent).exit, self._world.memory.get(agent)
        if ended is None or ended.lost:
            return
        if ended.nonce == memo.expected_exit and memo.transient != Transient.STUCK:
            return
        await self._world.broker.fail_turn(agent, ended.nonce)
