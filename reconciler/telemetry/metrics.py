"""What hive counts and measures, for Prometheus. See docs/reference/metrics.md, which a test holds against this table.

Counters and durations are noted where they happen; gauges are set from one snapshot when somebody asks. Labels are
hive's own words (steps, phases, kinds of errors) and agents' names: nothing that an agent wrote becomes a label.
"""

from __future__ import annotations

import os
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from typing_extensions import override

from meta.errors import BadInput, BuildFailed, Conflict, HiveError, NotFound, Refused, TransientError
from meta.names import AgentName
from reconciler.messaging.broker import Allowed, Broker, Delivery, everybody
from reconciler.plan import steps
from reconciler.plan.phases import PHASES
from reconciler.store.database import Database
from reconciler.views import Status

# They are a third of all series, and hive_process_start_time_seconds says the same.
disable_created_metrics()  # type: ignore[no-untyped-call]
CONTENT_TYPE = "text/plain; version=0.0.4"
"""In UTF-8; litestar adds that."""
STEP_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 15, 60, 300, 1800)
"""Seconds: from a tag to a build."""
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
    """What the gauges show. `unread`: waiting messages by inbox; `pending`: when each open proposal was made.

    `disk`: (free, whole) bytes of the state directory's file system; `database`: bytes. `dead`: dead letters by inbox.
    `refused`: branches whose commit is no proposal, by agent. `set_aside`: damaged databases.
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


class Metrics:
    """One registry, made with its daemon."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._agents: set[AgentName] = set()
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
        self.crashes = Counter("hive_container_crashes", "Crashes that were counted", ["agent"], registry=here)
        self.sent = Counter("hive_messages_sent", "Messages that the broker accepted", registry=here)
        self.delivered = Counter("hive_messages_delivered", "Messages handed out (again counts again)", registry=here)
        self.acked = Counter("hive_messages_acked", "Messages whose turn ended well", registry=here)
        self.requeued = Counter("hive_messages_requeued", "Messages that wait again", registry=here)
        self.refused = Counter("hive_messages_refused", "Messages not accepted", ["reason"], registry=here)
        for reason in ("bad", "not-now"):
            self.refused.labels(reason)

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
        self.waiting = Gauge("hive_inbox_messages", "Messages that wait", ["inbox"], registry=here)
        self.pending = Gauge("hive_proposals_pending", "Proposals that wait for a decision", registry=here)
        self.oldest = Gauge("hive_proposals_oldest_seconds", "How long the oldest of them waits", registry=here)
        self.disk_free = Gauge("hive_disk_free_bytes", "Free for hive where its state is", registry=here)
        self.disk_size = Gauge("hive_disk_size_bytes", "The whole of that file system", registry=here)
        self.database = Gauge("hive_database_bytes", "The database with its write-ahead log", registry=here)

    def _troubles(self) -> None:
        """0 where nothing is wrong."""
        here = self.registry
        self.dead = Gauge("hive_dead_letters", "Messages that were given up", ["inbox"], registry=here)
        self.refused_tips = Gauge("hive_refused_tips", "Branches whose commit is no proposal", ["agent"], registry=here)
        self.unwatched = Gauge("hive_watching_failed", "1 while proposed repos cannot be watched", registry=here)
        self.outdated = Gauge("hive_agents_outdated", "Agents that another hive built", registry=here)
        self.rollout_failed = Gauge(
            "hive_rollout_failed", "1 while the last rebuild of all agents is one that failed", registry=here
        )
        self.set_aside = Gauge("hive_database_set_aside", "Damaged databases that nobody looked at yet", registry=here)

    # what happens
    @contextmanager
    def step(self, agent: AgentName, step: steps.Step) -> Iterator[None]:
        """Time one step; what it is and how it ended is counted."""
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
        """Time one sweep."""
        begun = time.monotonic()
        try:
            yield
        except Exception:
            self.sweep_errors.inc()
            raise
        self.sweep_seconds.observe(time.monotonic() - begun)
        self.swept_at.set_to_current_time()

    def error(self, error: HiveError | None) -> None:
        """A reconcile ended in `error`; None is a mistake in hive itself."""
        kinds = (kind for known, kind in _KINDS if isinstance(error, known))
        self.errors.labels(next(kinds, "internal")).inc()

    def turn_killed(self, agent: AgentName) -> None:
        """A stop cut a turn of `agent` short."""
        self._agents.add(agent)
        self.turns_killed.labels(agent).inc()

    def crashed(self, agent: AgentName) -> None:
        """A crash of `agent` was counted."""
        self._agents.add(agent)
        self.crashes.labels(agent).inc()

    def forget(self, agent: AgentName) -> None:
        """A purged agent's name leaves no series behind."""
        if agent in self._agents:
            self._agents.discard(agent)
            for counter in (self.turns_killed, self.crashes):
                counter.remove_by_labels({"agent": agent})

    # what is shown
    def render(self, snapshot: Snapshot | None, queue: int) -> bytes:
        """Everything as text (CONTENT_TYPE). None: nothing could be read; the gauges of agents are left out then.

        `queue` is the number of agents in work.
        """
        of_agents = (self.agents, self.running, self.linked, self.phase_since, self.in_a_row, self.waiting)
        for gauge in (*of_agents, self.dead, self.refused_tips):
            gauge.clear()
        self.snapshot_ok.set(snapshot is not None)
        self.queue_depth.set(queue)
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
        for agent in status.agents:
            self.refused_tips.labels(agent.agent).set(snapshot.refused.get(agent.agent, 0))
        self.unwatched.set(not snapshot.watching)
        self.outdated.set(sum(agent.built_with is not None for agent in status.agents))
        self.rollout_failed.set(status.rollout is not None and status.rollout.failed is not None)
        self.set_aside.set(snapshot.set_aside)


def disk_bytes(directory: Path) -> tuple[int, int]:
    """(free for hive, whole) bytes of the file system that `directory` is on; (0, 0) where nobody can tell."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return 0, 0
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def database_bytes(path: Path) -> int:
    """Bytes of a database with its side files."""
    total = 0
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with suppress(FileNotFoundError):
            total += path.with_name(name).stat().st_size
    return total


class CountedBroker(Broker):
    """The broker, with what goes through it counted in `metrics`."""

    def __init__(
        self,
        metrics: Metrics,
        db: Database,
        known: Callable[[str], bool],
        *,
        inbox_limit: int,
        inbox_bytes: int,
        agents: Callable[[], Iterable[str]] = tuple,
        allowed: Allowed = everybody,
    ) -> None:
        super().__init__(db, known, inbox_limit=inbox_limit, inbox_bytes=inbox_bytes, agents=agents, allowed=allowed)
        self._metrics = metrics

    @override
    async def send(self, sender: str, to: str, body: str, key: str | None = None) -> int:
        try:
            id = await super().send(sender, to, body, key)
        except HiveError as error:
            self._metrics.refused.labels("not-now" if isinstance(error, TransientError) else "bad").inc()
            raise
        self._metrics.sent.inc()
        return id

    @override
    async def recv(
        self, agent: str, wait: float, incarnation: str | None = None, *, hold: bool = False
    ) -> Delivery | None:
        delivery = await super().recv(agent, wait, incarnation, hold=hold)
        if delivery is not None:
            self._metrics.delivered.inc()
        return delivery

    @override
    async def ack_turn(self, agent: str) -> int:
        count = await super().ack_turn(agent)
        self._metrics.acked.inc(count)
        return count

    @override
    async def requeue_inflight(self, agent: str) -> int:
        count = await super().requeue_inflight(agent)
        self._metrics.requeued.inc(count)
        return count
