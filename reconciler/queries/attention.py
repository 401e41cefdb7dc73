"""The facts of the attention list: what status knows already, and what waits in the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.model import Deploy, TagState
from meta.names import HIVE, MANAGER, OPERATOR, AgentName, ProposalId
from reconciler.access.passkeys import Passkeys
from reconciler.attention.facts import Alarm, Alarms, Facts
from reconciler.common.tasks import Background
from reconciler.loop.loop import Reconciler
from reconciler.messaging.questions import Questions
from reconciler.network.refusals import wanted_lines
from reconciler.network.requests import Requests
from reconciler.network.way_out import WayOut
from reconciler.observe.declared import DeclaredMemory
from reconciler.plan.rollout import PATIENCE
from reconciler.proposals.discovery import Discovery
from reconciler.proposals.refusals import describe_refusals
from reconciler.store import damaged
from reconciler.upkeep.disk.guard import DiskGuard
from reconciler.upkeep.stale_locks import StaleLocks
from reconciler.usage.budgets import Budgets
from reconciler.usage.records import TurnRecords
from reconciler.views import RefusedTip, Status
from reconciler.world import World

READ_MOST = 1000
"""Questions and dead letters that are read, at most: the newest."""
TIPS_MOST = 20
"""Refused branches of one agent that are listed, at most."""
QUESTION_BYTES = 1024
"""Bytes of a question that are read."""


@dataclass(frozen=True, slots=True)
class AgentTroubles:
    """What is known about an agent's repos and files: conditions, and branches whose commit was refused.

    `wanted`: hosts that it wanted lately and may not reach.
    """

    conditions: tuple[str, ...] = ()
    refused: tuple[RefusedTip, ...] = ()
    wanted: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it as lines for the status."""
        return (*self.conditions, *describe_refusals(self.refused), *self.wanted)


@dataclass(frozen=True, slots=True)
class AttentionFacts:
    """Reads the facts."""

    world: World
    loop: Reconciler
    discovery: Discovery
    questions: Questions
    background: Background
    disk: DiskGuard
    locks: StaleLocks
    declared: DeclaredMemory
    budgets: Budgets
    turns: TurnRecords
    way_out: WayOut
    requests: Requests
    passkeys: Passkeys

    def alarms(self, shown: Mapping[AgentName, object]) -> Alarms:
        """Return the alarms. `shown` has the agents of the status."""
        return Alarms(
            tasks=(
                *(Alarm(task, note) for task, note in self.background.troubles()),
                *(Alarm(f"declared {agent}", note) for agent, note in self.declared.notes(shown)),
            ),
            meta=tuple(self._meta()),
            disk=tuple(Alarm("state", note) for note in self.disk.notes()),
            descriptors=tuple(Alarm("daemon", note) for note in self.world.metrics.descriptors.notes()),
            locks=tuple(Alarm("meta", note) for note in self.locks.conditions(None)),
            set_aside=tuple(_set_aside(self.world.layout.database)),
            no_manager=() if MANAGER in shown else (Alarm("manager", self._no_manager()),),
            watching=tuple(Alarm("proposed", note) for note in self.discovery.notes()),
            way_out=tuple(Alarm("way-out", note) for note in self.way_out.notes()),
            dashboard=tuple(Alarm(part, text) for part, text in self.world.metrics.dashboard.troubles()),
        )

    def _meta(self) -> Iterator[Alarm]:
        if (fault := self.world.observer.fault) is not None:
            text = f"{fault.summary}: {fault.hint}; until then hive shows what it read last, and changes nothing"
            yield Alarm("meta", text)

    def _no_manager(self) -> str:
        """Return why there is no manager: its spawn did not even begin, so no row shows that."""
        trouble = self.loop.trouble.get(MANAGER)
        return f"there is no manager{f': {trouble}' if trouble else ''}; `hive spawn manager` makes it"

    def troubles(self, agent: AgentName, *, again: bool) -> AgentTroubles:
        """Return what is known about an agent's repos and files. With `again` it looks at the disk: once for a view."""
        conditions = (
            *self.disk.conditions(agent),
            *self.discovery.conditions(agent, again=again),
            *self.locks.conditions(agent),
            *self.declared.conditions(agent),
            *self.turns.conditions(agent),
            *self.way_out.conditions(agent),
        )
        return AgentTroubles(conditions, self.discovery.refused(agent), self._wanted(agent))

    def _wanted(self, agent: AgentName) -> tuple[str, ...]:
        report = self.way_out.report
        each = report.agents.get(agent) if report is not None else None
        if each is None:
            return ()
        return wanted_lines(agent, each, self.world.clock(), self.world.network.ceiling())

    async def read(
        self,
        status: Status,
        stale: Mapping[AgentName, frozenset[ProposalId]],
        alarms: Alarms,
        troubles: Mapping[AgentName, AgentTroubles],
        deploys: Mapping[AgentName, tuple[Deploy, ...]],
        now: float,
    ) -> Facts:
        """Return the facts behind a status."""
        proposals = await self.world.cards.pending()
        questions = await self.questions.asked_of(OPERATOR, READ_MOST, QUESTION_BYTES) if status.questions else []
        letters = await self.world.broker.dead_heads(READ_MOST) if status.dead_letters else []
        oldest = await self.world.broker.oldest_waiting(OPERATOR) if status.unread else None
        refused = [tip for each in troubles.values() for tip in each.refused[:TIPS_MOST]]
        more = sum(max(0, len(each.refused) - TIPS_MOST) for each in troubles.values())
        rollout = status.rollout if status.rollout is not None and status.rollout.failed is not None else None
        return Facts(
            agents=status.agents,
            errors=self._errors(),
            conditions={agent: each.conditions for agent, each in troubles.items()},
            proposals=tuple(proposals),
            stale=stale,
            failed=tuple(filter(None, (_failed(deploys.get(row.agent, ())) for row in status.agents))),
            questions=tuple(questions),
            dead_letters=tuple(letters),
            unread=(status.unread, oldest or 0.0),
            refused=tuple(refused),
            rollout=rollout,
            over_budget=dict(self.budgets.over),
            requests=tuple(await self.requests.pending()),
            copied=tuple(await self.passkeys.refused()),
            alarms=alarms,
            now=now,
            origin=self.world.metrics.dashboard.origin,
            unlisted=max(0, status.questions - len(questions)) + max(0, status.dead_letters - len(letters)) + more,
        )

    def _errors(self) -> dict[AgentName, str]:
        """Return the error of each agent whose worker failed PATIENCE times in a row."""
        failures = self.loop.queue.failures
        return {agent: text for agent, text in self.loop.trouble.items() if failures(agent) >= PATIENCE}


def _failed(deploys: Iterable[Deploy]) -> Deploy | None:
    """Return the newest of an agent's ids if it failed, and no person ended it."""
    newest = max(deploys, key=lambda deploy: deploy.id, default=None)
    return newest if newest is not None and newest.state is TagState.FAILED and newest.by == HIVE else None


def _set_aside(database: Path) -> Iterator[Alarm]:
    if not (warning := damaged.describe(database)):
        return
    newest = damaged.files(database)[-1]
    try:
        since = newest.stat().st_mtime
    except OSError:
        since = None
    yield Alarm(newest.name, f"{warning}; {damaged.REMEDY}", since)
