"""All parts of a daemon, made in order, each by one constructor call."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from meta.agent_toml.settings import SETTINGS_FILE
from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import Layout
from meta.names import MANAGER, AgentName
from meta.process.privilege import privilege
from meta.process.recorder import Recorder
from meta.wire.live import Usage
from reconciler.agents.declared.acts import Commands
from reconciler.agents.declared.follow import Declared
from reconciler.agents.inputs import Inputs
from reconciler.agents.lifecycle import Lifecycle
from reconciler.agents.login import Logins
from reconciler.agents.rollback import Rollback
from reconciler.agents.rollout_file import RolloutFile
from reconciler.agents.spawn import Spawns
from reconciler.agents.swarm import Swarm
from reconciler.agents.turns import Turns
from reconciler.agents.updates import Updates
from reconciler.apply.apply import Apply
from reconciler.attention import configuration
from reconciler.attention.ages import Ages
from reconciler.attention.notifier import Notices, Notifier, notices
from reconciler.attention.row import Row
from reconciler.common.reserve import Reserve
from reconciler.common.revision import revision as hive_revision
from reconciler.common.tasks import Background
from reconciler.daemon.choices import Choice, lock_flake, make_backend, make_builder
from reconciler.daemon.hints import Hints
from reconciler.events.feed import Events
from reconciler.loop.loop import Reconciler
from reconciler.messaging.broker import Broker, Quota
from reconciler.messaging.loose_ends import LooseEnds
from reconciler.messaging.questions import Questions
from reconciler.messaging.recipients import Recipients
from reconciler.messaging.reminders import Reminders
from reconciler.messaging.ticker import Ticker
from reconciler.observe.build_logs import BuildLogs
from reconciler.observe.declared import DeclaredMemory, DeclaredRecord, declared_records
from reconciler.observe.holds import Holds
from reconciler.observe.links import Links
from reconciler.observe.live import Live
from reconciler.observe.memory import Memory
from reconciler.observe.observer import Observer, Sources
from reconciler.observe.previews import Previews
from reconciler.observe.repos import Repos
from reconciler.observe.roster import Roster
from reconciler.observe.settings import DeployedSettings
from reconciler.ports import Sockets
from reconciler.proposals.branches import Branches
from reconciler.proposals.commands import Proposals
from reconciler.proposals.deploys import Deploys
from reconciler.proposals.discovery import Discovery, KnownTips
from reconciler.proposals.offers import Offers
from reconciler.proposals.rebase import Rebase
from reconciler.proposals.settings_edit import SettingsEdit
from reconciler.proposals.staleness import Stale
from reconciler.queries.attention import AttentionFacts
from reconciler.queries.cards import CardsQuery
from reconciler.queries.diffs import DiffsQuery
from reconciler.queries.digest import DigestQuery
from reconciler.queries.logs import LogsQuery
from reconciler.queries.metrics import MetricsQuery
from reconciler.queries.plan import PlanQuery
from reconciler.queries.status import StatusQuery
from reconciler.queries.usage import UsageQuery
from reconciler.service import Service
from reconciler.store.cards import Cards
from reconciler.store.database import Database
from reconciler.store.live import LiveStore
from reconciler.store.memos import Memos
from reconciler.store.messages.attempts import FAILURES, AttemptLimit
from reconciler.store.record import Record
from reconciler.store.refused_tips import RefusedTips
from reconciler.store.seen_tips import SeenTips
from reconciler.telemetry.metrics import Metrics
from reconciler.upkeep.backups.live import LiveBackup
from reconciler.upkeep.disk.guard import Actions, Disk, DiskGuard
from reconciler.upkeep.stale_locks import StaleLocks
from reconciler.usage.budgets import Budgets
from reconciler.usage.records import TurnRecords
from reconciler.world import World


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The values that precede all parts: directories, settings, names, and functions of the daemon.

    `owner` is the id of the state directory.
    """

    layout: Layout
    config: Config
    choice: Choice
    sockets: Sockets
    recorder: Recorder
    background: Background
    owner: str


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a daemon runs, starts and closes. `hints` come in from links and the backend."""

    service: Service
    world: World
    database: Database
    ticker: Ticker
    inputs: Inputs
    hints: Hints


@dataclass(frozen=True, slots=True)
class _Store:
    """The parts on the database, the repos, and the agents' settings, which limit whom agents may write to."""

    broker: Broker
    wake_manager: Callable[[], None]
    events: Events
    cards: Cards
    questions: Questions
    reminders: Reminders
    seen_tips: SeenTips
    refused_tips: RefusedTips
    settings: DeployedSettings
    notified: Record[Notices]
    ages: Ages
    declared: Record[dict[str, DeclaredRecord]]
    repos: Repos
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class _Spending:
    """The parts that count turns and keep budgets."""

    records: TurnRecords
    budgets: Budgets


