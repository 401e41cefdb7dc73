"""Metrics for Prometheus. A test compares them with docs/reference/metrics.md.

Counters and durations are recorded as they happen. Gauges are set from one snapshot per scrape. Labels are words of
hive's own (steps, phases, kinds of errors) and agents' names: no text of an agent becomes a label.
"""

from __future__ import annotations

import os
import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from meta.errors import BadInput, BuildFailed, Conflict, HiveError, NotFound, Refused, TransientError
from meta.names import AgentName
from reconciler.plan import steps
from reconciler.plan.phases import PHASES
from reconciler.telemetry.dashboard import DashboardState
from reconciler.telemetry.descriptors import Descriptors
from reconciler.telemetry.egress import EgressMetrics, EgressView
from reconciler.telemetry.pauses import Pauses
from reconciler.telemetry.turns import TurnCounters
from reconciler.views import Status

# They are a third of all series, and hive_process_start_time_seconds has the same value.
disable_created_metrics()  # type: ignore[no-untyped-call]
CONTENT_TYPE = "text/plain; version=0.0.4"
"""The content type of `render`. litestar adds the charset, UTF-8."""
STEP_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 15, 60, 300, 1800)
"""Seconds. A step may be the write of a tag or a whole build."""
SWEEP_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 30)
_KINDS: tuple[tuple[type[HiveError], str], ...] = (
    (TransientError, "transient"),
    (BuildFailed, "build"),
    (BadInput, "bad-input"),
    (NotFound, "not-found"),
    (Conflict, "conflict"),
    (Refused, "refused"),
    (HiveError, "permanent"),
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The values of the gauges. `unread`: waiting messages by inbox. `pending`: the time of each open proposal.

    `disk`: (free, whole) bytes of the state directory's file system; `database`: bytes. `dead`: dead letters by inbox.
    `refused`: branches whose commit was refused, by agent. `set_aside`: damaged databases. `attention`: rows of the
    attention list by kind and severity. `egress`: the way out.
    """

    status: Status
    unread: Mapping[str, int]
    pending: tuple[float, ...]
    disk: tuple[int, int]
    database: int
    dead: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[AgentName, int] = field(default_factory=dict)
    watching: bool = True
    set_aside: int = 0
    attention: Mapping[tuple[str, str], int] = field(default_factory=dict)
    egress: EgressView = field(default_factory=EgressView)


class MessageCounters:
    """The broker's counters (reconciler/messaging/counters.py), in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sent = Counter("hive_messages_sent", "Messages that the broker accepted", registry=registry)
        self._delivered = Counter(
            "hive_messages_delivered", "Messages handed out (again counts again)", registry=registry
        )
        self._acked = Counter("hive_messages_acked", "Messages whose turn ended well", registry=registry)
        self._requeued = Counter("hive_messages_requeued", "Messages that wait again", registry=registry)
        self._refused = Counter("hive_messages_refused", "Messages not accepted", ["reason"], registry=registry)
        for reason in ("bad", "not-now"):
            self._refused.labels(reason)

    def accept(self) -> None:
        """Count a message that was accepted."""
        self._sent.inc()

    def refuse(self, *, transient: bool) -> None:
        """Count a message that was refused. `transient`: a later attempt may be accepted."""
        self._refused.labels("not-now" if transient else "bad").inc()

    def deliver(self) -> None:
        """Count a message that was delivered, for the first time or again."""
        self._delivered.inc()

    def acknowledge(self, count: int) -> None:
        """Count messages that were acknowledged."""
        self._acked.inc(count)

    def requeue(self, count: int) -> None:
        """Count messages that wait again."""
        self._requeued.inc(count)


class Metrics:
    """All metrics of one daemon, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._agents: set[AgentName] = set()
        self.pauses = Pauses()
        ProcessCollector(namespace="hive", registry=self.registry)
        self._flow()
        self._incidents()
        self._gauges()
        self._troubles()

    def _flow(self) -> None:
        here = self.registry
        self.reconciles = Counter("hive_reconciles", "Agents brought as far as they get now", registry=here)
        self.errors = Counter("hive_reconcile_errors", "Reconciles that ended in an error", ["kind"], registry=here)
        self.sweep_seconds = Histogram(
            "hive_sweep_seconds", "One look at every agent", buckets=SWEEP_BUCKETS, registry=here
        )
        self.swept_at = Gauge("hive_last_sweep_timestamp_seconds", "End of the last sweep, Unix time", registry=here)
        self.sweep_errors = Counter("hive_sweep_errors", "Sweeps that failed", registry=here)
        self.queue_depth = Gauge("hive_queue_depth", "Agents in work, or waiting for their worker", registry=here)
        self.loop_pause = Gauge(
            "hive_loop_pause_seconds", "Longest time in which the event loop stood, of some minutes", registry=here
        )
        self.loop_busy = Gauge("hive_loop_busy_seconds", "The same, only time of its own work", registry=here)
        self.step_seconds = Histogram(
            "hive_step_seconds", "How long steps took, failed ones too", ["step"], buckets=STEP_BUCKETS, registry=here
        )
        self.step_errors = Counter("hive_step_errors", "Steps that failed", ["step"], registry=here)
        self.deploys = Counter("hive_deploys", "Deploys that ended", ["outcome"], registry=here)
        for outcome in ("deployed", "failed"):
            self.deploys.labels(outcome)

    def _incidents(self) -> None:
        here = self.registry
        self.turns_killed = Counter(
            "hive_turns_killed", "Turns that a stop ended before the agent did", ["agent"], registry=here
        )
        self.turns_stuck = Counter("hive_turns_stuck", "Turns that hive ended at their limit", ["agent"], registry=here)
        self.crashes = Counter("hive_container_crashes", "Crashes that were counted", ["agent"], registry=here)
        self.shortages = Counter(
            "hive_descriptor_shortages", "Times when the daemon had no file descriptor left", registry=here
        )
        self.descriptors = Descriptors(self.shortages.inc)
        self.notifications = Counter(
            "hive_notifications", "Notifications that were sent, failed, or were held back", ["outcome"], registry=here
        )
        for outcome in ("sent", "failed", "held"):
            self.notifications.labels(outcome)
        self.messages = MessageCounters(here)
        self.turns = TurnCounters(here)
        self.egress = EgressMetrics(here)
        self.dashboard = DashboardState()

    def _gauges(self) -> None:
        here = self.registry
        self.build = Gauge(
            "hive_build_info", "1, with what this daemon is", ["revision", "backend", "builder"], registry=here
        )
        self.snapshot_ok = Gauge("hive_snapshot_ok", "1 while what the gauges show could be read", registry=here)
        self.agents = Gauge("hive_agents", "Agents in each phase", ["phase"], registry=here)
        self.running = Gauge("hive_agent_running", "1 while the container runs", ["agent"], registry=here)
        self.linked = Gauge("hive_agent_linked", "1 while the harness is connected", ["agent"], registry=here)
        self.phase_since = Gauge(
            "hive_agent_phase_since_timestamp_seconds", "When its phase began, Unix time", ["agent"], registry=here
        )
        self.in_a_row = Gauge("hive_agent_crashes", "Crashes in a row", ["agent"], registry=here)
        self.turn_age = Gauge(
            "hive_agent_turn_seconds", "How long its turn takes so far, 0 between turns", ["agent"], registry=here
        )
        self.held_bytes = Gauge("hive_agent_disk_bytes", "Space of its files, measured", ["agent"], registry=here)
        self.waiting = Gauge("hive_inbox_messages", "Messages that wait", ["inbox"], registry=here)
        self.pending = Gauge("hive_proposals_pending", "Proposals that wait for a decision", registry=here)
        self.oldest = Gauge("hive_proposals_oldest_seconds", "How long the oldest of them waits", registry=here)
        self.disk_free = Gauge("hive_disk_free_bytes", "Free for hive where its state is", registry=here)
        self.disk_size = Gauge("hive_disk_size_bytes", "The whole of that file system", registry=here)
        self.database = Gauge("hive_database_bytes", "The database with its write-ahead log", registry=here)

    def _troubles(self) -> None:
        """Add the gauges that are 0 unless something is wrong."""
        here = self.registry
        self.dead = Gauge("hive_dead_letters", "Messages that were given up", ["inbox"], registry=here)
        self.refused_tips = Gauge("hive_refused_tips", "Branches whose commit is no proposal", ["agent"], registry=here)
        self.unwatched = Gauge("hive_watching_failed", "1 while proposed repos cannot be watched", registry=here)
        self.no_dashboard = Gauge(
            "hive_dashboard_failed", "1 while the dashboard that the settings ask for is not served", registry=here
        )
        self.outdated = Gauge("hive_agents_outdated", "Agents that another hive built", registry=here)
        self.rollout_failed = Gauge(
            "hive_rollout_failed", "1 while the last rebuild of all agents is one that failed", registry=here
        )
        self.set_aside = Gauge("hive_database_set_aside", "Damaged databases beside the new one", registry=here)
        self.attention = Gauge("hive_attention", "Rows of the attention list", ["kind", "severity"], registry=here)

    # recording
    @contextmanager
    def step(self, agent: AgentName, step: steps.Step) -> Iterator[None]:
        """Measure one step, and count how it ended."""
        begun = time.monotonic()
        try:
            yield
        except Exception:
            self.step_errors.labels(step.name).inc()
            raise
        finally:
            self.step_seconds.labels(step.name).observe(time.monotonic() - begun)
        match step:
            case steps.Finish():
                self.deploys.labels("deployed").inc()
            case steps.Fail():
                self.deploys.labels("failed").inc()
            case steps.Purge():
                self.forget(agent)

    @contextmanager
    def sweep(self) -> Iterator[None]:
        """Measure one sweep."""
        begun = time.monotonic()
        try:
            yield
        except Exception:
            self.sweep_errors.inc()
            raise
        self.sweep_seconds.observe(time.monotonic() - begun)
        self.swept_at.set_to_current_time()

    def error(self, error: HiveError | None) -> None:
        """Count a reconcile that ended in `error`; None: an unexpected error in hive itself."""
        kinds = (kind for known, kind in _KINDS if isinstance(error, known))
        self.errors.labels(next(kinds, "internal")).inc()

    def turn_killed(self, agent: AgentName) -> None:
        """Count a turn of `agent` that was ended by a stop."""
        self._agents.add(agent)
        self.turns_killed.labels(agent).inc()

    def turn_stuck(self, agent: AgentName) -> None:
        """Count a turn of `agent` that hive ended, or tried to end, at its limit."""
        self._agents.add(agent)
        self.turns_stuck.labels(agent).inc()

    def crashed(self, agent: AgentName) -> None:
        """Count a crash of `agent`."""
        self._agents.add(agent)
        self.crashes.labels(agent).inc()

    def notified(self, outcome: str) -> None:
        """Count a notification that was `sent`, that `failed`, or that a setting begins to hold back (`held`)."""
        self.notifications.labels(outcome).inc()

    def forget(self, agent: AgentName) -> None:
        """Remove the series of a purged agent."""
        self.turns.forget(agent)
        self.egress.forget(agent)
        if agent in self._agents:
            self._agents.discard(agent)
            for counter in (self.turns_killed, self.turns_stuck, self.crashes):
                counter.remove_by_labels({"agent": agent})

    # scraping
    def render(self, snapshot: Snapshot | None, queue: int) -> bytes:
        """Return all metrics as text (CONTENT_TYPE). Without a snapshot the gauges of agents are left out.

        `queue` is the number of agents in work.
        """
        of_agents = (self.agents, self.running, self.linked, self.phase_since, self.in_a_row, self.waiting)
        self.held_bytes.clear()
        self.turn_age.clear()
        for gauge in (*of_agents, self.dead, self.refused_tips, self.attention):
            gauge.clear()
        self.egress.show(EgressView(), ())
        self.no_dashboard.set(self.dashboard.wanted and not self.dashboard.served)
        self.snapshot_ok.set(snapshot is not None)
        self.queue_depth.set(queue)
        longest = self.pauses.longest()
        self.loop_pause.set(longest.pause)
        self.loop_busy.set(longest.busy)
        if snapshot is not None:
            self._show(snapshot)
        return generate_latest(self.registry)

    def _show(self, snapshot: Snapshot) -> None:
        status = snapshot.status
        self.build.labels(status.revision, status.backend, status.builder).set(1)
        phases = Tally(agent.phase for agent in status.agents)
        for phase in PHASES:
            self.agents.labels(phase).set(phases[phase])
        for agent in status.agents:
            self.running.labels(agent.agent).set(agent.pid is not None)
            self.linked.labels(agent.agent).set(agent.turn is not None)
            self.phase_since.labels(agent.agent).set(agent.since)
            self.in_a_row.labels(agent.agent).set(agent.crashes)
            age = 0.0 if agent.turn_since is None else max(0.0, time.time() - agent.turn_since)
            self.turn_age.labels(agent.agent).set(age)
            if agent.disk_bytes is not None:
                self.held_bytes.labels(agent.agent).set(agent.disk_bytes)
        for inbox in {*(agent.agent for agent in status.agents), *snapshot.unread, *snapshot.dead}:
            self.waiting.labels(inbox).set(snapshot.unread.get(inbox, 0))
            self.dead.labels(inbox).set(snapshot.dead.get(inbox, 0))
        self.pending.set(len(snapshot.pending))
        self.oldest.set(max(0.0, time.time() - min(snapshot.pending)) if snapshot.pending else 0)
        free, whole = snapshot.disk
        self.disk_free.set(free)
        self.disk_size.set(whole)
        self.database.set(snapshot.database)
        self._show_troubles(snapshot)

    def _show_troubles(self, snapshot: Snapshot) -> None:
        status = snapshot.status
        self.egress.show(snapshot.egress, (agent.agent for agent in status.agents))
        for agent in status.agents:
            self.refused_tips.labels(agent.agent).set(snapshot.refused.get(agent.agent, 0))
        self.unwatched.set(not snapshot.watching)
        self.outdated.set(sum(agent.built_with is not None for agent in status.agents))
        self.rollout_failed.set(status.rollout is not None and status.rollout.failed is not None)
        self.set_aside.set(snapshot.set_aside)
        for (kind, severity), number in snapshot.attention.items():
            self.attention.labels(kind, severity).set(number)


def disk_bytes(directory: Path) -> tuple[int, int]:
    """Return (free for hive, whole) bytes of the file system of `directory`; (0, 0) if they are unknown."""
    try:
        status = os.statvfs(directory)
    except OSError:
        return 0, 0
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize


def database_bytes(path: Path) -> int:
    """Return the bytes of a database with its side files."""
    total = 0
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with suppress(FileNotFoundError):
            total += path.with_name(name).stat().st_size
    return total
