"""The shell around what is observed: reads git only where a stat says that it changed, everything else at once.

`AgentObserved` and `Deploys` of all agents are made without starting a process as long as nothing changed in the
repos, so that a pass over 1,000 agents with nothing to do is cheap.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.applied.repo import Applied
from meta.desired.repo import MetaRepo, MetaView
from meta.errors import BadInput
from meta.layout import Layout
from meta.model import Deploy, Desired, TagState
from meta.names import AgentName, ProposalId, Sha, agent_name
from meta.proposed.present import Furnished
from reconciler.backends.base import Abilities, Backend
from reconciler.builders.base import Builder
from reconciler.observe.clock import Moments
from reconciler.observe.links import Links
from reconciler.observe.memory import Memory
from reconciler.observe.previews import Previews
from reconciler.plan.observed import AgentObserved, Container, Memo, Observed
from reconciler.ports import Sockets
from reconciler.views import LogPart

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Repo:
    applied: Applied
    stamp: str | None = None
    deploys: tuple[Deploy, ...] = ()
    foreign: frozenset[ProposalId] = frozenset()
    judged_at: str = ""


def _disagrees(deploy: Deploy, view: MetaView) -> bool:
    """Whether the tags say deployed where meta does not, or failed or denied where meta has the commit."""
    if deploy.state is TagState.DEPLOYED:
        return deploy.meta_commit is not None and deploy.meta_commit not in view.history
    ended = deploy.state in (TagState.FAILED, TagState.DENIED)
    return ended and deploy.id in view.committed.get(deploy.agent, {})


def _unremembered(container: Container, deploys: Iterable[Deploy]) -> Memo:
    """Without a memory, what runs is taken for proven, and what was asked for as done."""
    launch = container.launch
    proven = tuple(deploy.id for deploy in deploys) if container.running else ()
    return Memo(healthy_nonce=launch.nonce if launch else None, rebuilt=sys.maxsize, proven=proven)


def _names(folder: Path) -> set[AgentName]:
    """The agents that have a repo; what else lies there is none of hive's."""
    found = set()
    for entry in os.scandir(folder) if folder.is_dir() else ():
        try:
            found.add(agent_name(entry.name))
        except BadInput:
            log.warning("%s is no agent's repo; passed over", entry.path)
    return found


