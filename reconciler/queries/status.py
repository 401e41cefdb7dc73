"""The daemon and one row per agent, all from one look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from meta.errors import HiveError
from meta.model import Deploy
from meta.names import MANAGER, OPERATOR, AgentName, ProposalId, Sha
from reconciler.common.tasks import Background
from reconciler.loop.loop import Look, Reconciler
from reconciler.messaging.questions import Questions
from reconciler.plan.observed import AgentObserved
from reconciler.plan.plan import open_ids
from reconciler.plan.rollout import Rollout
from reconciler.plan.turn import turn_began
from reconciler.proposals.discovery import Discovery
from reconciler.proposals.staleness import Stale
from reconciler.store import damaged
from reconciler.upkeep.disk.guard import DiskGuard
from reconciler.upkeep.stale_locks import StaleLocks
from reconciler.views import AgentStatus, Status
from reconciler.world import World

IDS_MOST = 5
"""Stale ids that a row names."""


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """The status query. `rollout` returns the last rebuild of all agents, `revision` is that of the daemon."""

    world: World
    loop: Reconciler
    stale: Stale
    discovery: Discovery
    questions: Questions
    rollout: Callable[[], Rollout | None]
    background: Background
    disk: DiskGuard
    locks: StaleLocks
    revision: str

    async def __call__(self) -> Status:
        """Look once, and return the status."""
        look = await self.loop.look(or_last=True)
        observer, layout, broker = self.world.observer, self.world.layout, self.world.broker
        unread = await broker.unread_all()
        decisions = look.plan.decisions
        names = [name for name in decisions if name in look.desired.agents or decisions[name].phase != "absent"]
        agents = tuple([await self._agent(name, look, unread.get(name, 0)) for name in names])
        abilities, rollout = observer.abilities(), self._rollout_of_note()
        return Status(
            revision=self.revision,
            backend=observer.backend_name,
            builder=observer.builder_name,
            state=str(layout.state),
            runtime=str(layout.runtime),
            meta_head=look.desired.head,
            isolation=abilities.isolation,
            limits=abilities.limits,
            uids=abilities.uids,
            notes=tuple(self._notes(abilities.notes, names, rollout)),
            agents=agents,
            unread=unread.get(OPERATOR, 0),
            dead_letters=sum((await broker.dead_all()).values()),
            questions=await self.questions.count(OPERATOR),
            rollout=rollout,
            disk=self.disk.describe_limit(),
        )

    def _rollout_of_note(self) -> Rollout | None:
        """Return the rollout, unless it is over and succeeded."""
        rollout = self.rollout()
        return None if rollout is None or (rollout.over and rollout.failed is None) else rollout

    def _notes(self, of_backend: Iterable[str], shown: Sequence[AgentName], rollout: Rollout | None) -> Iterable[str]:
        yield from self.background.notes()
        if (fault := self.world.observer.fault) is not None:
            yield f"{fault.summary}: {fault.hint}; until then hive shows what it read last, and changes nothing"
        yield from self.disk.notes()
        yield from self.world.metrics.descriptors.notes()
        yield from self.locks.conditions(None)
        if warning := damaged.describe(self.world.layout.database):
            yield f"{warning}; {damaged.REMEDY}"
        yield from of_backend
        if MANAGER not in shown:  # its spawn did not even begin, so no row shows why
            trouble = self.loop.trouble.get(MANAGER)
            yield f"there is no manager{f': {trouble}' if trouble else ''}; `hive spawn manager` makes it"
        yield from self.discovery.notes()
        if rollout is not None:
            yield f"rebuild --all: {rollout.describe()}"

    async def _agent(self, name: AgentName, look: Look, unread: int) -> AgentStatus:
        decision, observed = look.plan.decisions[name], look.observed.agents[name]
        entry, launch = look.desired.agents.get(name), observed.container.launch
        pid, deploys = observed.container.pid, look.deploys.get(name, ())
        pending, trouble = open_ids(deploys), self.loop.trouble.get(name)
        stale = await self._stale(name, deploys, pending) if pending else ()
        own = (*decision.conditions, *((trouble,) if trouble and trouble not in decision.conditions else ()))
        return AgentStatus(
            agent=name,
            role=entry.settings.role if entry else "agent",
            phase=decision.phase,
            since=self.loop.transitions.since(name),
            turn=str(observed.link.turn) if observed.link.turn else None,
            desired=look.desired.run_of(name).state if entry else "absent",
            generation=launch.generation if launch and pid is not None else None,
            sha=_running_sha(observed) if pid is not None else None,
            deployed=entry.pin.id if entry else None,
            in_flight=decision.deploy,
            pending=pending,
            pid=pid,
            crashes=observed.memo.crashes,
            unread=unread,
            conditions=(*own, *self.disk.conditions(name), *self._of_repos(name), *stale),
            built_with=decision.outdated.built if decision.outdated is not None else None,
            disk_bytes=observed.disk.bytes if observed.disk is not None else None,
            reason=decision.reason,
            remedy=decision.remedy,
            turn_since=turn_began(observed),
            turn_limit=observed.turn_limit,
            disk_limit_mib=entry.settings.limits.disk_mib if entry else None,
        )

    def _of_repos(self, name: AgentName) -> tuple[str, ...]:
        return (*self.discovery.conditions(name), *self.locks.conditions(name))

    async def _stale(
        self, agent: AgentName, deploys: Iterable[Deploy], pending: Iterable[ProposalId]
    ) -> tuple[str, ...]:
        """Return one line that names the stale ids of `pending`; no line if there are none."""
        try:
            ids = sorted(await self.stale.of(agent, deploys) & set(pending))
        except HiveError:
            return ()  # its repo is damaged, which other lines say
        if not ids:
            return ()
        some = ", ".join(map(str, ids[:IDS_MOST])) + (" and others" if len(ids) > IDS_MOST else "")
        verb = "is" if len(ids) == 1 else "are"
        return (f"{some} {verb} stale, made from an older commit: rebase (see `hive diff {ids[0]}`), or deny",)


def _running_sha(observed: AgentObserved) -> Sha | None:
    """Return the commit of what runs. Of ids with one generation, a rollback and its target, the newest counts."""
    launch = observed.container.launch
    if launch is None:
        return None
    shas = {id: generation.sha for id, generation in observed.built.items() if generation.id == launch.generation}
    return shas[max(shas)] if shas else None
