"""The views: what `hive plan`, `status`, `diff`, `pending` and `log` show. Nothing here changes anything."""

from __future__ import annotations

import logging
from collections.abc import Collection

from meta.agent_toml.settings import SETTINGS_FILE, flatten, parse_settings
from meta.errors import BadInput, HiveError, NotFound
from meta.model import TagState
from meta.names import MANAGER, OPERATOR, AgentName, ProposalId, Sha
from reconciler.loop.loop import Look, Reconciler
from reconciler.messaging.broker import Broker
from reconciler.plan import steps
from reconciler.plan.context import Decision
from reconciler.plan.observed import AgentObserved
from reconciler.plan.plan import open_ids
from reconciler.store.damaged import REMEDY, described, set_aside
from reconciler.telemetry.metrics import Snapshot, database_bytes, disk_bytes
from reconciler.views import AgentStatus, Card, Diff, LogRow, PlanRow, Status
from reconciler.world import World

log = logging.getLogger(__name__)
SHOWN = 5
"""Names in an error."""


class Reports:
    """Reads only."""

    def __init__(self, world: World, reconciler: Reconciler, broker: Broker) -> None:
        self._w = world
        self._reconciler = reconciler
        self._broker = broker

    def agents(self) -> list[AgentName]:
        """Every agent that is desired, sorted."""
        return sorted(self._w.observer.known().agents)

    async def pending(self) -> list[Card]:
        """Cards that wait for the operator, oldest first."""
        return await self._w.cards.pending()

    async def cards(self, agent: AgentName | None = None, limit: int = 50) -> list[Card]:
        """Cards, newest first."""
        return await self._w.cards.list(agent, limit)

    async def card(self, id: ProposalId, agent: AgentName | None = None) -> Card:
        """One card. Raises NotFound. `agent` tells the ids 0 apart, which every agent's first spawn has.

        Without it an id 0 that several agents have is BadInput.
        """
        if agent is None:
            return await (self._w.cards.get(id) if id else self._only_zero())
        if agent not in self._w.observer.names():
            raise NotFound(f"there is no agent {agent}", "see `hive list`")
        for card in await self._w.cards.list(agent, limit=1_000_000):
            if card.id == id:
                return card
        raise NotFound(f"{agent} has no proposal {id}", "see `hive pending --all`")

    async def _only_zero(self) -> Card:
        found = [card for card in await self._w.cards.list(None, limit=1_000_000) if card.id == 0]
        if len(found) > 1:
            some = ", ".join(sorted(card.agent for card in found)[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
            raise BadInput(f"each agent's first spawn has the id 0 ({some})", "say whose: `--agent NAME`")
        if not found:
            raise NotFound("there is no proposal 0", "see `hive pending --all`")
        return found[0]

    async def plan(self, agent: AgentName | None = None) -> list[PlanRow]:
        """What would be done now, and why."""
        if agent is not None and agent not in self._w.observer.names():
            raise NotFound(f"there is no agent {agent}", "see `hive list`")
        decisions = (await self._reconciler.plan()).decisions
        return [self._row(name, decision) for name, decision in decisions.items() if agent in (None, name)]

    def _row(self, agent: AgentName, decision: Decision) -> PlanRow:
        return plan_row(agent, decision, self._reconciler.trouble.get(agent), self._reconciler.chronicle.since(agent))

    async def status(self) -> Status:
        """The daemon and every agent, all rows of one moment."""
        look = await self._reconciler.look()
        decisions = look.plan.decisions
        unread = await self._broker.unread_all()
        abilities = self._w.observer.abilities()
        names = [name for name in decisions if name in look.desired.agents or decisions[name].phase != "absent"]
        agents = tuple(self._agent(name, look, unread.get(name, 0)) for name in names)
        return Status(
            revision=self._w.revision,
            backend=self._w.observer.backend_name,
            builder=self._w.observer.builder_name,
            state=str(self._w.layout.state),
            runtime=str(self._w.layout.runtime),
            meta_head=look.desired.head,
            isolation=abilities.isolation,
            limits=abilities.limits,
            uids=abilities.uids,
            notes=(*self._failed(), *self._set_aside(), *abilities.notes, *self._without_manager(names)),
            agents=agents,
            unread=unread.get(OPERATOR, 0),
            dead_letters=sum((await self._broker.dead_all()).values()),
        )

    def _failed(self) -> tuple[str, ...]:
        ended = self._w.background.failure
        if ended is None:
            return ()
        return (f"background task {ended.task} ended ({ended.error}): the daemon stops, and agents run on",)

    def _set_aside(self) -> tuple[str, ...]:
        said = described(set_aside(self._w.layout.database))
        return (f"{said}; {REMEDY}",) if said else ()

    def _without_manager(self, shown: Collection[AgentName]) -> tuple[str, ...]:
        """A manager whose spawn did not even begin has no row to say so."""
        if MANAGER in shown:
            return ()
        trouble = self._reconciler.trouble.get(MANAGER)
        return (f"there is no manager{f': {trouble}' if trouble else ''}; `hive spawn manager` makes it",)

    def _agent(self, name: AgentName, look: Look, unread: int) -> AgentStatus:
        decision, seen = look.plan.decisions[name], look.observed.agents[name]
        entry, launch = look.desired.agents.get(name), seen.container.launch
        pid = seen.container.pid
        row = self._row(name, decision)
        return AgentStatus(
            agent=name,
            role=entry.settings.role if entry else "agent",
            phase=decision.phase,
            since=self._reconciler.chronicle.since(name),
            turn=str(seen.link.turn) if seen.link.turn else None,
            desired=look.desired.run_of(name).state if entry else "absent",
            generation=launch.generation if launch and pid is not None else None,
            sha=_running_sha(seen) if pid is not None else None,
            deployed=entry.pin.id if entry else None,
            in_flight=decision.deploy,
            pending=open_ids(look.deploys.get(name, ())),
            pid=pid,
            crashes=seen.memo.crashes,
            unread=unread,
            conditions=row.conditions,
            built_with=decision.outdated.built if decision.outdated is not None else None,
        )

    async def diff(self, id: ProposalId, agent: AgentName | None = None) -> Diff:
        """What a proposal changes against what the agent has now (its applied/main)."""
        card = await self.card(id, agent)
        deploys = await self._w.observer.refresh(card.agent)
        deploy = next((deploy for deploy in deploys if deploy.id == id), None)
        if deploy is None:
            raise NotFound(f"there is no proposal {id}", "see `hive pending`")
        applied = self._w.applied(card.agent)
        base = deploy.base if deploy.state.terminal else await applied.main() or deploy.base
        settings = await self._settings_diff(card.agent, base, deploy.sha)
        patch = await applied.diff(base, deploy.sha)
        previews = self._w.observer.previews
        preview = previews.of(card.agent).get(id) if previews is not None else None
        return Diff(
            previews=previews is not None,
            system=preview.lines if preview else (),
            complaint=preview.complaint if preview else None,
            shown=preview.shown.fingerprint() if preview else None,
            same=preview.same if preview else False,
            build=self._w.build_logs.tail(card.agent, id),
            id=id,
            agent=card.agent,
            base=base,
            sha=deploy.sha,
            description=deploy.description,
            commits=await applied.log(base, deploy.sha),
            settings=settings,
            files=tuple(line.split(" b/", 1)[1] for line in patch.splitlines() if line.startswith("diff --git ")),
            patch=patch,
        )

    async def _settings_diff(self, agent: AgentName, base: Sha | None, sha: Sha) -> tuple[tuple[str, str, str], ...]:
        before = await self._settings(agent, base) if base else {}
        after = await self._settings(agent, sha)
        return tuple(
            (key, before.get(key, ""), after.get(key, ""))
            for key in sorted({*before, *after})
            if before.get(key) != after.get(key)
        )

    async def _settings(self, agent: AgentName, sha: Sha) -> dict[str, str]:
        """agent.toml of a commit, flat; a file that is not valid shows as the one key `agent.toml`."""
        try:
            return flatten(parse_settings(await self._w.applied(agent).read(sha, SETTINGS_FILE), SETTINGS_FILE))
        except HiveError as error:
            return {SETTINGS_FILE: f"({error.summary})"}

    async def log(self, limit: int = 50) -> list[LogRow]:
        """The system-wide deploy log, newest first."""
        return [
            LogRow(
                commit=entry.commit,
                at=entry.at,
                action=entry.action,
                agent=entry.agent,
                id=entry.id,
                sha=entry.sha,
                generation=entry.generation,
                by=entry.by,
                subject=entry.subject,
            )
            for entry in await self._w.meta.log(limit)
        ]

    async def logs(self, agent: AgentName, lines: int = 50) -> str:
        """The last lines that the agent's container wrote."""
        if agent not in (await self._w.observer.desired()).agents:
            raise NotFound(f"there is no agent {agent}", "see `hive list`")
        return await self._w.observer.logs(agent, lines)

    async def metrics(self) -> bytes:
        """Every metric as text for Prometheus; without the gauges of agents while they cannot be read."""
        try:
            snapshot = await self.snapshot()
        except HiveError as error:
            log.warning("the metrics of agents cannot be read: %s", error.summary)
            snapshot = None
        return self._w.metrics.render(snapshot, self._reconciler.queue.depth())

    async def snapshot(self) -> Snapshot:
        """What the gauges show."""
        return Snapshot(
            status=await self.status(),
            unread=await self._broker.unread_all(),
            pending=tuple(card.requested_at for card in await self.pending()),
            disk=disk_bytes(self._w.layout.state),
            database=database_bytes(self._w.layout.database),
            dead=await self._broker.dead_all(),
            set_aside=len(set_aside(self._w.layout.database)),
        )

    def revision(self) -> str:
        """hive's own revision, "" when unknown."""
        return self._w.revision


def plan_row(agent: AgentName, decision: Decision, trouble: str | None = None, since: float | None = None) -> PlanRow:
    """A decision as people see it; `trouble` is the last error of the agent's worker, `since` when its phase began."""
    return PlanRow(
        agent=agent,
        phase=decision.phase,
        step=decision.step.name,
        reason=decision.reason,
        deploy=decision.deploy,
        until=_until(decision, since),
        conditions=(*decision.conditions, *((trouble,) if trouble else ())),
    )


def _until(decision: Decision, since: float | None) -> float | None:
    match decision.step:
        case steps.Wait(until=until):
            return until
        case steps.Drain(deadline=deadline) if since is not None:
            return since + deadline
        case _:
            return None


def _running_sha(seen: AgentObserved) -> Sha | None:
    launch = seen.container.launch
    for generation in seen.built.values():
        if launch is not None and generation.id == launch.generation:
            return generation.sha
    return None


def ended(card: Card) -> bool:
    """Whether nothing follows any more for this card."""
    return TagState(card.state).terminal