class Observer:
    """Reads the world. `refresh` is async and may run git; `observe` is pure reading of what is at hand.

    Without a `memory` (no daemon) nothing is remembered. `previews` is None if the builder cannot preview.
    """

    def __init__(
        self,
        layout: Layout,
        meta: MetaRepo,
        applied: Callable[[AgentName], Applied],
        backend: Backend,
        builder: Builder,
        links: Links,
        sockets: Sockets,
        memory: Memory | None,
        *,
        since: float,
        previews: Previews | None = None,
        given_away: bool = False,
    ) -> None:
        self._layout = layout
        self._meta = meta
        self._applied = applied
        self._backend = backend
        self._builder = builder
        self._links = links
        self._sockets = sockets
        self._memory = memory
        self._since = since
        self._moments = Moments()
        self._moments.told("daemon", "", since)
        self._furnished = Furnished(layout, given_away=given_away)
        self._previews = previews
        self._repos: dict[AgentName, _Repo] = {}
        self._view: MetaView | None = None
        self.revision = ""
        """The hive that a build would record now."""
        self._revision_of: Sha | None = None

    async def desired(self) -> Desired:
        """Meta as it is now; read again only when its refs moved."""
        self._view = await self._meta.read()
        head = self._view.desired.head
        if self._revision_of != head:
            self.revision = await self._builder.revision(head)
            self._revision_of = head
        return self._view.desired

    def known(self) -> Desired:
        """Meta as `desired` saw it last."""
        return self._meta_view().desired

    @property
    def backend_name(self) -> str:
        """Which backend runs the containers."""
        return self._backend.name

    @property
    def builder_name(self) -> str:
        """Which builder makes the generations."""
        return self._builder.name

    def abilities(self) -> Abilities:
        """What the backend enforces on this host."""
        return self._backend.abilities()

    def names(self) -> frozenset[AgentName]:
        """Every agent that anything knows: meta, the applied repos on disk, the backend."""
        view = self._meta_view()
        on_disk = _names(self._layout.state / "applied")
        tombs = {name for name, tomb in view.desired.tombstones.items() if tomb.purge}
        return frozenset({*view.desired.agents, *on_disk, *self._backend.names(), *tombs})

    async def refresh(self, agent: AgentName) -> tuple[Deploy, ...]:
        """The agent's deploys; its tags are read again only when a ref changed."""
        repo = self._repo(agent)
        stamp = repo.applied.stamp()
        if stamp != repo.stamp:
            repo.deploys = await repo.applied.deploys() if stamp is not None else ()
            repo.stamp = stamp
            repo.judged_at = ""
        view = self._meta_view()
        if repo.judged_at != view.desired.head:
            repo.foreign = frozenset(deploy.id for deploy in repo.deploys if _disagrees(deploy, view))
            repo.judged_at = view.desired.head
        return repo.deploys

    def stamp(self, agent: AgentName) -> str | None:
        """Which state of the tags `refresh` saw last, and which of the ids were proven since."""
        stamp = self._repo(agent).stamp
        proven = self._memory.get(agent).proven if self._memory is not None else ()
        return f"{stamp} proven {' '.join(map(str, proven))}" if stamp is not None and proven else stamp

    def observe(self, agent: AgentName) -> AgentObserved:
        """Everything about one agent. Call `desired` and `refresh` first."""
        repo, view = self._repo(agent), self._meta_view()
        container = self._moments.container(agent, self._backend.observe(agent))
        return AgentObserved(
            container=container,
            link=self._moments.link(agent, self._links.view(agent)),
            memo=self._memory.get(agent) if self._memory else _unremembered(container, repo.deploys),
            sockets=self._sockets.present(agent),
            proposed=self._furnished(agent),
            built=self._builder.built(agent),
            candidates=view.candidates.get(agent, {}),
            committed=view.committed.get(agent, {}),
            foreign=repo.foreign,
            projected=self._memory is None or self._memory.projected(agent) == self.stamp(agent),
            previewing=self._previews.running.get(agent) if self._previews is not None else None,
            previewed=self._previews.settled(agent, time.time()) if self._previews is not None else None,
        )

    async def everything(self) -> tuple[Desired, Observed, Mapping[AgentName, tuple[Deploy, ...]]]:
        """Desired, observed and deploys of all agents: one pass."""
        desired = await self.desired()
        names = self.names()
        deploys = {name: await self.refresh(name) for name in names}
        agents = {name: self.observe(name) for name in names}
        return desired, Observed(agents, self._moments.told("daemon", "", self._since), self.revision), deploys

    async def one(self, agent: AgentName) -> tuple[Desired, Observed, Mapping[AgentName, tuple[Deploy, ...]]]:
        """The same for a single agent; its cost does not grow with the number of agents."""
        desired = await self.desired()
        deploys = {agent: await self.refresh(agent)}
        since = self._moments.told("daemon", "", self._since)
        return desired, Observed({agent: self.observe(agent)}, since, self.revision), deploys

    async def logs(self, agent: AgentName, lines: int) -> str:
        """The last lines that the container wrote."""
        return await self._backend.logs(agent, lines)

    async def logs_after(self, agent: AgentName, cursor: str | None, lines: int, since: float | None) -> LogPart:
        """What it wrote after `cursor`."""
        return await self._backend.logs_after(agent, cursor, lines, since)

    def forget(self, agent: AgentName) -> None:
        """A purged agent: its repo is gone."""
        self._repos.pop(agent, None)
        self._moments.forget(agent)

    def _repo(self, agent: AgentName) -> _Repo:
        if agent not in self._repos:
            self._repos[agent] = _Repo(self._applied(agent))
        return self._repos[agent]

    def _meta_view(self) -> MetaView:
        if self._view is None:
            raise RuntimeError("desired() was not awaited yet")
        return self._view
