"""The steps of a migration, carried out. Each may be repeated; a kill between two leaves what the next start reads."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from meta.applied import conversion, older
from meta.applied.older import Reason
from meta.applied.repo import SEED, SEED_ID, Applied
from meta.config import Config
from meta.desired.changes import Entering
from meta.desired.repo import MetaRepo
from meta.errors import HiveError, PermanentError
from meta.git.every_ref import every_ref
from meta.git.transaction import RefChange
from meta.layout import Layout
from meta.model import ContainerSettings, Pin, Role
from meta.names import HIVE, MANAGER, AgentName
from meta.own_file import sync_folder
from meta.process.disk import disk_error
from meta.process.failpoint import hit
from meta.process.recorder import Recorder
from meta.proposed import work_tree
from reconciler.upkeep.migration import plan
from reconciler.upkeep.migration.look import older_config, older_login

log = logging.getLogger(__name__)

WAITS = "hive gives it to the manager once that is spawned"
"""The remedy of an agent that only waits for the manager's uid."""

Adopt = Callable[[AgentName, ContainerSettings], None]
"""Notes a container of the older hive as this hive's."""


@dataclass(slots=True)
class Acts:
    """The acts on one state directory. `left`: the agents that an act failed for; the others go on."""

    layout: Layout
    config: Config
    meta: MetaRepo
    recorder: Recorder | None
    at: int
    adopt: Adopt
    harness_uid: int = 0
    left: dict[AgentName, Reason] = field(default_factory=dict)

    async def carry_out(self, steps: tuple[plan.Step, ...]) -> None:
        """Carry out the steps in order. Those of one kind that are one act are done together."""
        for kind in dict.fromkeys(type(step) for step in steps):
            agents = [step.agent for step in steps if type(step) is kind and step.agent not in self.left]
            name = kind.__name__.lower()
            if agents:
                log.info("migration: %s, %d: %s", name, len(agents), ", ".join(agents))
                hit(f"migrate-{name}:before")
                await self._of_kind(kind, name, agents)
                hit(f"migrate-{name}:after")

    async def _of_kind(self, kind: type[plan.Step], name: str, agents: list[AgentName]) -> None:
        if kind is plan.Convert:
            slots = asyncio.Semaphore(os.cpu_count() or 1)
            await asyncio.gather(*(self._convert(agent, slots) for agent in agents))
        elif kind is plan.Enter:
            await self._together(agents, self._enter)
        elif kind is plan.AddRemote:
            await self._together(agents, self._add_remotes)
        elif kind is plan.Mark:
            for agent in agents:
                await self._guarded(agent, self._mark(agent))
        else:
            desired = (await self.meta.read()).desired
            settings = {agent: entry.settings for agent, entry in desired.agents.items()}
            for number, agent in enumerate(agents):
                if number:
                    hit(f"migrate-{name}:between")
                await self._guarded(agent, asyncio.to_thread(self._files, kind, agent, settings))

    async def _convert(self, agent: AgentName, slots: asyncio.Semaphore) -> None:
        async with slots:
            await self._guarded(agent, conversion.convert(self.layout, agent, self.config, self.recorder, self.at))
        if agent not in self.left:
            log.info("migration: the repo of %s is converted", agent)

    def _files(self, kind: type[plan.Step], agent: AgentName, settings: dict[AgentName, ContainerSettings]) -> None:
        """Carry out a step that only renames or gives files."""
        layout, own = self.layout, settings.get(agent)
        if kind is plan.Restore:
            conversion.put_back(layout.applied(agent))
        elif kind is plan.Tidy:
            conversion.tidy(layout.applied(agent))
        elif kind is plan.MoveTree:
            work_tree.take_over(layout, agent, older_config(layout, agent))
        elif kind is plan.MoveLogin:
            _move_login(layout, agent)
        elif own is not None and kind is plan.Adopt:
            self.adopt(agent, own)
        elif own is not None and kind is plan.Give:
            self._give(agent, own, settings.get(MANAGER))

    async def _enter(self, agents: list[AgentName]) -> None:
        entering = {}
        for agent in agents:
            git_dir = self.layout.applied_git(agent)
            refs = await asyncio.to_thread(every_ref, git_dir)
            role = Role.MANAGER if agent == MANAGER else Role.AGENT
            entering[agent] = Entering(Pin(SEED_ID, refs[SEED]), role, older.ids(refs))
        await self.meta.enter(entering, by=HIVE, at=self.at)

    async def _add_remotes(self, agents: list[AgentName]) -> None:
        for agent in await work_tree.add_remotes(self.layout, agents, self.recorder):
            tree = self.layout.proposed_config(agent)
            log.warning(
                "%s: git cannot set the remote `applied` in %s; `hive rebuild %s` tries again", agent, tree, agent
            )

    def _give(self, agent: AgentName, own: ContainerSettings, manager: ContainerSettings | None) -> None:
        for folder in (self.layout.agent_state(agent), self.layout.agent_home(agent)):
            _give_tree(folder, own.uid_base + self.harness_uid)
        if not work_tree.present(self.layout, agent):
            return
        if manager is None:
            raise PermanentError(
                f"{self.layout.proposed_config(agent)} stays hive's: there is no manager yet to give it to",
                WAITS,
            )
        _give_tree(self.layout.proposed_config(agent), manager.uid_base + self.harness_uid)

    async def _mark(self, agent: AgentName) -> None:
        repo = Applied(self.layout, agent, deadline=self.config.git_deadline).repo
        seed = repo.ref(SEED)
        if seed is not None:
            await repo.transaction([RefChange(older.MARKER, new=seed)])

    async def _together(self, agents: list[AgentName], act: Callable[[list[AgentName]], Awaitable[None]]) -> None:
        """Carry out one act for all of `agents`. If it fails, all of them stay unfinished until the next start."""
        try:
            await act(agents)
        except HiveError as error:
            for agent in agents:
                self._leave(agent, error)

    async def _guarded(self, agent: AgentName, act: Awaitable[None]) -> None:
        try:
            await act
        except HiveError as error:
            self._leave(agent, error)
        except OSError as error:
            self._leave(agent, disk_error(f"cannot migrate {agent}", error))

    def _leave(self, agent: AgentName, error: HiveError) -> None:
        log.error("migration: %s is left: %s (%s)", agent, error.summary, error.hint)
        self.left[agent] = Reason(error.summary, error.hint or older.REMEDY)


def _move_login(layout: Layout, agent: AgentName) -> None:
    """Rename `claude` to `home/.claude`. The home may be the agent's, so no link in its place is followed."""
    home = layout.agent_home(agent)
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.rename(older_login(layout, agent), ".claude", dst_dir_fd=descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(home.parent)
    except OSError as error:
        raise disk_error(f"cannot move the login of {agent}", error) from error


def _give_tree(top: Path, uid: int) -> None:
    """Do `chown -R` without following a link. Do nothing if the tree is missing: an agent may never have logged in."""
    if not os.path.lexists(top):
        return
    try:
        for _, folders, files, descriptor in os.fwalk(top, follow_symlinks=False):
            for name in _others((*folders, *files), descriptor, uid):
                os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)
            if os.fstat(descriptor).st_uid != uid:
                os.fchown(descriptor, uid, uid)
    except OSError as error:
        raise disk_error(f"cannot give {top} to uid {uid}", error) from error


def _others(names: Iterable[str], descriptor: int, uid: int) -> list[str]:
    return [name for name in names if os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_uid != uid]
