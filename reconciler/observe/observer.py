"""The observer: reads the state of the host. It reads git only if a stat shows a change, and everything else directly.

If no repo changed, a pass over all agents starts no process. So a pass over 1,000 agents without work costs little.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meta.applied.repo import Applied
from meta.desired.repo import MetaRepo, MetaView
from meta.errors import BadInput, Damaged
from meta.git.files import unreadable
from meta.layout import Layout
from meta.model import Deploy, Desired
from meta.names import AgentName, ProposalId, Sha, agent_name
from meta.proposed.present import ProposedRepos
from reconciler.backends.base import Abilities, Backend
from reconciler.builders.base import Builder
from reconciler.observe.clock import Moments
from reconciler.observe.disk import DiskMemory
from reconciler.observe.links import Links
from reconciler.observe.memory import Memory
from reconciler.observe.previews import Previews
from reconciler.observe.roster import Roster
from reconciler.plan.contradiction import contradicts_meta
from reconciler.plan.observed import AgentObserved, Container, Held, Memo, Observed
from reconciler.plan.revisions import revision_of
from reconciler.ports import Sockets
from reconciler.views import LogPart

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Repo:
    applied: Applied
    stamp: str | None = None
    deploys: tuple[Deploy, ...] = ()
    foreign: frozenset[ProposalId] = frozenset()
    checked_at: str = ""
    damage: Damaged | None = None


def _memo_without_memory(container: Container, deploys: Iterable[Deploy]) -> Memo:
    """Return a memo for an observer without memory: what runs counts as proven, and every rebuild as done."""
    launch = container.launch
    proven = tuple(deploy.id for deploy in deploys) if container.running else ()
    return Memo(healthy_nonce=launch.nonce if launch else None, rebuilt=sys.maxsize, proven=proven)


def _names(folder: Path, skipped: set[str]) -> set[AgentName]:
    """Return the agents that have a repo in `folder`. Note other entries in `skipped`, and warn of each once."""
    names: set[AgentName] = set()
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return names
    except OSError as error:
        raise unreadable(folder, error) from error
    for entry in entries:
        try:
            names.add(agent_name(entry.name))
        except BadInput:
            if entry.name not in skipped:
                skipped.add(entry.name)
                log.warning("%s is not an agent's repo and is skipped", entry.path)
    return names


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of an observer. Without a daemon there is no `memory`, no `turn_limit` and no `roster`.

    `turn_limit` returns the seconds that one turn of an agent may take; None if that cannot be read now. `roster` notes
    which agents are being spawned.
    """

    layout: Layout
    meta: MetaRepo
    applied: Callable[[AgentName], Applied]
    backend: Backend
    builder: Builder
    links: Links
    sockets: Sockets
    memory: Memory | None = None
    disk: DiskMemory = field(default_factory=DiskMemory)
    turn_limit: Callable[[AgentName], Awaitable[float | None]] | None = None
    roster: Roster | None = None


