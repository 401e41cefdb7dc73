"""The daemon and one row per agent, and what of that needs a person, all from one look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace

from meta.errors import HiveError
from meta.model import Deploy, NetworkGrant
from meta.names import OPERATOR, AgentName, ProposalId
from reconciler.attention.ages import Ages
from reconciler.attention.facts import Alarms
from reconciler.attention.holding import Holding
from reconciler.attention.registry import collect
from reconciler.attention.row import Attention, Row, count, listed
from reconciler.loop.loop import Look, Reconciler
from reconciler.network.policy import Operator
from reconciler.network.reach import in_force, within
from reconciler.plan.plan import open_ids
from reconciler.plan.rollout import Rollout
from reconciler.proposals.staleness import Stale
from reconciler.queries.agent_row import RowFacts, Rows, stale_line
from reconciler.queries.attention import AttentionFacts
from reconciler.views import AgentStatus, Card, Status
from reconciler.world import World


@dataclass(frozen=True, slots=True)
class Seen:
    """A status, and every row of the attention list of the same moment. `proposals` wait for the operator.

    `unlisted` counts what has no row because a list has a limit.
    """

    status: Status
    rows: tuple[Row, ...]
    proposals: tuple[Card, ...]
    unlisted: int = 0


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """The status query. `rollout` returns the last rebuild of all agents, `revision` is that of the daemon.

    `ages` keeps the times of rows, `holding` has the rows that are not notified yet. `approved_model` returns the model
    of the agent.toml that is deployed.
    """

    world: World
    loop: Reconciler
    stale: Stale
    facts: AttentionFacts
    rollout: Callable[[], Rollout | None]
    revision: str
    ages: Ages
    holding: Holding = field(default_factory=Holding)
    approved_model: Callable[[AgentName], Awaitable[str | None]] | None = None
    clock: Callable[[], float] = time.time
    rows: Rows = field(default_factory=Rows)

    async def __call__(self) -> Status:
        """Look once, and return the status."""
        return (await self.see()).status

    async def attention(self) -> Attention:
        """Look once, and return the attention list."""
        return self.listed(await self.see())

    def listed(self, seen: Seen) -> Attention:
        """Return the attention list of a look."""
        return listed(seen.rows, seen.unlisted, self.holding.notes())

    def once(self) -> OneLook:
        """Return the same query for whoever wants its answers of one moment."""
        return OneLook(self)

    async def see(self) -> Seen:
        """Look once, and return the status with the rows of the attention list."""
        return await self._see(await self.loop.look(or_last=True))

    async def glance(self) -> Seen:
        """Return the same of a glance (`Reconciler.glance`), for views that are open."""
        return await self._see(await self.loop.glance())

    async def _see(self, look: Look) -> Seen:
        decisions = look.plan.decisions
        names = [name for name in decisions if name in look.desired.agents or decisions[name].phase != "absent"]
        alarms = self.facts.alarms(dict.fromkeys(names))
        stale = {name: await self._stale(name, look.deploys.get(name, ())) for name in names}
        troubles = {name: self.facts.troubles(name, again=name in look.fresh) for name in names}
        unread = await self.world.broker.unread_all()
        agents = [
            await self._row(name, look, unread.get(name, 0), (*troubles[name].lines, *stale_line(stale[name])))
            for name in names
        ]
        self.rows.keep_only(names)
        status = await self._status(look, tuple(agents), unread.get(OPERATOR, 0), alarms)
        now = self.clock()
        facts = await self.facts.read(status, stale, alarms, troubles, look.deploys, now)
        await self.ages.load(now)
        rows = collect(facts, self.ages.seen, now)
        await self.ages.save()
        return Seen(replace(status, attention=count(rows)), rows, facts.proposals, facts.unlisted)

    async def _status(self, look: Look, agents: tuple[AgentStatus, ...], unread: int, alarms: Alarms) -> Status:
        observer, layout = self.world.observer, self.world.layout
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
            programs=abilities.programs,
            programs_path=abilities.programs_path,
            programs_named=abilities.programs_named,
            notes=(*_notes(alarms, abilities.notes, rollout), *self.holding.notes()),
            agents=agents,
            unread=unread,
            dead_letters=sum((await self.world.broker.dead_all()).values()),
            questions=await self.facts.questions.count(OPERATOR),
            rollout=rollout,
            disk=self.facts.disk.describe_limit(),
            dashboard=self.world.metrics.dashboard.origin,
        )

    def _rollout_of_note(self) -> Rollout | None:
        """Return the rollout, unless it is over and succeeded."""
        rollout = self.rollout()
        return None if rollout is None or (rollout.over and rollout.failed is None) else rollout

    async def _row(self, name: AgentName, look: Look, unread: int, lines: tuple[str, ...]) -> AgentStatus:
        """Return the row of an agent: the one of before, if it says the same."""
        observed, run = look.observed.agents[name], look.desired.run_of(name)
        about = observed.link.about
        override = about is not None and about.override and self.approved_model is not None
        facts = RowFacts(
            agent=name,
            decision=look.plan.decisions[name],
            observed=observed,
            deploys=look.deploys.get(name, ()),
            entry=look.desired.agents.get(name),
            run=run,
            since=self.loop.transitions.since(name),
            unread=unread,
            trouble=self.loop.trouble.get(name),
            lines=lines,
            declared=self.facts.declared.standing(name),
            grants=self._grants(run.grants),
            approved_model=await self.approved_model(name) if override and self.approved_model else None,
        )
        return self.rows.of(facts)

    def _grants(self, grants: tuple[NetworkGrant, ...]) -> tuple[NetworkGrant, ...]:
        """Return what counts: of what the ceiling forbids the agent's conditions say so."""
        if not grants:
            return ()
        network = self.world.network
        return within(in_force(grants, self.clock()), Operator(ceiling=network.ceiling()))

    async def _stale(self, agent: AgentName, deploys: tuple[Deploy, ...]) -> frozenset[ProposalId]:
        """Return the ids of the agent that wait and are stale."""
        pending = open_ids(deploys)
        if not pending:
            return frozenset()
        try:
            return await self.stale.of(agent, deploys) & frozenset(pending)
        except HiveError:
            return frozenset()  # its repo is damaged, which other lines say


@dataclass(slots=True)
class OneLook:
    """A status query whose answers are all of one glance, which the first question takes.

    The others get its error, too. If somebody who waits is cancelled, the look goes on for the others.
    """

    query: StatusQuery
    _look: asyncio.Future[Seen] | None = None

    async def __call__(self) -> Status:
        """Return the status."""
        return (await self._seen()).status

    async def attention(self) -> Attention:
        """Return the attention list."""
        return self.query.listed(await self._seen())

    async def _seen(self) -> Seen:
        if self._look is None:
            self._look = asyncio.ensure_future(self.query.glance())
            # asyncio warns of an error that is never retrieved, and whoever was cancelled retrieves none.
            self._look.add_done_callback(lambda look: look.cancelled() or look.exception())
        return await asyncio.shield(self._look)


def _notes(alarms: Alarms, of_backend: Iterable[str], rollout: Rollout | None) -> Iterable[str]:
    for alarm in (*alarms.tasks, *alarms.meta, *alarms.disk, *alarms.descriptors, *alarms.locks, *alarms.set_aside):
        yield alarm.text
    yield from of_backend
    for alarm in (*alarms.no_manager, *alarms.watching, *alarms.way_out, *alarms.dashboard):
        yield alarm.text
    if rollout is not None:
        yield f"rebuild --all: {rollout.describe()}"
