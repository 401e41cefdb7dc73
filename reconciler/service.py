"""The services of the reconciler for `api`: one of each part, made by the daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meta.names import AgentName
from reconciler.access.access import Access
from reconciler.access.passkeys import Passkeys
from reconciler.agents.declared.follow import Declared
from reconciler.agents.lifecycle import Lifecycle
from reconciler.agents.login import Logins
from reconciler.agents.network import Grants
from reconciler.agents.rollback import Rollback
from reconciler.agents.spawn import Spawns
from reconciler.agents.swarm import Swarm
from reconciler.agents.turns import Turns
from reconciler.agents.updates import Updates
from reconciler.attention.notifier import Notifier
from reconciler.common.tasks import Background
from reconciler.events.changes import Changes
from reconciler.events.feed import Events
from reconciler.loop.loop import Reconciler
from reconciler.messaging.broker import Broker
from reconciler.messaging.loose_ends import LooseEnds
from reconciler.messaging.questions import Questions
from reconciler.messaging.reminders import Reminders
from reconciler.network.answers import Answers
from reconciler.network.way_out import WayOut
from reconciler.observe.links import Links
from reconciler.observe.live import Live
from reconciler.observe.releases import Releases
from reconciler.pods.client import PodClient
from reconciler.pods.reports import PodReports
from reconciler.pods.shutdowns import Shutdowns
from reconciler.proposals.commands import Proposals
from reconciler.proposals.discovery import Discovery
from reconciler.proposals.rebase import Rebase
from reconciler.proposals.settings_edit import SettingsEdit
from reconciler.queries.audit import AuditQuery
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
from reconciler.upkeep.backups.live import LiveBackup
from reconciler.upkeep.disk.guard import DiskGuard
from reconciler.upkeep.doctor.live import LiveDoctor
from reconciler.upkeep.stale_locks import StaleLocks
from reconciler.usage.budgets import Budgets
from reconciler.usage.records import TurnRecords


@dataclass(frozen=True, slots=True)
class Service:
    """The parts. `names` returns the names of all agents, sorted. `revision` is hive's own, "" if unknown."""

    names: Callable[[], list[AgentName]]
    revision: str
    # queries: nothing here changes anything
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
    host: HostQuery
    # commands
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
    loop: Reconciler
    # messaging
    broker: Broker
    questions: Questions
    reminders: Reminders
    loose_ends: LooseEnds
    # turns and their cost
    turn_records: TurnRecords
    budgets: Budgets
    # what connections need
    events: Events
    changes: Changes
    links: Links
    live: Live
    releases: Releases
    shutdowns: Shutdowns
    pod_reports: PodReports
    pods: PodClient
    background: Background
    notifier: Notifier
    disk: DiskGuard
    doctor: LiveDoctor
    locks: StaleLocks
    way_out: WayOut
    answers: Answers
    access: Access
    passkeys: Passkeys
