"""The steps that remove an agent: destroy (its container and sockets) and purge (everything that it had)."""

from __future__ import annotations

from typing import assert_never

from meta.names import HIVE, AgentName
from meta.process.failpoint import operation
from meta.proposed import push_move
from reconciler.apply.effects import effect
from reconciler.backends.base import Backend
from reconciler.builders.base import Builder
from reconciler.common.removed import Removed
from reconciler.common.trees import remove_tree
from reconciler.plan import steps
from reconciler.plan.observed import Transient
from reconciler.world import World

RemovalStep = steps.Destroy | steps.Purge


class RemovalSteps:
    """The steps that remove an agent."""

    def __init__(self, world: World, backend: Backend, builder: Builder) -> None:
        self._world = world
        self._backend = backend
        self._builder = builder
        self._removed = Removed(world.layout)

    async def __call__(self, agent: AgentName, step: RemovalStep) -> None:
        """Do `step` for `agent`."""
        match step:
            case steps.Destroy():
                await self._destroy(agent)
            case steps.Purge():
                await self._purge(agent)
            case _:
                assert_never(step)

    async def _destroy(self, agent: AgentName) -> None:
        world = self._world
        await world.forget(agent)
        with effect("destroy"):
            if self._backend.observe(agent).exists:  # from here on the event is due, even if hive dies before it
                await world.memory.change(agent, transient=Transient.DESTROYING)
            await self._backend.destroy(agent)
        with effect("close-sockets"):
            await world.sockets.close(agent)
        with effect("forget-memo"):
            destroyed = world.memory.get(agent).transient == Transient.DESTROYING
            await world.memory.forget(agent, ("agent_destroyed", world.clock()) if destroyed else None)
            world.links.forget(agent)

    async def _purge(self, agent: AgentName) -> None:
        """Begin with the applied repo, in one rename: without it nothing of the agent can be rolled forward."""
        world, layout = self._world, self._world.layout
        with effect("purge-directories"):
            if world.gives_through_helper:
                await self._backend.remove_directories(agent)
            for directory in (layout.applied(agent), layout.proposed(agent), layout.agent(agent)):
                await self._removed.take(directory)
                operation(directory.parent.name)
            for directory in (layout.generations(agent), layout.roots(agent), layout.previews(agent)):
                await self._removed.take(directory)
                operation(directory.parent.name)
            await self._removed.take(layout.push_repo(agent))
            operation("push")
            for path in push_move.aside(layout, agent):
                if path.is_dir() and not path.is_symlink():
                    await remove_tree(path, inside=layout.push_repos)
                else:  # an agent may have put anything where an older hive had its push repo
                    path.unlink(missing_ok=True)
            await self._builder.forget(agent)
            if world.previews is not None:
                world.previews.forget(agent)
        with effect("forget-records"):
            await world.cards.forget(agent)
            operation("cards")
            await world.forget(agent)
            await world.broker.forget(agent)
            for on_purge in world.on_purge:
                await on_purge(agent)
            for id in (await world.meta.read()).candidates.get(agent, {}):
                await world.meta.drop_candidate(agent, id)
            world.memory.note_projected(agent, None)
            world.observer.forget(agent)
        with effect("forget-tombstone"):
            await world.meta.forget_tombstone(agent, by=HIVE, at=world.now())
        with effect("empty-removed"):
            await self._removed.empty()
