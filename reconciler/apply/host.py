"""The steps on an agent's place on the host: its container, directories, work tree and sockets."""

from __future__ import annotations

from typing import assert_never

from meta.errors import HiveError, TransientError
from meta.model import ContainerSettings
from meta.names import HIVE, MANAGER, AgentName
from meta.process.failpoint import operation
from meta.proposed import push_repo, work_tree
from reconciler.apply.effects import effect
from reconciler.backends.base import Backend
from reconciler.builders.base import Builder, BuildRequest
from reconciler.plan import steps
from reconciler.store.events import keys
from reconciler.world import World

HostStep = steps.Create | steps.MakeDirectories | steps.OpenSockets | steps.Reapply


class HostSteps:
    """The steps that prepare the host for an agent before its container can start, and again for a rebuild."""

    def __init__(self, world: World, backend: Backend, builder: Builder) -> None:
        self._world = world
        self._backend = backend
        self._builder = builder

    async def __call__(self, agent: AgentName, step: HostStep) -> None:
        """Do `step` for `agent`."""
        match step:
            case steps.Create(settings=settings):
                with effect("create"):
                    await self._backend.create(agent, settings)
            case steps.MakeDirectories(settings=settings):
                await self._make_directories(agent, settings)
            case steps.OpenSockets(settings=settings):
                with effect("open-sockets"):
                    await self._open_sockets(agent, settings)
            case steps.Reapply():
                await self._rebuild(agent, step)
            case _:
                assert_never(step)

    async def _make_directories(self, agent: AgentName, settings: ContainerSettings) -> None:
        world = self._world
        with effect("own-directories"):
            await self._backend.own_directories(agent, settings)
        with effect("proposed"):
            manager = await self._manager_settings(agent, settings)
            repo, uid = world.layout.applied_git(agent), self._owner_of_proposed(manager)
            await work_tree.create(world.layout, agent, repo, uid, world.recorder)
            operation("work-tree")
            push_repo.create(world.layout, agent, world.config)
            if world.gives_through_helper:
                await self._backend.own_proposed(agent, manager)

    async def _open_sockets(self, agent: AgentName, settings: ContainerSettings) -> None:
        await self._world.sockets.open(agent, self._world.uid(settings), self._world.peers(settings))

    async def _manager_settings(self, agent: AgentName, settings: ContainerSettings) -> ContainerSettings:
        """Return the manager's settings. Its first spawn precedes them in meta; `settings` are used then."""
        manager = (await self._world.meta.read()).desired.agents.get(MANAGER)
        return settings if manager is None or agent == MANAGER else manager.settings

    def _owner_of_proposed(self, manager: ContainerSettings) -> int | None:
        """Return the uid that owns proposed work trees: the uid of the manager's harness."""
        first = self._world.uid(manager)
        return first + self._backend.harness_uid if first is not None else None

    async def _rebuild(self, agent: AgentName, step: steps.Reapply) -> None:
        try:
            await self._reapply(agent, step)
        except HiveError as error:
            key = keys.rebuild_failed(agent, step.rebuilds)
            await self._world.events.append("agent_rebuild_failed", agent, {"error": error.summary}, key=key)
            raise
        await self._world.events.append("agent_rebuilt", agent, {"id": step.id}, key=keys.rebuilt(agent, step.rebuilds))
        with effect("remember-rebuild"):
            await self._world.memory.change(agent, rebuilt=step.rebuilds)

    async def _reapply(self, agent: AgentName, step: steps.Reapply) -> None:
        settings, layout = step.settings, self._world.layout
        with effect("reapply"):
            await self._backend.create(agent, settings)
            await self._backend.own_directories(agent, settings)
            await self._backend.write_settings(agent, settings)
            await self._open_sockets(agent, settings)
            owner = self._owner_of_proposed(await self._manager_settings(agent, settings))
            await work_tree.wire_remote(layout, agent, owner, recorder=self._world.recorder)
        with effect("rebuild"):
            await self._build(agent, step)

    async def _build(self, agent: AgentName, step: steps.Reapply) -> None:
        """Build what is pinned on the shared inputs that are configured now, and record these.

        If they are others than before, the previews of the agent are made again: they compare with what ran.
        """
        world, head = self._world, step.candidate
        if self._builder.previews:
            await world.meta.settle(world.now())
            desired = (await world.meta.read()).desired
            entry, head = desired.agents.get(agent), desired.head
            if entry is None or entry.pin.id != step.id:
                raise TransientError(f"meta does not pin {step.id} any more", "hive looks again")
        async with world.builds:
            built = await self._builder.build(BuildRequest(agent, step.id, step.sha, step.settings, head))
        if world.previews is None:
            return
        if await world.meta.note_rebuild(agent, step.id, generation=built.id, by=HIVE, at=world.now()):
            for id in world.previews.of(agent):
                world.previews.drop(agent, id)
