"""The service of a daemon: the loop, the commands and the queries, each made by one constructor call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TypedDict

from meta.model import RunState
from meta.names import AgentName
from reconciler.agents.declared.acts import Commands
from reconciler.agents.declared.follow import Declared
from reconciler.agents.lifecycle import Lifecycle
from reconciler.agents.login import Logins
from reconciler.agents.network import Grants
from reconciler.agents.rollback import Rollback
from reconciler.agents.rollout_file import RolloutFile
from reconciler.agents.spawn import Spawns
from reconciler.agents.swarm import Swarm
from reconciler.agents.turns import Turns
from reconciler.agents.updates import Updates
from reconciler.apply.apply import Apply
from reconciler.attention import configuration
from reconciler.attention.notifier import Notifier
from reconciler.attention.row import Row
from reconciler.common.revision import revision as hive_revision
from reconciler.common.tasks import Background
from reconciler.daemon.foundation import Harnesses, Reports, Spending, Store, Surroundings
from reconciler.loop.loop import Reconciler
from reconciler.messaging.loose_ends import LooseEnds
from reconciler.network.answers import Answers
from reconciler.network.way_out import WayOut
from reconciler.observe.declared import DeclaredMemory
from reconciler.pods.client import PodClient
from reconciler.pods.shutdowns import Shutdowns
from reconciler.proposals.branches import Branches
from reconciler.proposals.commands import Proposals
from reconciler.proposals.deploys import Deploys
from reconciler.proposals.discovery import Discovery, KnownTips
from reconciler.proposals.offers import Offers
from reconciler.proposals.rebase import Rebase
from reconciler.proposals.settings_edit import SettingsEdit
from reconciler.proposals.staleness import Stale
from reconciler.queries.attention import AttentionFacts
from reconciler.queries.audit import AuditQuery, look_at
from reconciler.queries.cards import CardsQuery
from reconciler.queries.diffs import DiffsQuery
from reconciler.queries.digest import DigestQuery
from reconciler.queries.host import HostQuery
from reconciler.queries.logs import LogsQuery
from reconciler.queries.metrics import MetricsQuery
from reconciler.queries.network import NetworkQuery
from reconciler.queries.plan import PlanQuery
from reconciler.queries.remains import RemainsQuery
from reconciler.queries.status import StatusQuery
from reconciler.queries.usage import UsageQuery
from reconciler.service import Service
from reconciler.upkeep.backups.live import LiveBackup
from reconciler.upkeep.disk.guard import Actions, DiskGuard
from reconciler.upkeep.doctor.live import LiveDoctor
from reconciler.upkeep.stale_locks import StaleLocks
from reconciler.world import World


@dataclass(frozen=True, slots=True)
class _Core:
    """What commands and queries share."""

    world: World
    revision: str
    rollouts: RolloutFile
    loop: Reconciler
    deploys: Deploys
    stale: Stale
    branches: Branches
    declared: DeclaredMemory
    proposals: Proposals
    discovery: Discovery
    spawns: Spawns
    agents: Lifecycle
    disk: DiskGuard
    background: Background
    locks: StaleLocks
    way_out: WayOut
    answers: Answers


class _Queries(TypedDict):
    """The queries of a Service, by their names there."""

    status: StatusQuery
    plan: PlanQuery
    cards: CardsQuery
    diffs: DiffsQuery
    digest: DigestQuery
    logs: LogsQuery
    metrics: MetricsQuery
    usage: UsageQuery
    network: NetworkQuery
    remains: RemainsQuery
    audit: AuditQuery


class _Commands(TypedDict):
    """The commands of a Service, by their names there."""

    proposals: Proposals
    discovery: Discovery
    settings: SettingsEdit
    rebase: Rebase
    agents: Lifecycle
    logins: Logins
    swarm: Swarm
    spawns: Spawns
    declared: Declared
    turns: Turns
    grants: Grants
    rollback: Rollback
    updates: Updates
    backup: LiveBackup


def make_service(
    here: Surroundings,
    world: World,
    apply: Apply,
    store: Store,
    spending: Spending,
    harnesses: Harnesses,
    reports: Reports,
) -> Service:
    """Make the loop, the commands and the queries."""
    core = _core(here, world, apply, store, spending.way_out)
    queries, commands = _queries(core, apply, store, spending, reports), _commands(here, core, store)
    return Service(
        names=reports.roster.names,
        revision=core.revision,
        **queries,
        **commands,
        host=HostQuery(world, core.loop, here.background, core.disk, spending.way_out, commands["backup"]),
        doctor=LiveDoctor(here.layout, here.config, queries["status"], reports.changes.note),
        loop=core.loop,
        broker=store.broker,
        questions=store.questions,
        reminders=store.reminders,
        turn_records=spending.records,
        budgets=spending.budgets,
        loose_ends=LooseEnds(store.questions, store.reminders, world.cards.pending),
        events=store.events,
        changes=reports.changes,
        links=world.links,
        live=harnesses.live,
        releases=harnesses.releases,
        pod_reports=harnesses.reports,
        pods=PodClient(here.layout.pods),
        shutdowns=_shutdowns(world, core.agents, harnesses),
        background=here.background,
        notifier=_notifier(here, world, store, queries["status"]),
        disk=core.disk,
        locks=core.locks,
        way_out=spending.way_out,
        answers=core.answers,
        access=store.access,
        passkeys=store.passkeys,
    )


def _core(here: Surroundings, world: World, apply: Apply, store: Store, way_out: WayOut) -> _Core:
    rollouts = RolloutFile(here.layout.rollout)
    loop = Reconciler(world, apply, here.background.rounds("resync"), rollouts.holds)
    deploys, stale, branches, declared = Deploys(world, apply, loop), Stale(world), Branches(), DeclaredMemory()
    proposals = Proposals(world, loop, deploys, stale, branches)
    agents, disk = _lifecycle(here, world, apply, loop, deploys, declared)
    return _Core(
        world=world,
        revision=hive_revision(),
        rollouts=rollouts,
        loop=loop,
        deploys=deploys,
        stale=stale,
        branches=branches,
        declared=declared,
        proposals=proposals,
        discovery=_discovery(world, proposals, store, branches, loop, stale),
        spawns=Spawns(world, deploys),
        agents=agents,
        disk=disk,
        background=here.background,
        locks=StaleLocks(here.layout, world.observer.names, world.events.append),
        way_out=way_out,
        answers=_answers(world, store, way_out),
    )


def _answers(world: World, store: Store, way_out: WayOut) -> Answers:
    return Answers(
        world.events.append,
        way_out,
        store.requests,
        names=lambda: world.observer.known().agents,
        grants=lambda agent: world.observer.known().run_of(agent).grants,
        ceiling=world.network.ceiling,
        allowance=world.broker.allowance,
        clock=world.clock,
    )


def _facts(core: _Core, store: Store, spending: Spending) -> AttentionFacts:
    return AttentionFacts(
        core.world,
        core.loop,
        core.discovery,
        store.questions,
        core.background,
        core.disk,
        core.locks,
        core.declared,
        spending.budgets,
        spending.records,
        spending.way_out,
        store.requests,
        store.passkeys,
    )


def _queries(core: _Core, apply: Apply, store: Store, spending: Spending, reports: Reports) -> _Queries:
    world, loop, deploys, stale = core.world, core.loop, core.deploys, core.stale
    status = StatusQuery(
        world,
        loop,
        stale,
        _facts(core, store, spending),
        lambda: core.rollouts.current,
        core.revision,
        store.ages,
        approved_model=store.settings.model,
    )
    return _Queries(
        status=status,
        plan=PlanQuery(world, loop, lambda: core.rollouts.current),
        cards=CardsQuery(world, deploys, stale),
        diffs=DiffsQuery(world, apply, deploys, reports.build_logs),
        digest=DigestQuery(store.events, world.clock),
        logs=LogsQuery(world, deploys),
        metrics=MetricsQuery(world, loop, status, core.discovery, spending.way_out),
        usage=UsageQuery(spending.records, spending.budgets, store.settings, world.clock),
        network=NetworkQuery(
            world,
            store.settings,
            core.way_out,
            store.requests,
            reports.roster.names,
            core.way_out.conditions,
            core.way_out.notes,
        ),
        remains=RemainsQuery(world),
        audit=AuditQuery(partial(look_at, world.layout), world.clock),
    )


def _commands(here: Surroundings, core: _Core, store: Store) -> _Commands:
    world, loop, deploys, proposals, agents = core.world, core.loop, core.deploys, core.proposals, core.agents
    declared = Commands(deploys, proposals, core.spawns, agents)
    edits = SettingsEdit(world, deploys, proposals)
    return _Commands(
        proposals=proposals,
        discovery=core.discovery,
        settings=edits,
        rebase=Rebase(world, deploys, core.stale, proposals, core.branches),
        agents=agents,
        logins=Logins(world, deploys, world.links),
        swarm=Swarm(world, loop, agents),
        spawns=core.spawns,
        declared=_declared(here, world, loop, declared, store, core.declared),
        turns=Turns(world, loop, deploys, store.settings),
        grants=Grants(world, deploys, store.settings, edits, core.way_out, store.requests, core.answers),
        rollback=Rollback(world, deploys),
        updates=Updates(world, loop, agents.rebuild, core.rollouts),
        backup=LiveBackup(here.layout, here.config, world.meta, core.revision),
    )


def _declared(
    here: Surroundings, world: World, loop: Reconciler, commands: Commands, store: Store, memory: DeclaredMemory
) -> Declared:
    return Declared(world, loop, commands, store.declared, memory, here.background.rounds("declared"))


def _discovery(
    world: World, proposals: Proposals, store: Store, branches: Branches, loop: Reconciler, stale: Stale
) -> Discovery:
    known = KnownTips(store.seen_tips, store.refused_tips)
    offers = Offers(world, stale)
    return Discovery(world, proposals.propose, known, store.settings, branches, loop.look_now, offers=offers)


def _shutdowns(world: World, agents: Lifecycle, harnesses: Harnesses) -> Shutdowns:
    def is_stopped(agent: AgentName) -> bool:
        return world.observer.known().run_of(agent).state is RunState.STOPPED

    return Shutdowns(world.links, agents.stop, is_stopped, harnesses.sender)


def _notifier(here: Surroundings, world: World, store: Store, status: StatusQuery) -> Notifier:
    async def look() -> tuple[Row, ...]:
        return (await status.see()).rows

    delivery, rounds = configuration.make_delivery(here.config), here.background.rounds("notify")
    rules = configuration.settings(here.config)
    return Notifier(look, store.notified, delivery, rules, rounds, world.metrics, status.holding)


def _lifecycle(
    here: Surroundings,
    world: World,
    apply: Apply,
    loop: Reconciler,
    deploys: Deploys,
    declared: DeclaredMemory,
) -> tuple[Lifecycle, DiskGuard]:
    """Make the commands for agents, and the guard of the disk, which stops agents by them."""
    agents = Lifecycle(world, apply, loop, deploys, declared.is_declared)
    actions = Actions(
        agents=lambda: {name: entry.settings.limits.disk_mib for name, entry in world.observer.known().agents.items()},
        look_now=loop.look_now,
        append=world.events.append,
        pid=lambda agent: world.observer.observe(agent).container.pid,
        record_stop=agents.record_stop,
        count=world.observer.held,
    )
    return agents, DiskGuard(here.layout, here.config, world.disk, actions, here.background.rounds("disk"))
