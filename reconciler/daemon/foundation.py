"""What precedes the parts of a daemon, and the parts on the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meta.config import Config
from meta.layout import Layout
from meta.process.recorder import Recorder
from reconciler.access.access import Access
from reconciler.access.passkeys import Passkeys
from reconciler.attention.ages import Ages
from reconciler.attention.notifier import Notices
from reconciler.common.tasks import Background
from reconciler.daemon.choices import Choice
from reconciler.events.changes import Changes
from reconciler.events.feed import Events
from reconciler.messaging.broker import Broker
from reconciler.messaging.questions import Questions
from reconciler.messaging.reminders import Reminders
from reconciler.network.operator import OperatorSettings
from reconciler.network.requests import Requests
from reconciler.network.way_out import WayOut
from reconciler.observe.build_logs import BuildLogs
from reconciler.observe.declared import DeclaredRecord
from reconciler.observe.holds import Holds
from reconciler.observe.links import Links
from reconciler.observe.live import Live
from reconciler.observe.releases import Releases
from reconciler.observe.repos import Repos
from reconciler.observe.roster import Roster
from reconciler.observe.sender import Sender
from reconciler.observe.settings import DeployedSettings
from reconciler.pods.reports import PodReports
from reconciler.ports import Sockets
from reconciler.store.cards import Cards
from reconciler.store.record import Record
from reconciler.store.refused_tips import RefusedTips
from reconciler.store.seen_tips import SeenTips
from reconciler.telemetry.metrics import Metrics
from reconciler.usage.budgets import Budgets
from reconciler.usage.records import TurnRecords


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The values that precede all parts: directories, settings, names, and functions of the daemon.

    `owner` is the id of the state directory, `network` what the operator set for the way out: one reader for all.
    """

    layout: Layout
    config: Config
    choice: Choice
    sockets: Sockets
    recorder: Recorder
    background: Background
    owner: str
    network: OperatorSettings


@dataclass(frozen=True, slots=True)
class Store:
    """The parts on the database, the repos, and the agents' settings, which limit whom agents may write to."""

    broker: Broker
    wake_manager: Callable[[], None]
    events: Events
    cards: Cards
    questions: Questions
    reminders: Reminders
    requests: Requests
    passkeys: Passkeys
    seen_tips: SeenTips
    refused_tips: RefusedTips
    settings: DeployedSettings
    notified: Record[Notices]
    ages: Ages
    declared: Record[dict[str, DeclaredRecord]]
    repos: Repos
    metrics: Metrics
    access: Access


@dataclass(frozen=True, slots=True)
class Spending:
    """The parts that count turns and tokens, keep budgets, and say what agents may reach."""

    records: TurnRecords
    budgets: Budgets
    way_out: WayOut


@dataclass(frozen=True, slots=True)
class Harnesses:
    """The parts that talk with the harnesses of the agents."""

    links: Links
    holds: Holds
    live: Live
    releases: Releases
    sender: Sender
    reports: PodReports


@dataclass(frozen=True, slots=True)
class Reports:
    """What is known without the database: the names of all agents, the logs of builds, and that something changed."""

    roster: Roster
    build_logs: BuildLogs
    changes: Changes
