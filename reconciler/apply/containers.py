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
from reconciler.plan.observed import Launch
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
                    if not await self._world.links.drain(agent, deadline):
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
        self._world.links.reset(agent)
        with effect("start"):
            await self._backend.start(agent, launch)
        facts = {"generation": generation.id, "sha": generation.sha, "deploy": step.deploy}
        await self._world.events.append("agent_started", agent, facts)