class Observer:
    """Observes all agents. `refresh` is async and may run git; `observe` only reads what is in memory and stats files.

    `since` is the time when the daemon began to observe. `given_away`: proposed work trees belong to another uid.
    """

    def __init__(
        self, sources: Sources, *, since: float, previews: Previews | None = None, given_away: bool = False
    ) -> None:
        self._meta = sources.meta
        self._applied = sources.applied
        self._backend = sources.backend
        self._builder = sources.builder
        self._links = sources.links
        self._sockets = sources.sockets
        self._memory = sources.memory
        self._disk = sources.disk
        self._turn_limit = sources.turn_limit
        self._roster = sources.roster
        self._turn_limits: dict[AgentName, float | None] = {}
        self._applied_folder = sources.layout.state / "applied"
        self._since = since
        self._moments = Moments()
        self._moments.corrected("daemon", "", since)
        self._proposed_repos = ProposedRepos(sources.layout, given_away=given_away)
        self._previews = previews
        self._repos: dict[AgentName, _Repo] = {}
        self._goes_down = False
        self._view: MetaView | None = None
        self.revision = ""
        """The revisions of the shared inputs that a build would record now; "" until they are known."""
        self._revision_of: Sha | None = None
        self._skipped: set[str] = set()
        self.fault: BadInput | None = None
        """Why meta cannot be used as it is now."""

    async def desired(self, *, or_last: bool = False) -> Desired:
        """Return meta as it is now. It is read again only if its refs moved.

        With `or_last` return what was read last if a file of meta is not valid now, and keep that error in `fault`.
        """
        try:
            self._view = await self._meta.read()
            self.fault = None
        except BadInput as error:
            self.fault = error
            if self._view is None or not or_last:
                raise
        head = self._view.desired.head
        if self._revision_of != head and self._meta.settled:
            hive, nixpkgs = await self._builder.revision(head), await self._builder.nixpkgs(head)
            self.revision = revision_of(hive, nixpkgs, await self._builder.modules(head))
            self._revision_of = head
        return self._view.desired

    @property
    def goes_down(self) -> bool:
        """True while the whole hive goes down."""
        return self._goes_down

    def go_down(self, down: bool) -> None:
        """Observe from now on that the whole hive goes down, or that it does not after all."""
        self._goes_down = down

    def since(self) -> float:
        """Return when the daemon began to observe, in Unix seconds as the clock says them now."""
        return self._moments.corrected("daemon", "", self._since)

    def known(self) -> Desired:
        """Return meta as `desired` read it last."""
        return self.view().desired

    def view(self) -> MetaView:
        """Return all of meta as `desired` read it last."""
        if self._view is None:
            raise RuntimeError("desired() was not awaited yet")
        return self._view

    @property
    def backend_name(self) -> str:
        """The name of the backend that runs the containers."""
        return self._backend.name

    @property
    def builder_name(self) -> str:
        """The name of the builder that makes the generations."""
        return self._builder.name

    def abilities(self) -> Abilities:
        """Return what the backend enforces on this host."""
        return self._backend.abilities()

    def names(self) -> frozenset[AgentName]:
        """Return every agent that meta, the applied repos on disk or the backend know."""
        view = self.view()
        on_disk = _names(self._applied_folder, self._skipped)
        tombs = {name for name, tomb in view.desired.tombstones.items() if tomb.purge}
        return frozenset({*view.desired.agents, *on_disk, *self._backend.names(), *tombs})

    async def refresh(self, agent: AgentName, *, again: bool = False) -> tuple[Deploy, ...]:
        """Return the agent's deploys. Its tags are read again only if a ref changed, or with `again`.

        A ref that was overwritten in place changes no folder, so only a look with `again` notices it.
        If they are damaged, `observe` says so, and the deploys are those that were read last.
        """
        repo = self._repo(agent)
        try:
            stamp = repo.applied.stamp()
            if again or stamp != repo.stamp or repo.damage is not None:
                repo.deploys = await repo.applied.deploys() if stamp is not None else ()
                repo.stamp = stamp
                repo.checked_at = ""
            repo.damage = None
        except Damaged as error:
            if repo.damage is None or repo.damage.summary != error.summary:
                log.error("%s is held as it is: %s (%s)", agent, error.summary, error.hint)
            repo.damage, repo.checked_at = error, ""
        view = self.view()
        if repo.checked_at != view.desired.head:
            repo.foreign = frozenset(
                deploy.id
                for deploy in repo.deploys
                if contradicts_meta(deploy, history=view.history, committed=view.committed)
            )
            repo.checked_at = view.desired.head
        if self._roster is not None:
            self._roster.note(agent, repo.deploys)
        await self._refresh_turn_limit(agent)
        return repo.deploys

    async def _refresh_turn_limit(self, agent: AgentName) -> None:
        """Read the limit of the agent's turn while one runs. Between turns it concerns nothing."""
        turn = self._links.view(agent).turn
        if self._turn_limit is None or turn is None or not turn.in_turn:
            self._turn_limits.pop(agent, None)
        else:
            self._turn_limits[agent] = await self._turn_limit(agent)

    def check(self, agent: AgentName) -> None:
        """Raise Damaged if `refresh` could not read the agent's tags."""
        repo = self._repos.get(agent)
        if repo is not None and repo.damage is not None:
            raise repo.damage

    def stamp(self, agent: AgentName) -> str | None:
        """Return a stamp of the tags that `refresh` read last and of the ids that were proven since."""
        stamp = self._repo(agent).stamp
        proven = self._memory.get(agent).proven if self._memory is not None else ()
        return f"{stamp} proven {' '.join(map(str, proven))}" if stamp is not None and proven else stamp

    def observe(self, agent: AgentName) -> AgentObserved:
        """Return everything about one agent. Call `desired` and `refresh` first."""
        repo, view = self._repo(agent), self.view()
        container = self._moments.container(agent, self._backend.observe(agent))
        damage = (repo.damage.summary, repo.damage.hint) if repo.damage is not None else container.damage
        return AgentObserved(
            container=container,
            link=self._moments.link(agent, self._links.view(agent)),
            memo=self._memory.get(agent) if self._memory else _memo_without_memory(container, repo.deploys),
            sockets=self._sockets.present(agent),
            proposed=self._proposed_repos.present(agent),
            built=self._builder.built(agent),
            candidates=view.candidates.get(agent, {}),
            committed=view.committed.get(agent, {}),
            sources=view.sources.get(agent, {}),
            foreign=repo.foreign,
            projected=self._memory is None or self._memory.projected(agent) == self.stamp(agent),
            previewing=self._previews.running.get(agent) if self._previews is not None else None,
            damage=damage[0] if damage is not None else "",
            remedy=damage[1] if damage is not None else "",
            previewed=self._previews.settled(agent, time.time(), self.revision) if self._previews is not None else None,
            disk=self._disk.use(agent),
            stop_asked=self._disk.stop_asked(agent),
            turn_limit=self._turn_limits.get(agent),
        )

    async def several(self, agents: Iterable[AgentName]) -> tuple[Observed, Mapping[AgentName, tuple[Deploy, ...]]]:
        """Return what is observed of these agents, and their deploys, from one pass. Call `desired` first.

        The cost does not grow with the number of the other agents.
        """
        deploys = {name: await self.refresh(name) for name in agents}
        seen = {name: self.observe(name) for name in deploys}
        return Observed(seen, self.since(), self.revision, self._goes_down), deploys

    async def logs(self, agent: AgentName, lines: int) -> str:
        """Return the last `lines` lines that the container wrote."""
        return await self._backend.logs(agent, lines)

    async def held(self, agent: AgentName) -> Held | None:
        """Return what the agent holds on disk if the daemon may not read its directories. None: it may."""
        return await self._backend.measure(agent)

    async def logs_after(self, agent: AgentName, cursor: str | None, lines: int, since: float | None) -> LogPart:
        """Return the lines that the container wrote after `cursor`."""
        return await self._backend.logs_after(agent, cursor, lines, since)

    def forget(self, agent: AgentName) -> None:
        """Drop everything about a purged agent."""
        self._repos.pop(agent, None)
        self._turn_limits.pop(agent, None)
        if self._roster is not None:
            self._roster.note(agent, ())
        self._moments.forget(agent)

    def _repo(self, agent: AgentName) -> _Repo:
        if agent not in self._repos:
            self._repos[agent] = _Repo(self._applied(agent))
        return self._repos[agent]