async def build(here: Surroundings, closing: AsyncExitStack) -> Parts:
    """Make all parts. `closing` closes the backend and the database, even if a later part cannot be made."""
    layout, config, choice = here.layout, here.config, here.choice
    since, hints, metrics, build_logs = time.time(), Hints(), Metrics(), BuildLogs()
    meta, repos = await _git(here, int(since))
    database = await Database.open(layout.database)
    closing.push_async_callback(database.close)
    roster = Roster(lambda: meta.known().agents)
    store = _store(here, roster, repos, database, metrics, int(since))
    memory = Memory(Memos(database, on_append=store.wake_manager), store.cards)
    await memory.load(secrets.token_hex(8))
    live_store = await asyncio.to_thread(LiveStore, layout.live)

    async def record(agent: AgentName, log: str, id: int, ts: int, usage: Usage) -> None:
        await spending.records.take(agent, log, id, ts, usage)  # it needs the links, which need the live events

    live = Live(live_store, record)
    closing.push_async_callback(live.close)
    holds = Holds(lambda agent: meta.known().run_of(agent).paused)
    broker, turn_limit = store.broker, store.settings.turn_limit
    links = Links(hints, broker.interrupt, acks=broker.expect_acks, release=broker.release_turn, holds=holds, live=live)
    spending = await _spending(here, database, store, roster, metrics, links)
    backend = make_backend(choice, layout, config, owner=here.owner, links=links, background=here.background)
    builder = make_builder(
        choice, layout, config, meta=meta, applied=repos, recorder=here.recorder, build_logs=build_logs
    )
    previews = Previews(layout) if builder.previews else None
    sources = Sources(
        layout, meta, repos, backend, builder, links, here.sockets, memory, turn_limit=turn_limit, roster=roster
    )
    observer = Observer(sources, since=since, previews=previews, given_away=choice.own_ranges and os.geteuid() != 0)
    world = _world(here, store, sources, observer, previews, memory, spending, live)
    apply = Apply(world, backend, builder)
    closing.push_async_callback(backend.close)
    await backend.open(hints)
    await observer.desired()
    service = _service(here, world, apply, store, spending, build_logs, roster, live)
    await service.discovery.open()
    database.on_change(service.discovery.glance)
    if service.notifier.configured:
        database.on_change(service.notifier.wake)
        service.loop.on_turn(service.notifier.wake)
    ticker = Ticker(store.questions, store.reminders, rounds=here.background.rounds("ticker"))
    inputs = Inputs(world, service.loop, here.background.rounds("inputs"))
    return Parts(service, world, database, ticker, inputs, hints)


def _world(
    here: Surroundings,
    store: _Store,
    sources: Sources,
    observer: Observer,
    previews: Previews | None,
    memory: Memory,
    spending: _Spending,
    live: Live,
) -> World:
    return World(
        layout=here.layout,
        config=here.config,
        meta=sources.meta,
        repos=store.repos,
        observer=observer,
        previews=previews,
        links=sources.links,
        sockets=here.sockets,
        memory=memory,
        cards=store.cards,
        events=store.events,
        broker=store.broker,
        recorder=here.recorder,
        metrics=store.metrics,
        as_root=privilege(here.config.uid_start).hands_out_uids,
        own_ranges=here.choice.own_ranges,
        on_destroy=(store.questions.forget, store.reminders.forget, live.forget),
        on_purge=(spending.records.forget,),
        builds=asyncio.Semaphore(here.config.builds),
        disk=Disk(Reserve(here.layout.reserve, here.config.reserve_mib * 2**20), sources.disk),
    )


async def _git(here: Surroundings, now: int) -> tuple[MetaRepo, Repos]:
    """Make the meta repo and the applied repos."""
    environment, deadline = here.recorder.environment(), here.config.git_deadline
    meta = MetaRepo(
        here.layout,
        config=here.config,
        git_environment=environment,
        deadline=deadline,
        lock_flake=lock_flake(here.choice, here.recorder),
    )
    await meta.create(now)
    await meta.read()
    return meta, Repos(here.layout, environment, deadline)


def judge(config: Config) -> str:
    """Return what decides whether a tip is refused: hive's revision and its limits."""
    limits = (config.max_pack_bytes, config.max_file_bytes, config.max_tree_bytes, config.max_files)
    return " ".join(map(str, (hive_revision(), *limits)))


def _failures(config: Config) -> int:
    """Return the failed turns that make a dead letter of a message, less than the crashes that end the agent."""
    return max(1, min(FAILURES, config.crash_limit - 1))


