"""All parts of a daemon, made in order, each by one constructor call."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from meta.agent_toml.settings import SETTINGS_FILE
from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.names import MANAGER, AgentName
from meta.process.privilege import privilege
from reconciler.access.access import Access
from reconciler.access.members import Members
from reconciler.access.passkeys import Passkeys
from reconciler.access.relying_party import relying_party_of
from reconciler.agents.inputs import Inputs
from reconciler.apply.apply import Apply
from reconciler.attention.ages import Ages
from reconciler.attention.notifier import notices
from reconciler.common.reserve import Reserve
from reconciler.common.revision import revision as hive_revision
from reconciler.daemon.choices import lock_flake, make_backend, make_builder
from reconciler.daemon.foundation import Harnesses, Reports, Spending, Store, Surroundings
from reconciler.daemon.hints import Hints
from reconciler.daemon.network import make_way_out
from reconciler.daemon.service import make_service
from reconciler.events.changes import Changes
from reconciler.events.feed import Events
from reconciler.messaging.broker import Broker, Quota
from reconciler.messaging.questions import Questions
from reconciler.messaging.recipients import Recipients
from reconciler.messaging.reminders import Reminders
from reconciler.messaging.ticker import Ticker
from reconciler.network.requests import Requests
from reconciler.observe.build_logs import BuildLogs
from reconciler.observe.commits import ContainerOf
from reconciler.observe.declared import declared_records
from reconciler.observe.drains import Drains
from reconciler.observe.holds import Holds
from reconciler.observe.links import Links
from reconciler.observe.live import Live, OnUsage
from reconciler.observe.memory import Memory
from reconciler.observe.observer import Observer, Sources
from reconciler.observe.previews import Previews
from reconciler.observe.releases import Releases
from reconciler.observe.repos import Repos
from reconciler.observe.roster import Roster
from reconciler.observe.sender import Sender
from reconciler.observe.settings import DeployedSettings
from reconciler.pods.reports import PodReports
from reconciler.service import Service
from reconciler.store.cards import Cards
from reconciler.store.database import Database
from reconciler.store.live import LiveStore
from reconciler.store.memos import Memos
from reconciler.store.messages.attempts import FAILURES, AttemptLimit
from reconciler.store.refused_tips import RefusedTips
from reconciler.store.seen_tips import SeenTips
from reconciler.telemetry.metrics import Metrics
from reconciler.upkeep.disk.guard import Disk
from reconciler.usage.budgets import Budgets
from reconciler.usage.records import TurnRecords
from reconciler.usage.tokens import MeteredTokens
from reconciler.world import World


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a daemon runs, starts and closes. `hints` come in from links and the backend."""

    service: Service
    world: World
    database: Database
    ticker: Ticker
    inputs: Inputs
    hints: Hints


async def build(here: Surroundings, closing: AsyncExitStack) -> Parts:
    """Make all parts. `closing` closes the backend and the database, even if a later part cannot be made."""
    layout, config, choice = here.layout, here.config, here.choice
    since, changes, metrics, build_logs = time.time(), Changes(), Metrics(), BuildLogs()
    hints = Hints(changes.note)
    meta, repos = await _git(here, int(since))
    database = await Database.open(layout.database)
    closing.push_async_callback(database.close)
    roster = Roster(lambda: meta.known().agents)
    store = _store(here, roster, repos, database, metrics, int(since))
    memory = Memory(Memos(database, on_append=store.wake_manager), store.cards)
    await memory.load(secrets.token_hex(8))

    async def record(agent: AgentName, log: str, id: int, ts: int, usage: Mapping[str, Any]) -> None:
        await spending.records.take(agent, log, id, ts, usage)  # it needs the links, which need the live events

    harnesses = await _harnesses(here, meta, store, database, hints, record, closing)
    links, turn_limit = harnesses.links, store.settings.turn_limit
    backend = make_backend(choice, layout, config, owner=here.owner, links=links, background=here.background)
    spending = await _spending(here, database, store, roster, meta, backend.observe, harnesses.holds)
    builder = make_builder(
        choice, layout, config, meta=meta, applied=repos, recorder=here.recorder, build_logs=build_logs
    )
    previews = Previews(layout) if builder.previews else None
    sources = Sources(
        layout, meta, repos, backend, builder, links, here.sockets, memory, turn_limit=turn_limit, roster=roster
    )
    observer = Observer(sources, since=since, previews=previews, given_away=choice.own_ranges and os.geteuid() != 0)
    world = _world(here, store, sources, observer, previews, memory, spending, harnesses)
    apply = Apply(world, backend, builder)
    closing.push_async_callback(backend.close)
    await backend.open(hints)
    await observer.desired()
    service = make_service(here, world, apply, store, spending, harnesses, Reports(roster, build_logs, changes))
    await service.discovery.open()
    database.on_change(service.discovery.glance)
    database.on_change(changes.note)
    service.loop.on_turn(changes.note)
    spending.way_out.listen(service.answers.on_report)
    if service.notifier.configured:
        database.on_change(service.notifier.wake)
        service.loop.on_turn(service.notifier.wake)
    ticker = Ticker(store.questions, store.reminders, rounds=here.background.rounds("ticker"))
    inputs = Inputs(world, service.loop, here.background.rounds("inputs"))
    return Parts(service, world, database, ticker, inputs, hints)


def _world(
    here: Surroundings,
    store: Store,
    sources: Sources,
    observer: Observer,
    previews: Previews | None,
    memory: Memory,
    spending: Spending,
    harnesses: Harnesses,
) -> World:
    return World(
        layout=here.layout,
        config=here.config,
        meta=sources.meta,
        repos=store.repos,
        observer=observer,
        previews=previews,
        links=sources.links,
        drains=Drains(sources.links),
        holds=harnesses.holds,
        sockets=here.sockets,
        memory=memory,
        cards=store.cards,
        events=store.events,
        broker=store.broker,
        recorder=here.recorder,
        metrics=store.metrics,
        as_root=privilege(here.config.uid_start).hands_out_uids,
        own_ranges=here.choice.own_ranges,
        on_destroy=(
            store.questions.forget,
            store.reminders.forget,
            store.requests.forget,
            harnesses.live.forget,
            harnesses.reports.forget,
            spending.way_out.forget,
        ),
        on_purge=(spending.records.forget,),
        on_start=(spending.budgets.judge,),  # its new settings may hold it: its harness must not take a turn first
        on_launch=(spending.way_out.before_launch,),
        builds=asyncio.Semaphore(here.config.builds),
        disk=Disk(Reserve(here.layout.reserve, here.config.reserve_mib * 2**20), sources.disk),
        network=here.network,
    )


async def _harnesses(
    here: Surroundings,
    meta: MetaRepo,
    store: Store,
    database: Database,
    hints: Hints,
    record: OnUsage,
    closing: AsyncExitStack,
) -> Harnesses:
    """Make what talks with the harnesses. `record` takes what a turn cost."""
    live = Live(await asyncio.to_thread(LiveStore, here.layout.live), record)
    closing.push_async_callback(live.close)
    holds = Holds(lambda agent: meta.known().run_of(agent).paused, changed=lambda agent: links.send_hold(agent))
    sender, broker = Sender(), store.broker
    links = Links(hints, broker.interrupt, acks=broker.expect_acks, holds=holds, live=live, sender=sender)

    async def wanted() -> frozenset[str]:
        settings = await store.settings.of(MANAGER)
        return frozenset(settings.pods.reports) if settings is not None else frozenset()

    reports = PodReports(links, database, wanted, broker.wake_receivers, sender)
    return Harnesses(links, holds, live, Releases(links, broker.release_turn, sender), sender, reports)


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


def _store(here: Surroundings, roster: Roster, repos: Repos, database: Database, metrics: Metrics, since: int) -> Store:
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
    return Store(
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
        Requests(database, known=roster.has, wake=broker.wake_receivers, allowance=broker.allowance),
        Passkeys(database, relying_party_of(here.config), required=here.config.dashboard_approve_by_passkey),
        SeenTips(database),
        RefusedTips(database, judge(here.config)),
        settings,
        notices(database),
        Ages(database),
        declared_records(database),
        repos,
        metrics,
        Access(
            database,
            here.config,
            Members(here.layout.http_socket),
            on_append=wake_manager,
            rounds=here.background.rounds("access"),
        ),
    )


async def _spending(
    here: Surroundings,
    database: Database,
    store: Store,
    roster: Roster,
    meta: MetaRepo,
    observe: ContainerOf,
    holds: Holds,
) -> Spending:
    """Make what counts turns, and hold the agents whose budgets were used up when the last daemon ended."""
    rounds, metrics = here.background.rounds("budgets"), store.metrics
    budgets = Budgets(database, store.settings.of, roster.names, holds, rounds, changed=lambda: way_out.wake())
    await budgets.load()
    way_out = make_way_out(here, meta, store.repos, roster, observe, budgets, store.events.append)
    way_out.listen(MeteredTokens(database, roster.has, budgets.judge, metrics.egress.count_tokens).take)
    return Spending(TurnRecords(database, metrics.turns, budgets.judge), budgets, way_out)