def _store(
    here: Surroundings, roster: Roster, repos: Repos, database: Database, metrics: Metrics, since: int
) -> _Store:
    settings = DeployedSettings(roster.commit, lambda agent, sha: repos(agent).read(sha, SETTINGS_FILE))
    broker = Broker(
        database,
        known=roster.has,
        quota=Quota(here.config.inbox_limit, here.config.inbox_bytes),
        counters=metrics.messages,
        attempts=AttemptLimit(_failures(here.config), since),
        agents=roster.names,
        allowed=Recipients(settings).allowed,
    )
    wake_manager = partial(broker.wake_receivers, MANAGER)
    return _Store(
        broker,
        wake_manager,
        Events(database, on_append=wake_manager),
        Cards(database, on_append=wake_manager),
        Questions(
            database, check=broker.check, known=roster.has, wake=broker.wake_receivers, allowance=broker.allowance
        ),
        Reminders(
            database,
            known=roster.has,
            state=lambda name: here.layout.agent_state(AgentName(name)),
            wake=broker.wake_receivers,
        ),
        SeenTips(database),
        RefusedTips(database, judge(here.config)),
        settings,
        notices(database),
        Ages(database),
        declared_records(database),
        repos,
        metrics,
    )


async def _spending(
    here: Surroundings, database: Database, store: _Store, roster: Roster, metrics: Metrics, links: Links
) -> _Spending:
    """Make what counts turns, and hold the agents whose budgets were used up when the last daemon ended."""
    rounds = here.background.rounds("budgets")
    budgets = Budgets(database, store.settings.of, roster.names, links, rounds)
    await budgets.load()
    return _Spending(TurnRecords(database, metrics.turns, budgets.judge), budgets)


def _service(
    here: Surroundings,
    world: World,
    apply: Apply,
    store: _Store,
    spending: _Spending,
    logs: BuildLogs,
    roster: Roster,
    live: Live,
) -> Service:
    """Make the loop, the commands and the queries."""
    revision, rollouts = hive_revision(), RolloutFile(here.layout.rollout)
    loop = Reconciler(world, apply, here.background.rounds("resync"), rollouts.holds)
    deploys, stale, branches = Deploys(world, apply, loop), Stale(world), Branches()
    proposals = Proposals(world, loop, deploys, stale, branches)
    discovery = _discovery(world, proposals, store, branches, loop, stale)
    spawns, declared = Spawns(world, deploys), DeclaredMemory()
    agents, disk = _lifecycle(here, world, apply, loop, deploys, declared)
    locks = StaleLocks(here.layout, world.observer.names, world.events.append)
    facts = AttentionFacts(
        world, loop, discovery, store.questions, here.background, disk, locks, declared, spending.budgets
    )
    status = StatusQuery(
        world,
        loop,
        stale,
        facts,
        lambda: rollouts.current,
        revision,
        store.ages,
        approved_model=store.settings.model,
    )
    return Service(
        names=roster.names,
        revision=revision,
        status=status,
        plan=PlanQuery(world, loop, lambda: rollouts.current),
        cards=CardsQuery(world, deploys, stale),
        diffs=DiffsQuery(world, apply, deploys, logs),
        digest=DigestQuery(store.events, world.clock),
        logs=LogsQuery(world, deploys),
        metrics=MetricsQuery(world, loop, status, discovery),
        usage=UsageQuery(spending.records, spending.budgets, store.settings, world.clock),
        proposals=proposals,
        discovery=discovery,
        settings=SettingsEdit(world, deploys, proposals),
        rebase=Rebase(world, deploys, stale, proposals, branches),
        agents=agents,
        logins=Logins(world, deploys, world.links),
        swarm=Swarm(world, loop, agents),
        spawns=spawns,
        declared=_declared(here, world, loop, Commands(deploys, proposals, spawns, agents), store, declared),
        turns=Turns(world, loop, deploys, store.settings),
        rollback=Rollback(world, deploys),
        updates=Updates(world, loop, agents.rebuild, rollouts),
        backup=LiveBackup(here.layout, here.config, world.meta, revision),
        loop=loop,
        broker=store.broker,
        questions=store.questions,
        reminders=store.reminders,
        turn_records=spending.records,
        budgets=spending.budgets,
        loose_ends=LooseEnds(store.questions, store.reminders, world.cards.pending),
        events=store.events,
        links=world.links,
        live=live,
        background=here.background,
        notifier=_notifier(here, world, store, status),
        disk=disk,
        locks=locks,
    )


def _declared(
    here: Surroundings, world: World, loop: Reconciler, commands: Commands, store: _Store, memory: DeclaredMemory
) -> Declared:
    return Declared(world, loop, commands, store.declared, memory, here.background.rounds("declared"))


def _discovery(
    world: World, proposals: Proposals, store: _Store, branches: Branches, loop: Reconciler, stale: Stale
) -> Discovery:
    known = KnownTips(store.seen_tips, store.refused_tips)
    offers = Offers(world, stale)
    return Discovery(world, proposals.propose, known, store.settings, branches, loop.look_now, offers=offers)


def _notifier(here: Surroundings, world: World, store: _Store, status: StatusQuery) -> Notifier:
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
